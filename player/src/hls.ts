// Playback by hls.js with its default low-latency settings, brought back to its
// target latency where it has fallen behind.

import Hls, { type ErrorData, type FragLoadingData, type Level } from 'hls.js'
import { textsOf } from './metadata.js'
import type { Engine, EngineEvents, PlayerOptions } from './player.js'
import { reportUrl } from './reports.js'
import { behindHole, bufferedAhead, errorOf, nameQualities, playbackRate } from './rules.js'
import { isSeeking } from './seeking.js'
import { ErrorType, type Quality, type TextMetadataCue } from './types.js'

const emptyMs = 250

/**
 * With less than this left of a complete playlist, its end has been reached:
 * hls.js does not load a last part that comes together with the end, so
 * the video element never fires ended.
 */
const tailSeconds = 0.2

/** With less than this left to play, playback has stalled, or is about to. */
const emptySeconds = 0.1

/** Far from the edge, what is missing may still be on its way for so long. */
const loadMs = 5000

/** A skip at the start is visible for a moment, so it must gain at least this much. */
const worthASkipSeconds = 0.2

/** A larger difference means a wrong clock rather than a late response. */
const clockErrorMs = 2000

/** The most cues that wait; beyond that the oldest is dropped. */
const maxCues = 500

/** What CaptionReader needs of the class of hls.js, which keeps it private. */
interface TimelineController {
  lastSn: number
  lastPartIndex: number
  onFragLoading(event: unknown, data: FragLoadingData): void
}

/**
 * hls.js drops the captions that it is in the middle of reading where the next segment is not
 * the one after the last, so at each part of a segment. The part after the last is no gap.
 */
class CaptionReader extends (Hls.DefaultConfig.timelineController as unknown as new (hls: Hls) => TimelineController) {
  override onFragLoading(event: unknown, data: FragLoadingData) {
    const { frag, part } = data
    if (part && frag.sn === this.lastSn && part.index === this.lastPartIndex + 1) this.lastSn--
    super.onFragLoading(event, data)
  }
}

/** What StallReporter needs of the class of hls.js, which keeps it private. */
interface CmcdController {
  buffering: boolean
  onWaiting: () => void
}

/** hls.js reports a stall (CMCD's bs) whenever the element waits, also for a seek. */
class StallReporter extends (Hls.DefaultConfig.cmcdController as unknown as new (hls: Hls) => CmcdController) {
  constructor(hls: Hls) {
    super(hls)
    const stalled = this.onWaiting
    this.onWaiting = () => {
      if (hls.media && isSeeking(hls.media)) this.buffering = true
      else stalled()
    }
  }
}

export class HlsEngine implements Engine {
  readonly requestsReport = true
  private hls: Hls
  private playlist = '' // the URL of the last media playlist
  private known: Quality[] = []
  private recovered = false // from a media error
  private complete = false // the playlist has EXT-X-ENDLIST
  private edgeTarget?: number // the stream's target latency, where options.startBehind has been added to it
  private joined = false // playback has started at the edge, or skipped to it
  private emptySince?: number // ms; since when there is nothing to play
  private clockError = 0 // ms by which this machine's clock is ahead of the server's
  private reload?: ReturnType<typeof setTimeout>
  private cues: TextMetadataCue[] = [] // those that playback has not reached
  private listening = new AbortController()

  static isSupported(): boolean {
    return Hls.isSupported()
  }

  /** iPhones have only ManagedMediaSource, and their own player is better at low-latency HLS. */
  static isPreferred(): boolean {
    return Hls.isSupported() && ('MediaSource' in window || document.createElement('video').canPlayType('application/vnd.apple.mpegurl') === '')
  }

