// The viewer sessions of a live channel, with what their players report.

import type { RefObject } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Said, type Ivs } from './ivs'
import type { Millrace, Viewer } from './millrace'
import { pageOf } from './order'
import { Resources } from './resources'
import { Dialog, open, Pages, useLoad, useTask } from './ui'
import { byStalls, cells, columns } from './viewer-sessions'

const refreshMs = 3000
const rowsAtOnce = 50

export function openViewers(ivs: Ivs, millrace: Millrace, arn: string) {
  open((close) => <Viewers ivs={ivs} millrace={millrace} arn={arn} close={close} />)
}

interface Props { ivs: Ivs; arn: string; close: () => void }

function Viewers({ ivs, millrace, arn, close }: Props & { millrace: Millrace }) {
  const { data, problem, again } = useLoad(() => millrace.viewers(arn), refreshMs)
  const [wanted, setWanted] = useState(0)
  const [ending, setEnding] = useState<Viewer>()
  const closing = useRef<HTMLButtonElement>(null)
  const { viewers = [], total = 0, unreachable = [] } = data ?? {}
  const page = pageOf([...viewers].sort(byStalls), wanted, rowsAtOnce)
  const reporting = viewers.filter(({ playback }) => playback).length
  return <Dialog close={close} title="Viewer sessions">
    <p role="alert" class="wrong">{problem}{unreachable.map(({ node, host }) => `Node ${node} on ${host} does not answer: its viewers are missing. `)}</p>
    {data && <p id="viewer-count" class="quiet">{total === 0 ? 'No one is watching.' : `${total} now${total > viewers.length ? `, of which the newest ${viewers.length} are listed` : ''}. ${reporting} of their players report${reporting === 1 ? 's' : ''} how playback goes.`}</p>}
    {ending && <End key={ending.id} ivs={ivs} arn={arn} viewer={ending} close={() => setEnding((now) => now?.id === ending.id ? undefined : now)} ended={again} next={closing} />}
    {viewers.length > 0 && <div class="comparison" tabindex={0} role="region" aria-label="Viewer sessions"><table id="viewer-sessions">
      <thead><tr><th scope="col">Viewer</th>{columns.map((column) => <th key={column} scope="col">{column}</th>)}<td /></tr></thead>
      <tbody>{page.items.map((viewer) => <tr key={viewer.id} data-stalled={!!viewer.playback?.stalled}>
        <th scope="row"><code>{viewer.viewerId ?? viewer.id.slice(-8)}</code></th>
        {cells(viewer, ivs.now()).map((text, i) => <td key={i}>{text || '–'}</td>)}
        <td>{viewer.viewerId && <button type="button" class="plain danger" aria-label={`End the sessions of ${viewer.viewerId}`} onClick={() => setEnding(viewer)}>End…</button>}</td>
      </tr>)}</tbody>
    </table></div>}
    <Pages page={page} of={viewers.length} go={setWanted} />
    <div class="dialog-buttons"><button ref={closing} type="button" class="plain" onClick={close}>Close</button></div>
  </Dialog>
}

interface Ending extends Props {
  viewer: Viewer
  ended: () => void
  next: RefObject<HTMLButtonElement | null> // gets the focus if the button that asked for this has gone, or will go with the sessions
}

/** Revokes a viewer, which is how sessions are ended: those of viewers without an id cannot be. */
function End({ ivs, arn, viewer: { viewerId = '', viewerSessionVersion = 0 }, close, ended, next }: Ending) {
  const keep = useRef<HTMLButtonElement>(null)
  const opener = useRef<HTMLElement>(null)
  useLayoutEffect(() => {
    opener.current = document.activeElement as HTMLElement | null
    keep.current?.focus()
  }, [])
  useEffect(() => () => {
    if (document.activeElement !== document.body) return // it has been given to something else
    if (opener.current?.checkVisibility()) opener.current.focus()
    else next.current?.focus()
  }, [])
  const task = useTask(close)
  async function revoke() {
    const failed = await new Resources(ivs).revoke(arn, [viewerId], viewerSessionVersion)
    if (failed.length) throw new Said(failed[0]?.message)
    opener.current = null
    ended()
  }
  return <div class="ask" role="group" aria-label={`End the sessions of ${viewerId}`}>
    <p>End all sessions of <b>{viewerId}</b> up to version {viewerSessionVersion}? They end within two seconds. The viewer needs a token of a higher version to watch again.</p>
    <p role="alert" class="wrong">{task.problem}</p>
    <div class="dialog-buttons">
      <button ref={keep} type="button" class="plain" onClick={close}>Keep</button>
      <button type="button" class="danger" id="end-viewer" aria-disabled={task.busy} onClick={() => void task.run(revoke)}>End the sessions</button>
    </div>
  </div>
}
