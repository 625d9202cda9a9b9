/*
 * Exports of the build for devices without storage: the device's, but for blobs and marks.
 */
export {
  answer,
  beacon,
  buffers,
  channelId,
  channelPtr,
  control,
  discard,
  init,
  memoryEnd,
  protect,
  tick,
  unprotect,
} from "./index";
