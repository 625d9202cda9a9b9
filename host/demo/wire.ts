/** Frame size of the demo's channel, in bytes. */
export const FRAME_SIZE = 64;
/** What the attacker publishes in clear. */
export const PLAIN = "valve open";
