// The player: one <video> element that plays one URL and stays at its live edge.

import { HlsEngine } from './hls.js'
import { NativeEngine } from './native.js'
import { Reports, send, stalled } from './reports.js'
import { bufferedAhead, retryDelay, tooManyViewers } from './rules.js'
import { isSeeking, noteSeeks } from './seeking.js'
import { ErrorType, PlayerEventType, PlayerState, type PlayerError, type PlayerEventMap, type Quality, type TextMetadataCue } from './types.js'

export interface PlayerOptions {
  /** Where hls.worker.js of hls.js is served; without it hls.js makes its worker from a blob: URL. */
  workerPath?: string
  /** Start playback as soon as the stream is available. The default is true. */
  autoplay?: boolean
  /** Start this many seconds before the live edge, and keep that distance. The default is 0. */
  startBehind?: number
  /** Report playback quality to the server (CMCD, CTA-5004). The default is true. */
  cmcd?: boolean
}

/** What plays a URL: hls.js, or the browser. */
export interface Engine {
  readonly qualities: Quality[]
  readonly quality: Quality | undefined
  /** Distance of the playhead from the live edge, in seconds. */
  readonly behindEdge: number | undefined
  /** The target distance from the live edge, in seconds. */
  readonly target: number | undefined
  /** The time at which the server received the current frame, in Unix ms by this machine's clock. */
  readonly shownDate: number | undefined
  /** Where the server takes reports of playback, once that is known. */
  readonly reportUrl: string | undefined
  /** Whether the requests for media report stalls. */
  readonly requestsReport: boolean
  /** undefined is automatic. */
  select(quality: Quality | undefined): void
  toLiveEdge(): void
  /** Called a few times a second. */
  tick(): void
  destroy(): void
}

/** What an engine reports. */
export interface EngineEvents {
  ready(): void
  quality(): void
  /** Playback has reached a cue, which may be reported repeatedly for some seconds. */
  metadata(cue: TextMetadataCue): void
  ended(): void
  /** The engine cannot continue. */
  failed(error: PlayerError): void
}

const tickMs = 250

/** More cues than the server accepts within the time for which one is reported. */
const keptCues = 100

/** Whether this browser can play HLS at all. */
export const isPlayerSupported: boolean = typeof document !== 'undefined' && (HlsEngine.isSupported() || NativeEngine.isSupported())

/**
 * A Player plays one live stream after the other in a <video> element. Its events
 * are CustomEvents on the Player itself; PlayerEventMap says what detail they have.
 */
export class Player {
  private engine?: Engine
  private url = ''
  private token?: () => Promise<string>
  private attempt = 0 // counts engines; what an earlier one still waits for is not wanted
  private reports = new Reports(0) // of this attempt
  private state: PlayerState = PlayerState.IDLE
  private failures = 0
  private retry?: ReturnType<typeof setTimeout>
  private ticker?: ReturnType<typeof setInterval>
  private played = false // since the URL was loaded
  private wanted: boolean // play, not pause
  private chosen?: string // name of the quality that the user chose
  private behind: number
  private events = new EventTarget()
  private done = new AbortController()
  private cues: string[] = []

  constructor(readonly video: HTMLVideoElement, private options: PlayerOptions = {}) {
    this.behind = options.startBehind ?? 0
    this.wanted = options.autoplay ?? true
    const on = (type: string, f: () => void) => video.addEventListener(type, f, { signal: this.done.signal })
    noteSeeks(video, this.done.signal)
    on('playing', () => this.playing())
    on('waiting', () => this.waiting())
    on('pause', () => this.paused())
    on('ended', () => this.finish())
    on('volumechange', () => {
      this.emit(PlayerEventType.MUTED_CHANGED, video.muted)
      this.emit(PlayerEventType.VOLUME_CHANGED, video.volume)
    })
  }

