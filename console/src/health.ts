// How a session does or did: a sentence, and charts of what arrived, which
// move while it is live.

import { Chart, type Span, type Subject } from './chart'
import { byId, setText } from './dom'
import { kind, lifetime, starvations } from './events'
import { bitrate } from './format'
import type { Ivs, StreamSession } from './ivs'
import type { Metric, Metrics, Millrace, Report } from './millrace'
import { announcedAudio, announcedVideo, tracks } from './sessions'
import { pastVerdict } from './verdict'

const hour = 3600

/** The server keeps what it measures every second for so long, and then only each minute. */
const keptSeconds = 3 * hour

/** More is drawn from what was measured each minute. */
const drawnBySecond = 1.5 * hour

/** The server needs so many seconds at most until what it measured can be read. */
const settled = 5

/** The chart of a session that has just begun is so long at least. */
const shortest = 30

const bits = (value: number) => bitrate(value) ?? '0'
const perSecond = (value: number) => `${+value.toFixed(1)} fps`
const seconds = (value: number) => `${+value.toFixed(2)} s`
const count = (value: number) => String(Math.round(value))

const tones: Record<string, string> = { HEALTHY: 'good', STARVING: 'bad' }

type Announced = (session: StreamSession) => number | undefined

/** The charts. A key frame is not measured each second: its gap is that of the slowest encoders. */
const subjects: (Subject & { metric: Metric, gap: number, announced?: Announced })[] = [
  { metric: 'IngestVideoBitrate', name: 'Video bitrate', format: bits, least: 1e5, gap: 3,
    announced: announcedVideo },
  { metric: 'IngestFramerate', name: 'Frame rate', format: perSecond, least: 10, gap: 3,
    announced: (session) => tracks(session).videos[0]?.targetFramerate },
  { metric: 'IngestAudioBitrate', name: 'Audio bitrate', format: bits, least: 1e4, gap: 3,
    announced: announcedAudio },
  { metric: 'KeyframeInterval', name: 'Key-frame interval', format: seconds, least: 2, gap: 20 },
  { metric: 'ConcurrentViews', name: 'Viewers', format: count, least: 4, gap: 3, whole: true },
]

/** What has been fetched, for one session at one period from one time on. */
interface Fetched {
  key: string
  until: number // Unix seconds; what is younger may still change
  metrics: Metrics
}

export class HealthCard {
  private charts = subjects.map((subject) => new Chart(subject, (time) => this.pointAll(time)))
  private fetched: Fetched = { key: '', until: 0, metrics: {} }
  private session?: StreamSession

  constructor(private ivs: Ivs, private millrace: Millrace, hurry: () => void) {
    byId('charts').replaceChildren(...this.charts.map((chart) => chart.figure))
    byId('range').addEventListener('change', hurry)
  }

  /** Fetches what is new of a session of the channel and shows it, as long as it is still the one to show. */
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

  /** The time that the charts show: of a live session as much as the user chose. */
  private span(session: StreamSession, now: Date, live: boolean): Span {
    const [start, end] = lifetime(session, now)
    const chosen = byId('range').querySelector<HTMLInputElement>(':checked')?.value
    const range = (live && Number(chosen)) || Infinity
    const from = Math.max(start, end - range)
    return [from, Math.max(end, from + shortest)]
  }

  /** All that is to be shown, of which only what is new is fetched; undefined where the server measures nothing. */
  private async metrics(arn: string, session: StreamSession, [from, to]: Span, at: Date): Promise<Fetched | undefined> {
    const [start] = lifetime(session, at)
    const now = at.getTime() / 1000
    const period = to - from > drawnBySecond || now - from > keptSeconds ? 60 : 1
    const key = `${session.streamId} ${period} ${from === start ? start : Math.round(to - from)}`
    const known = key === this.fetched.key ? this.fetched : undefined
    if (known && known.until >= to) return known // a session that has ended
    const since = known ? known.until - period : from - period // the latest one may have been half over
    const metrics = await this.millrace.metrics(arn, session.streamId ?? '', since, Math.min(to, now) + 1, period)
    if (!metrics) return undefined
    return { key, until: Math.min(to, now - settled), metrics: known ? merge(known.metrics, metrics, since, from) : metrics }
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
    if (!session.endTime) return this.showVerdict() // its first picture is on its way
    const { text, tone } = pastVerdict(session, this.fetched.metrics.IngestVideoBitrate ?? [])
    const { streamId, reason } = report?.refused ?? {}
    this.showVerdict(reason && streamId === session.streamId ? `${text} The encoder was told: ${reason}` : text, tone)
  }

  private draw(session: StreamSession, [from, to]: Span, now: Date) {
    const measured = this.fetched.key !== ''
    byId('charts').hidden = !measured
    const shaded = starvations(session, now)
    byId('shade-key').hidden = !measured || !shaded.some(([, end]) => end > from)
    const period = this.fetched.key.split(' ')[1] === '60' ? 60 : 1
    subjects.forEach(({ metric, gap, announced }, i) => this.charts[i]!.draw({
      from, to, shaded, moves: !session.endTime, gap: Math.max(gap, 2.5 * period), announced: announced?.(session),
      points: (this.fetched.metrics[metric] ?? []).filter(([time]) => time >= from - period && time <= to),
    }))
  }

  private pointAll(time?: number) {
    for (const chart of this.charts) chart.point(time)
  }
}

/** Puts what is new, from since on, behind what is known from from on. */
function merge(known: Metrics, news: Metrics, since: number, from: number): Metrics {
  const all: Metrics = {}
  for (const { metric } of subjects) {
    const kept = (known[metric] ?? []).filter(([time]) => time < since && time >= from - 60)
    all[metric] = [...kept, ...(news[metric] ?? []).filter(([time]) => time >= since)]
  }
  return all
}
