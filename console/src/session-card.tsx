// The sessions of a channel: a list that can be filtered and exported, and two of
// them side by side.

import { useEffect, useRef, useState } from 'preact/hooks'
import { bitrate, day, duration, mean } from './format'
import { began, filterSessions, noFilter, sessionsCsv, sessionsJson, type Recorded, type SessionFilter } from './history'
import { explain, label, Said, type Ivs, type Sessions, type StreamSession, type StreamSessionSummary } from './ivs'
import type { Metric, Metrics, Millrace } from './millrace'
import { maxExported, recorded, searchWords, useSearch } from './session-search'
import { ingestFacts, streamFacts } from './sessions'
import { Dialog, saveFile } from './ui'
import { pastVerdict } from './verdict'

interface SessionCard {
  ivs: Ivs
  millrace: Millrace
  channelArn: string
  newest: Sessions // the first page of them
  shown?: string // the stream id of the one that the page shows
  choose: (streamId?: string) => void // undefined is the latest
}

const kinds: [SessionFilter['kind'], string][] = [['all', 'All'], ['errors', 'With an error'], ['short', 'Shorter than a minute'], ['never', 'Never live']]

/** A filter that lets all sessions through is none. */
function chosen(filter: SessionFilter): SessionFilter {
  return filter.kind === noFilter.kind && !filter.from && !filter.until ? noFilter : filter
}

/** The sessions that are known of those that the server keeps, newest first: those on its first page, now or earlier, and on the pages that the user has asked for. */
function useSessions(ivs: Ivs, channelArn: string, newest: Sessions) {
  const known = useRef(new Map<string | undefined, StreamSessionSummary>()).current
  const [last, setLast] = useState<Sessions>() // page that the user has asked for
  const { next } = last ?? newest
  const add = (page: Sessions) => page.sessions.forEach((session) => known.set(session.streamId, session))
  add(newest)

  async function more() {
    const older = await ivs.sessions(channelArn, next)
    add(older)
    setLast(older)
  }
  return { sessions: [...known.values()].sort((a, b) => +began(b) - +began(a)), older: !!next, more }
}

export function SessionsCard({ ivs, millrace, channelArn, newest, shown, choose }: SessionCard) {
  const { sessions, older, more } = useSessions(ivs, channelArn, newest)
  const [filter, setFilter] = useState(noFilter)
  const [compared, setCompared] = useState<string[]>([])
  const [comparing, setComparing] = useState(false)
  const [problem, setProblem] = useState('')
  const [exported, setExported] = useState('')
  const [exporting, setExporting] = useState<AbortController>()
  useEffect(() => () => exporting?.abort(), [exporting])
  const { searched, busy, further } = useSearch(ivs, channelArn, filter, (err) => setProblem(explain(err).text))
  const known = new Map([...searched?.sessions ?? [], ...sessions].map((session) => [session.streamId, session]))
  const found = filterSessions([...known.values()], filter).sort((a, b) => +began(b) - +began(a))
  function set(change: Partial<SessionFilter>) {
    setProblem('')
    setFilter(chosen({ ...filter, ...change }))
  }

  async function exportAll(type: string, write: (all: Recorded[]) => string) {
    if (exporting) return
    const stop = new AbortController()
    setExporting(stop)
    setProblem('')
    try {
      const all = await recorded(ivs, millrace, channelArn, filter, stop.signal, (done, of) => setExported(`Reading session ${done + 1} of ${of}…`))
      setExported(all.found > maxExported ? `The file has the newest ${maxExported} of ${all.found} sessions.` : '')
      saveFile(`sessions-${label({ arn: channelArn })}.${type.split('/')[1]}`, write(all.sessions), type)
    } catch (err) {
      if (stop.signal.aborted) return // nobody is there any more
      setExported('')
      setProblem(explain(err).text)
    }
    setExporting(undefined)
  }

  return <section class="card" id="sessions-body" aria-labelledby="sessions-title">
    <h2 id="sessions-title">Sessions</h2>
    {!sessions.length && <p id="no-sessions" class="quiet">None yet.</p>}
    {sessions.length > 0 && <div class="session-filter">
      <select aria-label="Which sessions" value={filter.kind} onChange={(event) => set({ kind: event.currentTarget.value as SessionFilter['kind'] })}>
        {kinds.map(([kind, title]) => <option key={kind} value={kind}>{title}</option>)}
      </select>
      <label>from <input type="date" name="from" value={filter.from} onInput={(event) => set({ from: event.currentTarget.value })} /></label>
      <label>until <input type="date" name="until" value={filter.until} onInput={(event) => set({ until: event.currentTarget.value })} /></label>
    </div>}
    <ul id="sessions">
      {found.map((session) => <Row key={session.streamId} session={session} chosen={session.streamId === shown} choose={() => choose(session === sessions[0] ? undefined : session.streamId)}
        compared={compared.includes(session.streamId ?? '')} compare={(on) => setCompared(on ? [...compared, session.streamId ?? ''].slice(-2) : compared.filter((id) => id !== session.streamId))} />)}
    </ul>
    {filter !== noFilter && <p id="searched" class="quiet" role="status">{searchWords(filter, searched, busy)}</p>}
    <div class="session-buttons">
      {filter !== noFilter && !searched?.complete && (searched || !busy) && <button id="search-older" type="button" class="plain" aria-disabled={busy} onClick={() => {
        if (busy) return
        setProblem('')
        void further()
      }}>Search older sessions</button>}
      {filter === noFilter && older && <button id="older" type="button" class="plain" onClick={() => void more().catch((err) => setProblem(explain(err).text))}>Show older sessions</button>}
      {sessions.length > 1 && <button id="compare" type="button" class="plain" disabled={compared.length !== 2} onClick={() => setComparing(true)}>Compare two</button>}
      {sessions.length > 0 && <>
        <button id="export-csv" type="button" class="plain" aria-disabled={!!exporting} onClick={() => void exportAll('text/csv', sessionsCsv)}>Export CSV</button>
        <button id="export-json" type="button" class="plain" aria-disabled={!!exporting} onClick={() => void exportAll('application/json', (all) => sessionsJson(channelArn, all))}>Export JSON</button>
      </>}
    </div>
    <p role="status" class="quiet">{exported}</p>
    <p role="alert" class="wrong">{problem}</p>
    {comparing && <Comparison ivs={ivs} millrace={millrace} channelArn={channelArn} sessions={[...known.values()]} ids={compared} close={() => setComparing(false)} />}
  </section>
}