  /**
   * Plays url, and goes on trying until it can: also after the stream has ended and another
   * has begun. Each try asks token, if it is given, for the playback token to use.
   */
  load(url: string, token?: () => Promise<string>) {
    this.stop()
    this.url = url
    this.token = token
    this.failures = 0
    this.ticker = setInterval(() => this.tick(), tickMs)
    void this.start()
  }

  /** Stops playback and takes the media away. */
  stop() {
    this.drain()
    clearInterval(this.ticker)
    this.close()
    this.played = false
    this.cues = []
    this.set(PlayerState.IDLE)
  }

  /** Lets what is buffered play to its end and then tries no more. */
  drain() {
    this.url = ''
    clearTimeout(this.retry)
  }

  /** Stops playback for good. */
  delete() {
    this.stop()
    this.done.abort()
  }

  /** Resumes playback; from the live edge if it had been paused for long. */
  play() {
    this.wanted = true
    this.reports.wish(performance.now())
    void this.begin()
  }

  pause() {
    this.wanted = false
    this.video.pause()
  }

  isPaused(): boolean {
    return !this.wanted
  }

  /** Skips to the live edge, and stays there. */
  seekToLive() {
    this.behind = 0
    this.engine?.toLiveEdge()
    this.play()
  }

  getState(): PlayerState {
    return this.state
  }

  getQualities(): Quality[] {
    return this.engine?.qualities ?? []
  }

  /** The rendition that is played; undefined while that is unknown. */
  getQuality(): Quality | undefined {
    return this.engine?.quality
  }

  /** Stays with a rendition, also in later streams that have one of its name; in others, automatic. */
  setQuality(quality: Quality) {
    this.chosen = quality.name
    this.engine?.select(quality)
  }

  isAutoQualityMode(): boolean {
    return !this.getQualities().some(({ name }) => name === this.chosen)
  }

  setAutoQualityMode(on: boolean) {
    this.chosen = on ? undefined : this.getQuality()?.name
    this.engine?.select(on ? undefined : this.getQuality())
  }

  /** Seconds from the arrival of the current frame at the server until now; undefined while none is shown. */
  getLiveLatency(): number | undefined {
    const date = this.engine?.shownDate
    return date === undefined ? undefined : (Date.now() - date) / 1000
  }

  /** Seconds between the playhead and the end of the playlist. */
  getDistanceFromEdge(): number | undefined {
    return this.engine?.behindEdge
  }

  /** The target distance from the live edge, in seconds. */
  getTargetLatency(): number | undefined {
    return this.engine?.target
  }

  isMuted(): boolean {
    return this.video.muted
  }

  setMuted(muted: boolean) {
    this.video.muted = muted
  }

  /** The volume, from 0 to 1; it stays while the audio is muted. */
  getVolume(): number {
    return this.video.volume
  }

  setVolume(volume: number) {
    this.video.volume = volume
  }

  addEventListener<K extends keyof PlayerEventMap>(type: K, listener: (event: CustomEvent<PlayerEventMap[K]>) => void) {
    this.events.addEventListener(type, listener as EventListener)
  }

  removeEventListener<K extends keyof PlayerEventMap>(type: K, listener: (event: CustomEvent<PlayerEventMap[K]>) => void) {
    this.events.removeEventListener(type, listener as EventListener)
  }

  private emit<K extends keyof PlayerEventMap>(type: K, detail: PlayerEventMap[K]) {
    this.events.dispatchEvent(new CustomEvent(type, { detail }))
  }

  private set(state: PlayerState) {
    if (state === this.state) return
    this.state = state
    this.emit(state, undefined)
    this.emit(PlayerEventType.STATE_CHANGED, state)
  }

  private tick() {
    this.engine?.tick()
    if (this.state !== PlayerState.PLAYING) return
    const { video } = this
    const report = this.reports.next(performance.now(), { latency: this.getLiveLatency(), buffer: bufferedAhead(video.buffered, video.currentTime) })
    if (report) this.report(report)
  }

  private report(text: string) {
    const url = this.engine?.reportUrl
    if (url && this.options.cmcd !== false) send(url, text)
  }

