// The health of a session: a sentence, and charts of what arrived, which are
// updated while it is live.

import { Chart, type Span, type Subject } from './chart'
import { byId, fillFacts, setText } from './dom'
import { kind, lifetime, starvations } from './events'
import { bitrate } from './format'
import type { Ivs, StreamSession } from './ivs'
import type { Metric, Metrics, Millrace, Report } from './millrace'
import { announcedAudio, announcedVideo, tracks } from './sessions'
import { pastVerdict } from './verdict'

const hour = 3600

/** How long the server keeps a value per second; after that, one per minute. */
const keptSeconds = 3 * hour

/** A longer time is drawn from the values per minute. */
const drawnBySecond = 1.5 * hour

/** Measurements can be read this many seconds after they were made, at the latest. */
const readableAfter = 5

/** The shortest time that a chart shows, for a session that has just begun. */
const shortest = 30

const bits = (value: number) => bitrate(value) ?? '0'
const perSecond = (value: number) => `${+value.toFixed(1)} fps`
const seconds = (value: number) => `${+value.toFixed(2)} s`
const percent = (value: number) => `${Math.round(value)} %`
const count = (value: number) => String(Math.round(value))

const tones: Record<string, string> = { HEALTHY: 'good', STARVING: 'bad' }

type Announced = (session: StreamSession) => number | undefined

/**
 * The charts. A key frame is not measured each second: its gap is that of the slowest encoders.
 * Optional ones are shown only where something was measured: not all players report playback.
 */
const subjects: (Subject & { metric: Metric, gap: number, announced?: Announced, optional?: true })[] = [
  { metric: 'IngestVideoBitrate', name: 'Video bitrate', format: bits, least: 1e5, gap: 3,
    announced: announcedVideo },
  { metric: 'IngestFramerate', name: 'Frame rate', format: perSecond, least: 10, gap: 3,
    announced: (session) => tracks(session).videos[0]?.targetFramerate },
  { metric: 'IngestAudioBitrate', name: 'Audio bitrate', format: bits, least: 1e4, gap: 3,
    announced: announcedAudio },
  { metric: 'KeyframeInterval', name: 'Key-frame interval', format: seconds, least: 2, gap: 20 },
  { metric: 'ConcurrentViews', name: 'Viewers', format: count, least: 4, gap: 3, whole: true },
  { metric: 'StalledViewers', name: 'Viewers who stalled', format: percent, least: 10, gap: 3, optional: true },
  { metric: 'StartupTime', name: 'Startup time', format: seconds, least: 1, gap: 3, optional: true },
]

/** What has been fetched, for one session at one period from one time on. */
interface Fetched {
  key: string
  until: number // Unix seconds; later values may still change
  metrics: Metrics
}

export class HealthCard {
  private charts = subjects.map((subject) => new Chart(subject, (time) => this.pointAll(time)))
  private fetched: Fetched = { key: '', until: 0, metrics: {} }
  private session?: StreamSession

  constructor(private ivs: Ivs, private millrace: Millrace, hurry: () => void) {
    byId('range').addEventListener('change', hurry)
  }

  /** Fetches new measurements of a session of the channel and shows them, unless another session was chosen meanwhile. */
  async refresh(arn: string, session: StreamSession | undefined, live: boolean, still: () => boolean) {
    byId('health-card').hidden = !session
    if (!session) return
    if (session.streamId !== this.session?.streamId) this.clear()
    this.session = session
    const now = this.ivs.now()
    const [report, metrics] = await Promise.all([
      this.millrace.health(arn, session.streamId ?? ''),
      this.metrics(arn, session, this.span(session, now, live), now),
    ])
    if (!still()) return
    if (metrics) this.fetched = metrics
    showOffered(live ? report : undefined)
    if (live) this.showLiveVerdict(session, report)
    else this.showPastVerdict(session, report)
    this.draw(session, this.span(session, this.ivs.now(), live), now)
    byId('range').hidden = !live || this.fetched.key === ''
  }

  private clear() {
    this.fetched = { key: '', until: 0, metrics: {} }
    this.showVerdict()
    this.pointAll()
  }

  /** The time that the charts show; for a live session, the range that the user chose. */
  private span(session: StreamSession, now: Date, live: boolean): Span {
    const [start, end] = lifetime(session, now)
    const chosen = byId('range').querySelector<HTMLInputElement>(':checked')?.value
    const range = (live && Number(chosen)) || Infinity
    const from = Math.max(start, end - range)
    return [from, Math.max(end, from + shortest)]
  }

