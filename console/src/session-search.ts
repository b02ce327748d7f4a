// The history of a channel beyond the sessions that are listed: searched for a filter, and
// read for an export.

import { useEffect, useRef, useState } from 'preact/hooks'
import { filterSessions, noFilter, search, type Recorded, type Searched, type SessionFilter } from './history'
import type { Ivs, StreamSessionSummary } from './ivs'
import type { Millrace } from './millrace'

const pageSize = 100

/** Searches the sessions of a channel for a filter, as far as further is called; searched is undefined before, where that failed, and without a filter. */
export function useSearch(ivs: Ivs, channelArn: string, filter: SessionFilter, failed: (err: unknown) => void) {
  const [state, setState] = useState<{ of: SessionFilter; searched?: Searched; busy: boolean }>({ of: noFilter, busy: false })
  const { searched, busy } = state.of === filter ? state : { searched: undefined, busy: filter !== noFilter }
  const latest = useRef(filter)
  latest.current = filter

  async function further(before?: Searched) {
    setState({ of: filter, searched: before, busy: true })
    let searched = before
    try {
      searched = await search((next) => ivs.sessions(channelArn, next, pageSize), filter, before)
    } catch (err) {
      if (latest.current === filter) failed(err)
    }
    if (latest.current === filter) setState({ of: filter, searched, busy: false })
  }

  useEffect(() => {
    if (filter !== noFilter) void further()
  }, [filter])
  return { searched, busy, further: () => further(searched) }
}

/** What is said of a search: nothing where it failed and has found nothing before. */
export function searchWords(filter: SessionFilter, searched: Searched | undefined, busy: boolean): string {
  if (busy) return 'Searching…'
  return searched ? foundWords(filterSessions(searched.sessions, filter).length, searched) : ''
}

/** What the search has found so far, in words. */
export function foundWords(found: number, { sessions, complete }: Searched): string {
  return `${found || 'None'} of the ${complete ? '' : 'newest '}${sessions.length} sessions match${found > 1 ? '' : 'es'}.`
}

/** At most this many sessions are in an export: two calls are made for each. */
export const maxExported = 500

/** So many calls are made at a time. */
const atOnce = 4

/** Reads all that is known of the newest sessions that a filter lets through, until stop. progress is called with how many have been read, of how many. */
export async function recorded(ivs: Ivs, millrace: Millrace, channelArn: string, filter: SessionFilter, stop: AbortSignal, progress: (done: number, of: number) => void): Promise<{ sessions: Recorded[]; found: number }> {
  const found = filterSessions(await ivs.allSessions(channelArn, stop), filter)
  const chosen = found.slice(0, maxExported)
  const sessions: Recorded[] = []
  for (let at = 0; at < chosen.length; at += atOnce) {
    progress(at, chosen.length)
    sessions.push(...await Promise.all(chosen.slice(at, at + atOnce).map((summary) => details(ivs, millrace, channelArn, summary))))
    stop.throwIfAborted()
  }
  return { sessions, found: found.length }
}

async function details(ivs: Ivs, millrace: Millrace, channelArn: string, summary: StreamSessionSummary): Promise<Recorded> {
  const { streamId = '', startTime, endTime } = summary
  const [session, metrics] = await Promise.all([
    ivs.session(channelArn, streamId),
    startTime && millrace.metrics(channelArn, streamId, +startTime / 1000 - 60, +(endTime ?? ivs.now()) / 1000 + 1, 60),
  ])
  return { session: { ...summary, ...session }, metrics }
}