  constructor(private video: HTMLVideoElement, url: string, private options: PlayerOptions, private events: EngineEvents) {
    const { workerPath, cmcd = true } = options
    delete video.dataset.joined
    const hls = this.hls = new Hls({
      enableID3MetadataCues: false, // its text track loses the first cue
      timelineController: CaptionReader as unknown as typeof Hls.DefaultConfig.timelineController,
      ...(workerPath && { workerPath }),
      cmcdController: StallReporter as unknown as typeof Hls.DefaultConfig.cmcdController,
      ...(cmcd && { cmcd: { version: 1 } }),
    })
    hls.on(Hls.Events.MANIFEST_PARSED, (_, { levels }) => {
      hls.attachMedia(video) // not before: a source that is taken away before it is loaded is an error on the browser's console
      this.known = describe(levels)
      events.ready()
    })
    hls.on(Hls.Events.LEVEL_LOADED, (_, { networkDetails }) => this.compareClocks(networkDetails))
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
      this.playlist = details.url
      this.complete = !details.live
      this.stayBehind()
      // A playlist that is complete when first seen belongs to the stream that has just ended.
      if (this.complete && video.readyState === HTMLMediaElement.HAVE_NOTHING) events.ended()
    })
    hls.on(Hls.Events.FRAG_PARSING_METADATA, (_, { samples }) => {
      const cues = samples.flatMap(({ data, pts }) => textsOf(data).map((text) => ({ text, startTime: pts })))
      this.cues = [...this.cues, ...cues].slice(-maxCues)
    })
    hls.on(Hls.Events.LEVEL_SWITCHED, () => events.quality())
    hls.on(Hls.Events.ERROR, (_, data) => this.failed(data))
    this.listen()
    hls.loadSource(url)
  }

  get qualities() {
    return this.known
  }

  get quality() {
    return this.known[this.hls.currentLevel]
  }

  get behindEdge() {
    return this.shows ? this.hls.latency : undefined
  }

  get target() {
    return this.hls.targetLatency ?? undefined
  }

  get shownDate() {
    const date = this.shows ? this.hls.playingDate : null
    return date ? date.getTime() + this.clockError : undefined
  }

  get reportUrl() {
    return reportUrl(this.playlist)
  }

  select(quality: Quality | undefined) {
    this.hls.nextLevel = quality ? this.known.findIndex(({ name }) => name === quality.name) : -1
  }

  toLiveEdge() {
    this.options = { ...this.options, startBehind: 0 }
    if (this.edgeTarget) this.hls.targetLatency = this.edgeTarget
    this.edgeTarget = undefined
    if (this.hls.liveSyncPosition) this.video.currentTime = this.hls.liveSyncPosition
  }

  tick() {
    this.reportMetadata()
    this.skipHole()
    this.joinEdge()
    const { target } = this
    if (target === undefined || this.complete) return
    this.video.playbackRate = playbackRate(this.video.playbackRate, this.hls.latency, target, bufferedAhead(this.video.buffered, this.video.currentTime))
  }

  destroy() {
    clearTimeout(this.reload)
    this.listening.abort()
    this.hls.destroy()
  }

  private get shows(): boolean {
    return this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA
  }

  private listen() {
    const { signal } = this.listening
    const { video } = this
    video.addEventListener('playing', () => this.joinEdge(), { signal })
    video.addEventListener('waiting', () => {
      if (this.complete && bufferedAhead(video.buffered, video.currentTime) < tailSeconds) this.events.ended()
    }, { signal })
  }

  private failed(data: ErrorData) {
    if (data.details === Hls.ErrorDetails.LEVEL_EMPTY_ERROR) {
      this.reloadSoon()
      return
    }
    if (!data.fatal) return
    const decodable = data.details !== Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && decodable && !this.recovered) {
      this.recovered = true
      this.hls.recoverMediaError()
      return
    }
    const code = data.response?.code ?? 0
    const type = data.type === Hls.ErrorTypes.MEDIA_ERROR ? ErrorType.INVALID_DATA : errorOf(code)
    this.events.failed({ type, code, message: data.error?.message ?? data.details })
  }

  /**
   * In its first seconds a stream has parts and no whole segment yet, which
   * hls.js takes for an empty playlist. The same viewer session goes on.
   */
  private reloadSoon() {
    clearTimeout(this.reload)
    this.hls.stopLoad()
    this.reload = setTimeout(() => this.hls.startLoad(), emptyMs)
  }

  /** Called when the playlist says what the target latency is. */
  private stayBehind() {
    const { startBehind = 0 } = this.options
    if (this.edgeTarget || !this.target || startBehind <= 0) return
    this.edgeTarget = this.target
    this.hls.targetLatency = this.target + startBehind
  }

  /**
   * hls.js chooses where to start before it has loaded anything, and with its
   * default settings the time that loading takes stays in the latency for good.
   * Once, as soon as what is buffered reaches to the edge, this skips over it:
   * at the first frame, or on a slow machine some seconds later. With startBehind
   * this goes back to that distance.
   */
  private joinEdge() {
    const { video } = this
    const edge = this.hls.liveSyncPosition
    if (this.joined || edge == null || video.paused || video.seeking) return
    const late = edge - video.currentTime
    if (this.edgeTarget && late <= -worthASkipSeconds) { // hls.js has started at the edge, if it has started
      if (!this.shows) return
      video.currentTime = edge
    } else if (late >= worthASkipSeconds) {
      if (late >= bufferedAhead(video.buffered, video.currentTime)) return
      video.currentTime = edge
    }
    this.joined = true
    video.dataset.joined = '' // for tests
  }

  /**
   * Where renditions have lost more than a moment, hls.js waits for media that
   * will never come: this goes on behind the hole, and to the edge again.
   */
  private skipHole() {
    const { video } = this
    if (video.paused || video.seeking || bufferedAhead(video.buffered, video.currentTime) > emptySeconds) {
      this.emptySince = undefined
      return
    }
    this.emptySince ??= performance.now()
    const next = behindHole(video.buffered, video.currentTime)
    const loading = this.edgeTarget && performance.now() - this.emptySince < loadMs
    if (next === undefined || loading) return
    video.currentTime = next
    this.joined = false
  }

  private reportMetadata() {
    const now = this.video.currentTime
    const reached = this.cues.filter(({ startTime }) => startTime <= now)
    this.cues = this.cues.filter(({ startTime }) => startTime > now)
    for (const cue of reached) this.events.metadata(cue)
  }

  private compareClocks(request: unknown) {
    const date = request instanceof XMLHttpRequest ? Date.parse(request.getResponseHeader('Date') ?? '') : NaN
    const error = Date.now() - date
    if (!Number.isNaN(error)) this.clockError = Math.abs(error) > clockErrorMs ? error : 0
  }
}

function describe(levels: Level[]): Quality[] {
  return nameQualities(levels.map((level) => ({
    width: level.width, height: level.height, bitrate: level.bitrate, framerate: level.frameRate || 0,
    codecs: [level.videoCodec, level.audioCodec].filter(Boolean).join(','),
  })))
}
