// A session's events: the list, and what follows from it.

import { clock } from './format'
import type { Span } from './chart'
import type { StreamEvent, StreamSession } from './ivs'

export type Kind = 'error' | 'warning' | ''

const errors = new Set(['Stream Failure', 'Recording Start Failure', 'Recording End Failure'])
const warnings = new Set(['Starvation Start', 'Stream Takeover Failure'])

/** Error events are those that make hasErrorEvent true. */
export function kind(event: StreamEvent): Kind {
  if (errors.has(event.name ?? '') || event.type === 'IVS Limit Breach') return 'error'
  return warnings.has(event.name ?? '') || event.code ? 'warning' : ''
}

const kindWords: Record<Kind, string> = { error: 'Error', warning: 'Warning', '': '' }

/** A session's events in the order in which the API gives them: newest first. */
export function Events({ session }: { session?: StreamSession }) {
  const events = session?.truncatedEvents ?? []
  return <section class="card" aria-labelledby="events-title">
    <h2 id="events-title">Events</h2>
    <ol id="events" class="events" tabindex={0} aria-label="Events of this session, newest first">
      {events.map((event, i) => <Row key={`${session?.streamId} ${events.length - i}`} event={event} />)}
    </ol>
    {!events.length && <p class="quiet">None yet.</p>}
  </section>
}

function Row({ event }: { event: StreamEvent }) {
  const { name, type, code, eventTime } = event
  const word = kindWords[kind(event)]
  return <li data-name={name ?? ''} data-kind={kind(event)}>
    <time dateTime={eventTime?.toISOString() ?? ''}>{eventTime ? clock(eventTime) : ''}</time> <span class="event-name">{name ?? type ?? ''}</span>{' '}
    <b class="event-kind" hidden={!word}>{word}</b> <code class="event-code" hidden={!code}>{code}</code>{' '}
    <small class="event-type quiet" hidden={!type}>{type}</small>
  </li>
}

/** When the session starved, in Unix seconds and in order. A span without an end lasts until now, or until the session's end. */
export function starvations(session: StreamSession, now: Date): Span[] {
  const spans: Span[] = []
  for (const { name, eventTime } of [...(session.truncatedEvents ?? [])].reverse()) {
    const at = unix(eventTime ?? now)
    const open = spans.at(-1)
    if (name === 'Starvation Start') spans.push([at, Infinity])
    else if (name === 'Starvation End' && open) open[1] = Math.min(open[1], at)
  }
  const end = unix(session.endTime ?? now)
  return spans.map(([from, to]) => [from, Math.min(to, Math.max(from, end))])
}

/** The start and end of a session, also of one that never went live; the end is now if it has not ended. */
export function lifetime(session: StreamSession, now: Date): Span {
  const events = session.truncatedEvents ?? []
  const end = session.endTime ?? now
  return [unix(session.startTime ?? events.at(-1)?.eventTime ?? end), unix(end)]
}

function unix(date: Date): number {
  return date.getTime() / 1000
}