function Row({ session, chosen, choose, compared, compare }: { session: StreamSessionSummary; chosen: boolean; choose: () => void; compared: boolean; compare: (on: boolean) => void }) {
  const { startTime: start, endTime: end, hasErrorEvent } = session
  const at = start ?? end
  const when = at ? day(at) : 'Now'
  return <li data-state={end ? 'ended' : 'live'} class="session-row">
    <button type="button" class="row" aria-current={chosen ? 'true' : undefined} onClick={choose}>
      <span class="dot" aria-hidden="true" />
      <span><time dateTime={at?.toISOString()}>{when}</time> {hasErrorEvent && <b class="session-error">Error</b>}</span>
      <span class="session-length row-state quiet">{!end ? (start ? 'live now' : 'connecting') : start ? duration(+end - +start) : 'never went live'}</span>
    </button>
    <input type="checkbox" name="compare" checked={compared} aria-label={`Compare the session of ${when}`} title="Compare" onChange={(event) => compare(event.currentTarget.checked)} />
  </li>
}

/** What is known of a session, to be set beside another. */
interface Known { session: StreamSession; metrics?: Metrics }

function Comparison({ ivs, millrace, channelArn, sessions, ids, close }: Pick<SessionCard, 'ivs' | 'millrace' | 'channelArn'> & { sessions: StreamSessionSummary[]; ids: string[]; close: () => void }) {
  const [known, setKnown] = useState<Known[]>()
  const [problem, setProblem] = useState('')
  const [begun, setBegun] = useState(false)
  if (!begun) {
    setBegun(true)
    const inOrder = sessions.filter(({ streamId = '' }) => ids.includes(streamId)).sort((a, b) => +began(a) - +began(b))
    void Promise.all(inOrder.map(({ streamId }) => look(ivs, millrace, channelArn, streamId ?? '')))
      .then(setKnown, (err) => setProblem(explain(err).text))
  }
  const rows = known && compare(known)
  return <Dialog close={close} title="Two sessions">
    <p role="alert" class="wrong">{problem}</p>
    {!rows && !problem && <p class="quiet">Reading both…</p>}
    {rows && <div class="comparison" tabindex={0} role="region" aria-label="Comparison"><table>
      <thead><tr><td />{known.map(({ session }) => <th key={session.streamId} scope="col">{day(began(session))}</th>)}</tr></thead>
      <tbody>{rows.map(([term, values]) => <tr key={term} data-differs={new Set(values).size > 1}>
        <th scope="row">{term}</th>{values.map((value, i) => <td key={i}>{value}</td>)}
      </tr>)}</tbody>
    </table></div>}
    <div class="dialog-buttons"><button type="button" class="plain" onClick={close}>Close</button></div>
  </Dialog>
}

async function look(ivs: Ivs, millrace: Millrace, arn: string, streamId: string): Promise<Known> {
  const session = await ivs.session(arn, streamId)
  if (!session) throw new Said('The session was deleted.')
  const { startTime: start, endTime: end = new Date() } = session
  const metrics = start && await millrace.metrics(arn, streamId, +start / 1000 - 60, +end / 1000 + 1, 60)
  return { session, metrics }
}

/** What two sessions are compared by: their facts, how they went, and what was measured by the minute. */
function compare(known: Known[]): [term: string, values: string[]][] {
  const measured = (metric: Metric, of: (values: number[]) => number, write: (value: number) => string | undefined) => ({ metrics }: Known) => {
    const values = metrics?.[metric]?.map(([, value]) => value) ?? []
    return (values.length && write(of(values))) || ''
  }
  const rows: [string, (known: Known) => string][] = [
    ['Outcome', ({ session, metrics }) => session.endTime ? pastVerdict(session, metrics ?? {}).text : 'Live now.'],
    ['Video, on average', measured('IngestVideoBitrate', mean, bitrate)],
    ['Frame rate, on average', measured('IngestFramerate', mean, (value) => `${value.toFixed(1)} fps`)],
    ['Key-frame interval', measured('KeyframeInterval', mean, (value) => `${value.toFixed(2)} s`)],
    ['Most viewers', measured('ConcurrentViews', (values) => Math.max(...values), (value) => String(Math.round(value)))],
    ['Events', ({ session }) => String(session.truncatedEvents?.length ?? 0)],
  ]
  const facts = known.map(({ session }) => new Map([...streamFacts(session, new Date()), ...ingestFacts(session)]))
  const terms = [...new Set(facts.flatMap((of) => [...of.keys()]))]
  return [
    ...rows.map(([term, of]): [string, string[]] => [term, known.map(of)]),
    ...terms.map((term): [string, string[]] => [term, facts.map((of) => of.get(term) ?? '')]),
  ].filter(([, values]) => values.some(Boolean))
}
