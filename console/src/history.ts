// The history of a channel's sessions: filters, and tables for other programs.

import type { AudioConfiguration, VideoConfiguration } from '@aws-sdk/client-ivs'
import { kind } from './events'
import { mean } from './format'
import type { Sessions, StreamSession, StreamSessionSummary } from './ivs'
import type { Metric, Metrics } from './millrace'
import { tracks } from './sessions'

/** Which sessions are listed. */
export interface SessionFilter {
  kind: 'all' | 'errors' | 'short' | 'never'
  from: string // a day as <input type=date> has it, '' is none
  until: string
}

export const noFilter: SessionFilter = { kind: 'all', from: '', until: '' }

/** A session below this is short: in ms. */
const shortMs = 60_000

/** When a session went live; where it never did, when it ended, and now if it is about to. */
export function began({ startTime, endTime }: StreamSessionSummary): Date {
  return startTime ?? endTime ?? new Date()
}

export function filterSessions(sessions: StreamSessionSummary[], { kind, from, until }: SessionFilter): StreamSessionSummary[] {
  const first = from ? +new Date(`${from}T00:00`) : -Infinity // in the viewer's own time zone
  const last = until ? +new Date(`${until}T24:00`) : Infinity
  const wanted: Record<SessionFilter['kind'], (session: StreamSessionSummary) => boolean> = {
    all: () => true,
    errors: ({ hasErrorEvent }) => !!hasErrorEvent,
    short: ({ startTime, endTime }) => !!startTime && !!endTime && +endTime - +startTime < shortMs,
    never: ({ startTime, endTime }) => !startTime && !!endTime,
  }
  return sessions.filter((session) => wanted[kind](session) && +began(session) >= first && +began(session) < last)
}

/** What has been read of a channel's history for a filter: the newest sessions. */
export interface Searched {
  sessions: StreamSessionSummary[]
  next?: string // where older ones follow
  complete: boolean // no older one can match
}

/** A search ends when it has found so many more, or has read so many more. */
const enough = 20
const most = 1000

/** Reads older sessions than those of before, until enough of them match. */
export async function search(read: (next?: string) => Promise<Sessions>, filter: SessionFilter, before?: Searched): Promise<Searched> {
  const sessions: StreamSessionSummary[] = []
  let next = before?.next
  let complete: boolean
  do {
    const page = await read(next)
    sessions.push(...page.sessions)
    next = page.next
    complete = !next || !filterSessions(page.sessions, { ...noFilter, from: filter.from }).length // those that follow are older
  } while (!complete && sessions.length < most && filterSessions(sessions, filter).length < enough)
  return { sessions: [...before?.sessions ?? [], ...sessions], next, complete }
}

/** A session, and what the server measured of it by the minute; undefined where it has forgotten. */
export interface Recorded {
  session: StreamSession & StreamSessionSummary
  metrics?: Metrics
}

type Column = [name: string, value: (recorded: Recorded) => unknown]

const measured = (metric: Metric, of: (values: number[]) => number, digits = 0) => ({ metrics }: Recorded) => {
  const values = metrics?.[metric]?.map(([, value]) => value) ?? []
  return values.length ? Number(of(values).toFixed(digits)) : ''
}

const ofVideo = (value: (video: VideoConfiguration) => unknown) => ({ session }: Recorded) => tracks(session).videos.map(value).filter(Boolean).join(' ')
const ofAudio = (value: (audio: AudioConfiguration) => unknown) => ({ session }: Recorded) => tracks(session).audios.map(value).filter(Boolean).join(' ')

/** The columns of the CSV. Of several tracks, a cell has the values of all. */
const columns: Column[] = [
  ['streamId', ({ session }) => session.streamId],
  ['startTime', ({ session }) => session.startTime?.toISOString()],
  ['endTime', ({ session }) => session.endTime?.toISOString()],
  ['durationSeconds', ({ session: { startTime, endTime } }) => startTime && endTime ? (+endTime - +startTime) / 1000 : ''],
  ['hasErrorEvent', ({ session }) => session.hasErrorEvent ? 'true' : 'false'],
  ['errorEvents', ({ session }) => (session.truncatedEvents ?? []).filter((event) => kind(event) === 'error').map(({ name, code }) => [name, code].filter(Boolean).join(' ')).join('; ')],
  ['events', ({ session }) => session.truncatedEvents?.length],
  ['channelType', ({ session }) => session.channel?.type],
  ['latencyMode', ({ session }) => session.channel?.latencyMode],
  ['encoder', ofVideo(({ encoder }) => encoder)],
  ['videoCodec', ofVideo(({ codec }) => codec)],
  ['videoProfile', ofVideo(({ profile, avcProfile, level, avcLevel }) => [profile || avcProfile, level || avcLevel].filter(Boolean).join('@'))],
  ['resolution', ofVideo(({ videoWidth, videoHeight }) => videoWidth && videoHeight && `${videoWidth}x${videoHeight}`)],
  ['targetFramerate', ofVideo(({ targetFramerate }) => targetFramerate)],
  ['targetVideoBitrate', ofVideo(({ targetBitrate }) => targetBitrate)],
  ['audioCodec', ofAudio(({ codec }) => codec)],
  ['audioChannels', ofAudio(({ channels }) => channels)],
  ['audioSampleRate', ofAudio(({ sampleRate }) => sampleRate)],
  ['targetAudioBitrate', ofAudio(({ targetBitrate }) => targetBitrate)],
  ['meanVideoBitrate', measured('IngestVideoBitrate', mean)],
  ['meanFramerate', measured('IngestFramerate', mean, 2)],
  ['meanKeyframeInterval', measured('KeyframeInterval', mean, 2)],
  ['maxViewers', measured('ConcurrentViews', (values) => Math.max(...values))],
]

/** Sessions as CSV (RFC 4180): times in UTC, durations in seconds, bit rates in bit/s. */
export function sessionsCsv(sessions: Recorded[]): string {
  const rows = sessions.map((recorded) => columns.map(([, value]) => value(recorded)))
  return [columns.map(([name]) => name), ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('')
}

/** A cell of CSV: in quotes where it must be, and never a formula of a spreadsheet. */
function cell(value: unknown): string {
  const text = String(value ?? '').replace(/^[=+\-@\t\r]/, "'$&")
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** The sessions as JSON: all that the API has of them, with their events, and the measurements. */
export function sessionsJson(channelArn: string, sessions: Recorded[]): string {
  return `${JSON.stringify({ channelArn, streamSessions: sessions.map(({ session, metrics }) => ({ ...session, metrics })) }, null, 2)}\n`
}