  private async start() {
    this.close()
    this.reports = new Reports(performance.now())
    const { attempt } = this
    try {
      const token = await this.token?.()
      if (attempt === this.attempt) this.open(token ? `${this.url}${this.url.includes('?') ? '&' : '?'}token=${encodeURIComponent(token)}` : this.url)
    } catch (err) {
      if (attempt === this.attempt) this.failed({ type: ErrorType.NETWORK, code: 0, message: `There is no playback token: ${(err as Error).message}` })
    }
  }

  private open(url: string) {
    const engine = HlsEngine.isPreferred() ? HlsEngine : NativeEngine.isSupported() ? NativeEngine : undefined
    if (!engine) {
      this.emit(PlayerEventType.ERROR, { type: ErrorType.NOT_SUPPORTED, code: 0, message: 'This browser cannot play HLS: it has no Media Source Extensions' })
      return
    }
    this.engine = new engine(this.video, url, { ...this.options, startBehind: this.behind }, {
      ready: () => this.ready(),
      quality: () => {
        const quality = this.engine?.quality
        if (quality) this.emit(PlayerEventType.QUALITY_CHANGED, quality)
      },
      metadata: (cue) => this.metadata(cue),
      ended: () => this.finish(),
      failed: (error) => this.failed(error),
    })
  }

  private close() {
    this.attempt++
    clearTimeout(this.retry)
    this.engine?.destroy()
    this.engine = undefined
    this.video.playbackRate = 1
  }

  private ready() {
    if (this.chosen !== undefined) this.engine?.select(this.getQualities().find(({ name }) => name === this.chosen))
    this.set(PlayerState.READY)
    if (this.wanted) void this.begin()
  }

  /** Starts the element, muted where the browser demands that. */
  private async begin() {
    try {
      await this.video.play()
    } catch (err) {
      if ((err as Error).name !== 'NotAllowedError') return // it was loaded again, or paused
      if (this.video.muted) {
        this.wanted = false
        this.emit(PlayerEventType.PLAYBACK_BLOCKED, undefined)
        return
      }
      this.video.muted = true
      this.emit(PlayerEventType.AUDIO_BLOCKED, undefined)
      await this.begin()
    }
  }

  private playing() {
    this.failures = 0
    this.wanted = true // the element's own controls, or the system's, may have resumed it
    this.played = true
    this.reports.playing(performance.now())
    this.set(PlayerState.PLAYING)
  }

  private waiting() {
    if (!this.engine || this.state === PlayerState.ENDED) return
    if (this.state === PlayerState.PLAYING && !isSeeking(this.video)) {
      this.emit(PlayerEventType.REBUFFERING, undefined)
      if (!this.engine.requestsReport) this.report(stalled())
    }
    this.set(PlayerState.BUFFERING)
  }

  private paused() {
    if (!this.engine || this.video.ended) return
    this.wanted = false
    this.set(PlayerState.IDLE)
  }

  private metadata(cue: TextMetadataCue) {
    const key = `${cue.startTime} ${cue.text}`
    if (this.cues.includes(key)) return
    this.cues = [...this.cues.slice(-keptCues), key]
    this.emit(PlayerEventType.TEXT_METADATA_CUE, cue)
  }

  private finish() {
    if (!this.engine) return
    this.close()
    this.set(PlayerState.ENDED)
    this.later(false)
  }

  private failed(error: PlayerError) {
    this.close()
    const retryIn = this.later(error.type === ErrorType.AUTHORIZATION || error.code === tooManyViewers)
    if (this.state !== PlayerState.ENDED) this.set(PlayerState.BUFFERING)
    this.emit(PlayerEventType.ERROR, { ...error, retryIn })
  }

  private later(refused: boolean): number | undefined {
    if (!this.url) return undefined
    const wait = retryDelay(this.failures++, refused, Math.random())
    this.retry = setTimeout(() => void this.start(), wait)
    return wait
  }

  /** Whether anything has been played since load. */
  get hasPlayed(): boolean {
    return this.played
  }
}
