// The vocabulary of the player. Names and values are those of the Amazon IVS
// player for the web, as far as the two have the same thing.

export const PlayerState = {
  /** Nothing is being played: paused, or not started. */
  IDLE: 'Idle',
  /** The stream is available and its renditions are known. */
  READY: 'Ready',
  /** Playback waits for media, or for the stream. */
  BUFFERING: 'Buffering',
  PLAYING: 'Playing',
  /** The stream has ended and all of it has been played. */
  ENDED: 'Ended',
} as const
export type PlayerState = (typeof PlayerState)[keyof typeof PlayerState]

export const PlayerEventType = {
  /** The state has changed. Each state is also an event of its own, under its own name. */
  STATE_CHANGED: 'PlayerStateChanged',
  QUALITY_CHANGED: 'PlayerQualityChanged',
  /** Playback has stalled after it had started. */
  REBUFFERING: 'PlayerRebuffering',
  /** An error has occurred. The player keeps retrying. */
  ERROR: 'PlayerError',
  TEXT_METADATA_CUE: 'PlayerTextMetadataCue',
  MUTED_CHANGED: 'PlayerMutedChanged',
  VOLUME_CHANGED: 'PlayerVolumeChanged',
  /** The browser allowed playback only without audio, which is now muted. */
  AUDIO_BLOCKED: 'PlayerAudioBlocked',
  /** The browser allows playback only after a user gesture. */
  PLAYBACK_BLOCKED: 'PlayerPlaybackBlocked',
} as const
export type PlayerEventType = (typeof PlayerEventType)[keyof typeof PlayerEventType]

export const ErrorType = {
  /** The channel does not exist or is not live (404), or has as many viewers as the account may have (429). */
  NOT_AVAILABLE: 'ErrorNotAvailable',
  /** The server refuses this viewer: no valid token, or a country that is not allowed. */
  AUTHORIZATION: 'ErrorAuthorization',
  NETWORK: 'ErrorNetwork',
  /** The media cannot be decoded. */
  INVALID_DATA: 'ErrorInvalidData',
  /** This browser supports neither HLS nor Media Source Extensions. */
  NOT_SUPPORTED: 'ErrorNotSupported',
} as const
export type ErrorType = (typeof ErrorType)[keyof typeof ErrorType]

export interface PlayerError {
  type: ErrorType
  /** HTTP status, or 0 where there was no answer. */
  code: number
  message: string
  /** When the player tries again, in milliseconds from now; undefined if it does not. */
  retryIn?: number
}

/** A rendition of the stream. */
export interface Quality {
  /** Such as "720p", "1080p60"; unique in a stream. */
  name: string
  width: number
  height: number
  /** Bits per second, audio included. */
  bitrate: number
  /** Frames per second; 0 if unknown. */
  framerate: number
  codecs: string
}

/** Text that PutMetadata of the IVS API sent into the stream. */
export interface TextMetadataCue {
  text: string
  /** Position in the media, in seconds. */
  startTime: number
}

/** What the detail of each event is. */
export interface PlayerEventMap {
  Idle: undefined
  Ready: undefined
  Buffering: undefined
  Playing: undefined
  Ended: undefined
  PlayerStateChanged: PlayerState
  PlayerQualityChanged: Quality
  PlayerRebuffering: undefined
  PlayerError: PlayerError
  PlayerTextMetadataCue: TextMetadataCue
  PlayerMutedChanged: boolean
  PlayerVolumeChanged: number
  PlayerAudioBlocked: undefined
  PlayerPlaybackBlocked: undefined
}
