// Playback by the browser itself, where it plays HLS and has no Media Source
// Extensions: iPhones. It chooses the rendition and stays at the live edge.

import { reachedMetadata } from './metadata.js'
import type { Engine, EngineEvents, PlayerOptions } from './player.js'
import { sessionOf } from './reports.js'
import { errorOf } from './rules.js'
import { ErrorType, type Quality } from './types.js'

export class NativeEngine implements Engine {
  readonly qualities: Quality[] = []
  readonly target = undefined
  readonly requestsReport = false
  reportUrl: string | undefined
  private listening = new AbortController()

  static isSupported(): boolean {
    return document.createElement('video').canPlayType('application/vnd.apple.mpegurl') !== ''
  }

  constructor(private video: HTMLVideoElement, url: string, private options: PlayerOptions, private events: EngineEvents) {
    const { signal } = this.listening
    video.addEventListener('loadedmetadata', () => {
      if (options.startBehind) video.currentTime = Math.max(this.edge - options.startBehind, 0)
      events.ready()
    }, { signal })
    video.addEventListener('resize', () => events.quality(), { signal })
    video.addEventListener('error', () => void this.failed(url), { signal })
    void this.open(url)
  }

  get quality(): Quality | undefined {
    const { videoWidth: width, videoHeight: height } = this.video
    return height ? { name: `${height}p`, width, height, bitrate: 0, framerate: 0, codecs: '' } : undefined
  }

  get behindEdge() {
    return this.edge ? this.edge - this.video.currentTime : undefined
  }

  get shownDate() {
    const start = (this.video as HTMLVideoElement & { getStartDate?(): Date }).getStartDate?.().getTime()
    return start ? start + this.video.currentTime * 1000 : undefined // NaN if unknown
  }

  select() {} // the browser selects

  toLiveEdge() {
    this.options = { ...this.options, startBehind: 0 }
    if (this.edge) this.video.currentTime = this.edge
  }

  tick() {
    for (const cue of reachedMetadata(this.video)) this.events.metadata(cue)
  }

  destroy() {
    this.listening.abort()
    this.video.removeAttribute('src')
    this.video.load()
  }

  private get edge(): number {
    const { seekable } = this.video
    return seekable.length ? seekable.end(seekable.length - 1) : 0
  }

  /**
   * A video element does not say why it cannot play a URL, nor which viewer session it
   * has: the answer to a request of our own does.
   */
  private async open(url: string) {
    const { status, text } = await this.ask('GET', url)
    if (this.listening.signal.aborted) return
    if (status !== 200) {
      this.events.failed({ type: errorOf(status), code: status, message: `The playback URL answers ${status || 'nothing'}` })
      return
    }
    const session = sessionOf(url, text)
    this.reportUrl = session.reportUrl
    this.video.src = session.url
  }

  private async failed(url: string) {
    const { error } = this.video
    const { status } = await this.ask('HEAD', url)
    if (this.listening.signal.aborted) return
    const undecodable = error?.code === MediaError.MEDIA_ERR_DECODE || error?.code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED
    const type = status === 200 && undecodable ? ErrorType.INVALID_DATA : errorOf(status)
    this.events.failed({ type, code: status, message: error?.message || 'Playback failed' })
  }

  private async ask(method: string, url: string): Promise<{ status: number; text: string }> {
    try {
      const answer = await fetch(url, { method, signal: AbortSignal.timeout(10_000) })
      return { status: answer.status, text: await answer.text() }
    } catch {
      return { status: 0, text: '' }
    }
  }
}
