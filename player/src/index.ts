// Plays live streams in a <video> element: low-latency HLS by hls.js, or by the
// browser itself where it has no Media Source Extensions (iPhones).

export { isPlayerSupported, Player, type PlayerOptions } from './player.js'
export {
  ErrorType, PlayerEventType, PlayerState,
  type PlayerError, type PlayerEventMap, type Quality, type TextMetadataCue,
} from './types.js'
