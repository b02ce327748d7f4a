// The picture: hls.js with its default low-latency settings, which is led back to
// the live edge where it fell behind; and the figures that say how it does.

import Hls, { type ErrorData, type LevelUpdatedData } from 'hls.js/light'
import workerPath from 'hls.js/dist/hls.worker.js?url'
import { bitrate, seconds } from './format'
import { byId, setText } from './dom'

/** waiting: no picture yet, trying; live: pictures arrive; ended: the playlist is complete and played. */
export type Picture = 'waiting' | 'live' | 'ended' | 'unsupported'

const retryMs = 2000
const emptyMs = 250
const figuresMs = 250

/** Behind the edge by this much more than hls.js aims at, the way back to live is offered. */
const farBehindSeconds = 4

/**
 * With less than this left of a complete playlist, its end has been reached:
 * hls.js does not load a last part that comes together with the end, and then
 * the video element never hears of the end.
 */
const tailSeconds = 0.2

/** With less than this left to play, the picture stands still, or is about to. */
const emptySeconds = 0.1

/**
 * Further behind than this beyond what hls.js aims at, after a stall or a slow
 * start, the picture plays faster until it is there.
 */
const behindSeconds = 0.75
const thereSeconds = 0.2
const catchUpRate = 1.2

/** A skip at the start shows for a moment; it has to win this much. */
const worthASkipSeconds = 0.2

export class Player {
  private video = byId<HTMLVideoElement>('video')
  private hls?: Hls
  private url = ''
  private token?: () => Promise<string> // for each start on a private channel
  private retry = 0
  private mended = false // a media error was recovered from since the last start
  private complete = false // the playlist has come to its end
  private joined = false // playing has begun at the edge, or skipped to it

  constructor(private onPicture: (picture: Picture) => void) {
    this.video.addEventListener('ended', () => this.finish())
    this.video.addEventListener('waiting', () => {
      if (this.complete && bufferedAhead(this.video) < tailSeconds) this.finish()
    })
    this.video.addEventListener('playing', () => this.joinEdge())
    byId('unmute').addEventListener('click', () => {
      this.video.muted = false
      this.video.focus()
    })
    byId('catch-up').addEventListener('click', () => this.catchUp())
    setInterval(() => this.showFigures(), figuresMs)
  }

  /** Plays url, with a new token each time where there are some, and goes on trying until it can. */
  play(url: string, token?: () => Promise<string>) {
    if (!Hls.isSupported()) {
      this.onPicture('unsupported')
      return
    }
    this.url = playable(url)
    this.token = token
    this.start()
  }

  /** Lets what is buffered play to its end and then tries no more. */
  drain() {
    this.url = ''
    clearTimeout(this.retry)
  }

  /** Takes the picture away. */
  stop() {
    this.drain()
    this.close()
  }

