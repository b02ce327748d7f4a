// The health of a session: a sentence, and charts of what arrived, which are
// updated while it is live.

import { useMemo, useRef, useState } from 'preact/hooks'
import { Chart, type Drawing, type Span, type Subject } from './chart'
import { kind, lifetime, starvations } from './events'
import { bitrate } from './format'
import type { Ivs, StreamSession } from './ivs'
import type { Metric, Metrics, Millrace, Report } from './millrace'
import { announcedAudio, announcedVideo, tracks, type Facts } from './sessions'
import { useLoad } from './ui'
import { pastVerdict, type Verdict } from './verdict'

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

const tones: Record<string, Verdict['tone']> = { HEALTHY: 'good', STARVING: 'bad' }

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

/** The ranges of time that the charts of a live session can show, in seconds; 0 is all. */
const ranges: [seconds: number, label: string][] = [[300, '5 min'], [1800, '30 min'], [0, 'All']]

export const usualRange = 300

/** What has been fetched, for one session at one period from one time on. */
interface Fetched {
  period: 1 | 60
  until: number // Unix seconds; later values may still change
  metrics: Metrics
}

/** What is known of the health of a session. */
export interface Health {
  session: StreamSession
  live: boolean
  span: Span // that the charts show
  now: Date
  report?: Report
  fetched?: Fetched
}

/** Loads the health of a session of a channel, again and again: undefined until it is known. range is that of a live session, in seconds. */
export function useHealth(ivs: Ivs, millrace: Millrace, refreshMs: number, arn: string | undefined, session: StreamSession | undefined, live: boolean, range: number) {
  const known = useRef(new Map<string, Fetched>()).current
  const { data, ...loaded } = useLoad(async (): Promise<Health | undefined> => {
    if (!arn || !session) return undefined
    const now = ivs.now()
    const [report, fetched] = await Promise.all([
      millrace.health(arn, session.streamId ?? ''),
      fetchMetrics(millrace, arn, session, spanOf(session, now, live, range), now, known),
    ])
    return { session, live, span: spanOf(session, ivs.now(), live, range), now, report, fetched }
  }, refreshMs, [arn, session?.streamId, session?.endTime?.getTime(), live, range])
  return { ...loaded, health: data?.session.streamId === session?.streamId ? data : undefined }
}

/** The time that the charts show. */
function spanOf(session: StreamSession, now: Date, live: boolean, range: number): Span {
  const [start, end] = lifetime(session, now)
  const from = live && range ? Math.max(start, end - range) : start
  return [from, Math.max(end, from + shortest)]
}

/** The number of ranges and sessions whose measurements are kept. */
const remembered = 8

/** All measurements to show, of which only those that are not known are fetched; undefined if the server has none. */
async function fetchMetrics(millrace: Millrace, arn: string, session: StreamSession, [from, to]: Span, at: Date, all: Map<string, Fetched>): Promise<Fetched | undefined> {
  const [start] = lifetime(session, at)
  const now = at.getTime() / 1000
  const period = to - from > drawnBySecond || now - from > keptSeconds ? 60 : 1
  const key = `${session.streamId} ${period} ${from === start ? start : Math.round(to - from)}`
  const known = all.get(key)
  if (known && known.until >= to) return known // a session that has ended
  const since = known ? known.until - period : from - period // the latest period may have been incomplete
  const metrics = await millrace.metrics(arn, session.streamId ?? '', since, Math.min(to, now) + 1, period)
  if (!metrics) return undefined
  const fetched: Fetched = { period, until: Math.min(to, now - readableAfter), metrics: known ? merge(known.metrics, metrics, since, from) : metrics }
  all.delete(key) // so that the oldest is the first
  all.set(key, fetched)
  if (all.size > remembered) all.delete(all.keys().next().value!)
  return fetched
}

/** A session in a sentence; none while it has no video yet. */
export function verdictOf({ session, live, report, fetched }: Health): Verdict | undefined {
  if (live) {
    const failed = session.truncatedEvents?.some((event) => kind(event) === 'error')
    return report?.sentence ? { text: report.sentence, tone: failed ? 'bad' : tones[report.health ?? ''] } : undefined
  }
  if (!session.endTime) return undefined
  const { text, tone } = pastVerdict(session, fetched?.metrics ?? {})
  const { streamId, reason } = report?.refused ?? {}
  return { tone, text: reason && streamId === session.streamId ? `${text} The server’s message to the encoder: ${reason}` : text }
}

/** The charts of a session. */
export function Charts({ health, range, choose }: { health?: Health; range: number; choose: (range: number) => void }) {
  const [cursor, point] = useState<number>()
  const drawings = useMemo(() => health?.fetched && drawingsOf(health, health.fetched), [health])
  const from = health?.span[0] ?? 0
  return <>
    <div class="card-head">
      <h2 id="health-title">Ingest</h2>
      <fieldset id="range" hidden={!health?.live || !drawings}>
        <legend class="off-screen">Time range of the charts</legend>
        {ranges.map(([seconds, label]) => <label key={seconds}><input type="radio" name="range" value={seconds} checked={seconds === range} onChange={() => choose(seconds)} /> {label}</label>)}
      </fieldset>
    </div>
    {drawings && <div id="charts">
      {subjects.map((subject, i) => (drawings[i]!.points.length > 0 || !subject.optional) && <Chart key={subject.metric} subject={subject} drawing={drawings[i]!} cursor={cursor} point={point} />)}
    </div>}
    <p class="quiet keys"><span class="key announced-key">announced by the encoder</span> <span id="shade-key" class="key shade-key" hidden={!drawings?.[0]?.shaded.some(([, end]) => end > from)}>the encoder fell behind (starvation)</span></p>
  </>
}

/** What the charts show, in the order of the subjects. */
function drawingsOf({ session, span: [from, to], now }: Health, { metrics, period }: Fetched): Drawing[] {
  const shaded = starvations(session, now)
  return subjects.map(({ metric, gap, announced }) => ({
    from, to, shaded, moves: !session.endTime, gap: Math.max(gap, 2.5 * period), announced: announced?.(session),
    points: (metrics[metric] ?? []).filter(([time]) => time >= from - period && time <= to),
  }))
}

/** The renditions that viewers are offered, and how playback is for them. */
export function offered({ renditions = [], playback }: Report = {}): Facts {
  return [
    ...renditions.map(({ label, width, height, framerate, averageBandwidth, codecs, playing }): [string, string] => [label, [
      width && height && `${width}×${height}`, framerate && perSecond(framerate), bitrate(averageBandwidth), codecs.replace(',', ', '), !playing && 'behind',
    ].filter(Boolean).join(' · ')]),
    ...(playback ? [
      ['Players reporting', `${playback.reporting}, of which ${playback.stalled} stalled in the last minute`],
      ['Player latency', playback.latency && seconds(playback.latency)],
      ['Startup time', playback.startup && seconds(playback.startup)],
      ['Player bit rate', bitrate(playback.bitrate)],
    ] as Facts : []),
  ]
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
