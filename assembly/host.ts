/*
 * Exports of the host build: the device's, and the kit of the key server.
 */
export * from "./index";
export * from "./kit";
