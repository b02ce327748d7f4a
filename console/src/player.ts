// The video of the chosen channel, and the figures of its playback. The module that
// plays is larger than the rest of the console: it is loaded with the first stream.

import workerPath from 'hls.js/dist/hls.worker.js?url'
import type { Player as Engine } from 'millrace-player'
import { bufferedAhead, farBehind } from '../../player/src/rules'
import { PlayerEventType, PlayerState } from '../../player/src/types'
import { byId, setText } from './dom'
import { bitrate, seconds } from './format'

/** waiting: no video yet, trying; live: the stream is played; ended: all of it has been played. */
export type Playback = 'waiting' | 'live' | 'ended' | 'unsupported'

const figuresMs = 250
const reloadMs = 2000

export class Player {
  private video = byId<HTMLVideoElement>('video')
  private engine?: Engine // undefined until it has been loaded
  private wanted = 0 // counts what is to be played; what is loaded for an earlier one is not

  constructor(private onPlayback: (playback: Playback) => void) {
    byId('unmute').addEventListener('click', () => {
      this.video.muted = false
      this.video.focus()
    })
    byId('catch-up').addEventListener('click', () => this.engine?.seekToLive())
    setInterval(() => this.showFigures(), figuresMs)
  }

  /** Plays url, with a new token each time where there are some, and goes on trying until it can. */
  play(url: string, token?: () => Promise<string>) {
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

  private async load(wanted: number, url: string, token?: () => Promise<string>) {
    try {
      if (!this.engine) await this.make()
    } catch {
      setTimeout(() => wanted === this.wanted && void this.load(wanted, url, token), reloadMs) // the server cannot be reached
      return
    }
    if (wanted !== this.wanted) return
    if (!this.engine) {
      this.onPlayback('unsupported')
      return
    }
    this.engine.play()
    this.engine.load(playable(url), token)
  }

  /** Loads what plays, where this browser can play anything. */
  private async make() {
    const { isPlayerSupported, Player: Engine } = await import('millrace-player')
    if (this.engine || !isPlayerSupported) return
    this.engine = new Engine(this.video, { workerPath, cmcd: false }) // an operator is not a viewer
    this.engine.addEventListener(PlayerEventType.STATE_CHANGED, ({ detail }) => this.changed(detail))
    this.engine.addEventListener(PlayerEventType.ERROR, () => this.onPlayback('waiting'))
  }

  private changed(state: PlayerState) {
    this.video.controls = state !== PlayerState.ENDED && !!this.engine?.getQualities().length
    if (state === PlayerState.READY) this.onPlayback('live')
    if (state === PlayerState.ENDED) this.onPlayback('ended')
  }

  private showFigures() {
    const { engine, video } = this
    const playing = video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA
    const quality = playing ? engine?.getQuality() : undefined
    const behind = playing ? engine?.getDistanceFromEdge() : undefined

    showSeconds('latency', playing ? engine?.getLiveLatency() : undefined)
    showSeconds('edge-latency', behind)
    showSeconds('buffer', playing ? bufferedAhead(video.buffered, video.currentTime) : undefined)
    setText(byId('rendition'), (playing && [
      `${video.videoWidth}×${video.videoHeight}`,
      quality?.framerate && `${+quality.framerate.toFixed(2)} fps`,
      bitrate(quality?.bitrate),
    ].filter(Boolean).join(' · ')) || '–')
    const frames = video.getVideoPlaybackQuality()
    setText(byId('dropped'), playing ? `${frames.droppedVideoFrames} of ${frames.totalVideoFrames}` : '–')
    byId('unmute').hidden = !playing || !video.muted
    byId('catch-up').hidden = behind === undefined || behind < (engine?.getTargetLatency() ?? Infinity) + farBehind
  }
}

/** Shows a length of time, and gives it to tests as data-seconds. */
function showSeconds(id: string, s?: number) {
  const el = byId(id)
  setText(el, s === undefined ? '–' : seconds(s))
  if (s === undefined) delete el.dataset.seconds
  else el.dataset.seconds = s.toFixed(3)
}

const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/**
 * The URL to load for a playback URL. One that names this machine means the
 * server of the page, by whatever name the browser reached it.
 */
export function playable(playbackUrl: string): string {
  const url = new URL(playbackUrl, location.origin)
  const here = loopback.test(url.hostname) && url.port === location.port
  return here ? location.origin + url.pathname + url.search : url.href
}