  /** All measurements to show, of which only new ones are fetched; undefined if the server has none. */
  private async metrics(arn: string, session: StreamSession, [from, to]: Span, at: Date): Promise<Fetched | undefined> {
    const [start] = lifetime(session, at)
    const now = at.getTime() / 1000
    const period = to - from > drawnBySecond || now - from > keptSeconds ? 60 : 1
    const key = `${session.streamId} ${period} ${from === start ? start : Math.round(to - from)}`
    const known = key === this.fetched.key ? this.fetched : undefined
    if (known && known.until >= to) return known // a session that has ended
    const since = known ? known.until - period : from - period // the latest period may have been incomplete
    const metrics = await this.millrace.metrics(arn, session.streamId ?? '', since, Math.min(to, now) + 1, period)
    if (!metrics) return undefined
    return { key, until: Math.min(to, now - readableAfter), metrics: known ? merge(known.metrics, metrics, since, from) : metrics }
  }

  /** Shows a sentence, or none. */
  private showVerdict(text = '', tone = '') {
    const el = byId('verdict')
    el.dataset.tone = tone
    setText(el, text)
    el.hidden = !text
  }

  private showLiveVerdict(session: StreamSession, report: Report | undefined) {
    const failed = session.truncatedEvents?.some((event) => kind(event) === 'error')
    this.showVerdict(report?.sentence, failed ? 'bad' : tones[report?.health ?? ''])
  }

  private showPastVerdict(session: StreamSession, report: Report | undefined) {
    if (!session.endTime) return this.showVerdict() // it has no video yet
    const { text, tone } = pastVerdict(session, this.fetched.metrics.IngestVideoBitrate ?? [])
    const { streamId, reason } = report?.refused ?? {}
    this.showVerdict(reason && streamId === session.streamId ? `${text} The server’s message to the encoder: ${reason}` : text, tone)
  }

  private draw(session: StreamSession, [from, to]: Span, now: Date) {
    const measured = this.fetched.key !== ''
    byId('charts').hidden = !measured
    const shaded = starvations(session, now)
    byId('shade-key').hidden = !measured || !shaded.some(([, end]) => end > from)
    const period = this.fetched.key.split(' ')[1] === '60' ? 60 : 1
    const points = subjects.map(({ metric }) => (this.fetched.metrics[metric] ?? []).filter(([time]) => time >= from - period && time <= to))
    this.place(this.charts.filter((_, i) => !subjects[i]!.optional || points[i]!.length))
    subjects.forEach(({ gap, announced }, i) => this.charts[i]!.draw({
      from, to, shaded, moves: !session.endTime, gap: Math.max(gap, 2.5 * period), announced: announced?.(session), points: points[i]!,
    }))
  }

  /** Puts these charts on the page. */
  private place(charts: Chart[]) {
    const list = byId('charts')
    if (list.childElementCount !== charts.length) list.replaceChildren(...charts.map(({ figure }) => figure))
  }

  private pointAll(time?: number) {
    for (const chart of this.charts) chart.point(time)
  }
}

/** Shows what viewers are offered, and how it plays for them. */
function showOffered(report?: Report) {
  const { renditions = [], playback } = report ?? {}
  byId('renditions-title').hidden = !renditions.length
  fillFacts(byId('renditions'), [
    ...renditions.map(({ label, width, height, framerate, averageBandwidth, codecs, playing }): [string, string] => [label, [
      width && height && `${width}×${height}`, framerate && perSecond(framerate), bitrate(averageBandwidth), codecs.replace(',', ', '), !playing && 'behind',
    ].filter(Boolean).join(' · ')]),
    ...(playback ? [
      ['Players reporting', `${playback.reporting}, of which ${playback.stalled} stalled in the last minute`],
      ['Player latency', playback.latency && seconds(playback.latency)],
      ['Startup time', playback.startup && seconds(playback.startup)],
      ['Player bit rate', bitrate(playback.bitrate)],
    ] as [string, string | undefined][] : []),
  ])
}

/** Appends new points, from since on, to the known ones from from on. */
function merge(known: Metrics, news: Metrics, since: number, from: number): Metrics {
  const all: Metrics = {}
  for (const { metric } of subjects) {
    const kept = (known[metric] ?? []).filter(([time]) => time < since && time >= from - 60)
    all[metric] = [...kept, ...(news[metric] ?? []).filter(([time]) => time >= since)]
  }
  return all
}