  private start() {
    this.close()
    this.mended = false
    this.complete = false
    this.joined = false
    this.video.playbackRate = 1
    delete this.video.dataset.joined
    const hls = new Hls({ workerPath })
    this.hls = hls
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.unpause())
    hls.on(Hls.Events.LEVEL_UPDATED, (_, data) => this.updated(data))
    hls.on(Hls.Events.ERROR, (_, data) => this.failed(data))
    this.video.controls = true
    hls.attachMedia(this.video)
    void this.load(hls)
  }

  private async load(hls: Hls) {
    try {
      const query = this.token ? `?token=${await this.token()}` : ''
      if (this.hls === hls) hls.loadSource(this.url + query)
    } catch {
      if (this.hls !== hls) return
      this.close()
      this.later()
    }
  }

  private close() {
    clearTimeout(this.retry)
    this.hls?.destroy()
    this.hls = undefined
    this.video.controls = false
  }

  private updated({ details }: LevelUpdatedData) {
    if (details.live) {
      this.onPicture('live')
      return
    }
    this.complete = true
    // A playlist that is complete when first seen belongs to the stream that has just ended.
    if (this.video.readyState === HTMLMediaElement.HAVE_NOTHING) this.finish()
  }

  private failed(data: ErrorData) {
    if (data.details === Hls.ErrorDetails.LEVEL_EMPTY_ERROR) {
      this.reload()
      return
    }
    if (!data.fatal) return
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !this.mended) {
      this.mended = true
      this.hls?.recoverMediaError()
      return
    }
    this.close()
    this.onPicture('waiting')
    this.later()
  }

  /**
   * In its first seconds a broadcast has parts and no whole segment yet, which
   * hls.js takes for an empty playlist. The same viewer session goes on.
   */
  private reload() {
    clearTimeout(this.retry)
    this.hls?.stopLoad()
    this.retry = window.setTimeout(() => this.hls?.startLoad(), emptyMs)
  }

  private finish() {
    this.close()
    this.onPicture('ended')
    this.later()
  }

  private later() {
    if (this.url) this.retry = window.setTimeout(() => this.start(), retryMs)
  }

  /**
   * hls.js chooses where to start before it has loaded anything, and with its
   * default settings the time that loading takes stays in the latency for good.
   * Once, as soon as what is buffered reaches to the edge, this skips over it:
   * at the first picture, or on a slow machine some seconds later.
   */
  private joinEdge() {
    const edge = this.hls?.liveSyncPosition
    if (this.joined || edge == null || this.video.paused || this.video.seeking) return
    const behind = edge - this.video.currentTime
    if (behind >= worthASkipSeconds) {
      if (behind >= bufferedAhead(this.video)) return
      this.video.currentTime = edge
    }
    this.joined = true
    this.video.dataset.joined = '' // for tests
  }

  /**
   * Where renditions have lost more than a moment, hls.js waits for media that
   * will never come: this goes on behind the hole, and to the edge again.
   */
  private skipHole() {
    const { video } = this
    if (!this.hls || video.paused || video.seeking || bufferedAhead(video) > emptySeconds) return
    for (let i = 0; i < video.buffered.length; i++) {
      const start = video.buffered.start(i)
      if (start > video.currentTime) {
        video.currentTime = start
        this.joined = false
        return
      }
    }
  }

  /** hls.js could play faster too, but would do so for every tenth of a second. */
  private keepUp() {
    const { hls, video } = this
    if (!hls?.targetLatency || this.complete) return
    const late = hls.latency - hls.targetLatency
    if (late < thereSeconds || bufferedAhead(video) < hls.targetLatency / 2) video.playbackRate = 1
    else if (late > behindSeconds && bufferedAhead(video) > hls.targetLatency) video.playbackRate = catchUpRate
  }

  private catchUp() {
    if (this.hls?.liveSyncPosition) this.video.currentTime = this.hls.liveSyncPosition
    this.unpause()
  }

  private unpause() {
    this.video.play().catch(() => {}) // where autoplay is forbidden, the controls are there
  }

  private showFigures() {
    this.skipHole()
    this.joinEdge()
    this.keepUp()
    const { hls, video } = this
    const playing = hls && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA
    const level = hls?.levels[hls.currentLevel]
    const date = playing ? hls.playingDate : null
    const behind = playing ? hls.latency : 0

    showSeconds('latency', date ? (Date.now() - date.getTime()) / 1000 : undefined)
    showSeconds('edge-latency', behind || undefined)
    showSeconds('buffer', playing ? bufferedAhead(video) : undefined)
    setText(byId('rendition'), (playing && [
      `${video.videoWidth}×${video.videoHeight}`,
      level?.frameRate && `${+level.frameRate.toFixed(2)} fps`,
      bitrate(level?.averageBitrate || level?.bitrate),
    ].filter(Boolean).join(' · ')) || '–')
    const quality = video.getVideoPlaybackQuality()
    setText(byId('dropped'), playing ? `${quality.droppedVideoFrames} of ${quality.totalVideoFrames}` : '–')
    byId('unmute').hidden = !playing || !video.muted
    byId('catch-up').hidden = !playing || behind < (hls.targetLatency ?? Infinity) + farBehindSeconds
  }
}

/** Shows a length of time, and gives it to tests as data-seconds. */
function showSeconds(id: string, s?: number) {
  const el = byId(id)
  setText(el, s === undefined ? '–' : seconds(s))
  if (s === undefined) delete el.dataset.seconds
  else el.dataset.seconds = s.toFixed(3)
}

function bufferedAhead(video: HTMLVideoElement): number {
  for (let i = 0; i < video.buffered.length; i++) {
    if (video.buffered.start(i) <= video.currentTime + 0.1 && video.currentTime <= video.buffered.end(i)) {
      return video.buffered.end(i) - video.currentTime
    }
  }
  return 0
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
