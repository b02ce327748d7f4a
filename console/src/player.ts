// The video of a stream, and the figures of its playback. The module that plays is
// larger than the rest of the console: it is loaded with the first stream.

import workerPath from 'hls.js/dist/hls.worker.js?url'
import type { Player as Engine } from 'millrace-player'
import { bufferedAhead, farBehind } from '../../player/src/rules'
import { PlayerEventType, PlayerState } from '../../player/src/types'
import { bitrate } from './format'
import { playable } from './reach'

/** waiting: no video yet, trying; live: the stream is played; ended: all of it has been played. */
export type Playback = 'waiting' | 'live' | 'ended' | 'unsupported'

/** The figures of playback; undefined while nothing is played. Times are in seconds. */
export interface Figures {
  latency?: number
  edgeLatency?: number
  buffer?: number
  rendition?: string
  dropped?: string
  muted: boolean
  late: boolean // far behind the live edge
}

const reloadMs = 2000

export class Player {
  private engine?: Engine // undefined until it has been loaded
  private wanted = 0 // counts what is to be played; what is loaded for an earlier one is not

  constructor(private video: HTMLVideoElement, private onPlayback: (playback: Playback) => void) {}

  /** Plays url, with a new token each time where there are some, and goes on trying until it can. */
  play(url: string, token?: () => Promise<string>) {
    this.onPlayback('waiting')
    void this.load(++this.wanted, url, token)
  }

  /** Lets what is buffered play to its end and then tries no more. */
  drain() {
    this.wanted++
    this.engine?.drain()
  }

  /** Stops playback and shows no video. */
  stop() {
    this.wanted++
    this.engine?.stop()
  }

  /** Stops playback for good. */
  delete() {
    this.wanted++
    this.engine?.delete()
  }

  seekToLive() {
    this.engine?.seekToLive()
  }

  private async load(wanted: number, url: string, token?: () => Promise<string>) {
    let module
    try {
      module = await import('millrace-player')
    } catch {
      setTimeout(() => wanted === this.wanted && void this.load(wanted, url, token), reloadMs) // the server cannot be reached
      return
    }
    if (wanted !== this.wanted) return
    if (!module.isPlayerSupported) {
      this.onPlayback('unsupported')
      return
    }
    this.engine ??= this.make(module.Player)
    this.engine.play()
    this.engine.load(playable(url), token)
  }

  private make(Made: typeof Engine): Engine {
    const engine = new Made(this.video, { workerPath, cmcd: false }) // an operator is not a viewer
    engine.addEventListener(PlayerEventType.STATE_CHANGED, ({ detail }) => {
      if (detail === PlayerState.READY) this.onPlayback('live')
      if (detail === PlayerState.ENDED) this.onPlayback('ended')
    })
    engine.addEventListener(PlayerEventType.ERROR, () => this.onPlayback('waiting'))
    return engine
  }

  figures(): Figures {
    const { engine, video } = this
    if (!engine || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return { muted: false, late: false }
    const quality = engine.getQuality()
    const frames = video.getVideoPlaybackQuality()
    const edgeLatency = engine.getDistanceFromEdge()
    return {
      latency: engine.getLiveLatency(),
      edgeLatency,
      buffer: bufferedAhead(video.buffered, video.currentTime),
      rendition: [
        `${video.videoWidth}×${video.videoHeight}`,
        quality?.framerate && `${+quality.framerate.toFixed(2)} fps`,
        bitrate(quality?.bitrate),
      ].filter(Boolean).join(' · '),
      dropped: `${frames.droppedVideoFrames} of ${frames.totalVideoFrames}`,
      muted: video.muted,
      late: edgeLatency !== undefined && edgeLatency >= (engine.getTargetLatency() ?? Infinity) + farBehind,
    }
  }
}
