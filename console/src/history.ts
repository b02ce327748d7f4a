// The history of a channel's sessions: filters, and tables for other programs.

import type { StreamSessionSummary } from './ivs'

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

/** Sessions as CSV (RFC 4180), with times in UTC and durations in seconds. */
export function sessionsCsv(sessions: StreamSessionSummary[]): string {
  const rows = sessions.map(({ streamId, startTime, endTime, hasErrorEvent }) => [
    streamId, startTime?.toISOString(), endTime?.toISOString(), startTime && endTime ? (+endTime - +startTime) / 1000 : '', hasErrorEvent ? 'true' : 'false',
  ])
  return [['streamId', 'startTime', 'endTime', 'durationSeconds', 'hasErrorEvent'], ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('')
}

/** A cell of CSV: in quotes where it must be, and never a formula of a spreadsheet. */
function cell(value: unknown): string {
  const text = String(value ?? '').replace(/^[=+\-@\t\r]/, "'$&")
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** The sessions as JSON. */
export function sessionsJson(channelArn: string, sessions: StreamSessionSummary[]): string {
  return `${JSON.stringify({ channelArn, streamSessions: sessions }, null, 2)}\n`
}
