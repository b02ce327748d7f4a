// The machine of a node, and the quotas of the account; and the nodes of the cluster.

import { useRef, useState } from 'preact/hooks'
import { viewers } from './channels'
import { bytes, day, duration } from './format'
import { busyShare, countWords, sizeWords, type Server } from './machine'
import type { Site } from './pages'
import { byLife, canDrain, mixedVersions, nodeState, type ClusterNode, type NodeState } from './nodes'
import { Card, Confirm, open, useLoad } from './ui'

const refreshMs = 5000

/** A node's report, again and again, with how busy the machine was between two of them: of the node that answers, unless one is named. */
export function useServer({ millrace }: Pick<Site, 'millrace'>, node?: string) {
  const before = useRef<Server>(undefined)
  return useLoad(async () => {
    const server = await millrace.server(node)
    const busy = busyShare(before.current?.cpu, server.cpu)
    before.current = server
    return { ...server, busy }
  }, refreshMs)
}

export function ServerPage(site: Site) {
  const [node, setNode] = useState<string>()
  return <>
    <Nodes site={site} shown={node} show={setNode} />
    <NodeCards key={node ?? ''} site={site} node={node} />
  </>
}

/** What a node reports. */
function NodeCards({ site, node }: { site: Site; node?: string }) {
  const { data: server, problem } = useServer(site, node)
  const { data: used, problem: uncounted } = useLoad(() => countUsed(site), 6 * refreshMs)
  return <>
    <p role="alert" class="wrong">{problem}</p>
    {server && <div class="cards wide">
      <Card id="machine" title="Machine">
        <MachineMeters server={server} />
        {server.transcode.reason && <p class="wrong">Nothing is transcoded: {server.transcode.reason}</p>}
        <dl class="facts">
          <div><dt>Version</dt><dd>{server.version}</dd></div>
          <div><dt>Node</dt><dd><code>{server.node}</code></dd></div>
          <div><dt>Started</dt><dd>{day(new Date(server.startTime))}</dd></div>
          <div><dt>Media in memory</dt><dd>{bytes(server.mediaBytes) ?? '0'}</dd></div>
          {server.spool.lagSeconds > 0 && <div><dt>Upload lag</dt><dd>{Math.round(server.spool.lagSeconds)} s</dd></div>}
        </dl>
      </Card>
      <Card id="quotas" title="Quotas">
        <p class="quiet">The limits of this account in this region, and the settings that change them.</p>
        <p role="alert" class="wrong">{uncounted && `Usage is not known: ${uncounted}`}</p>
        <ul class="meter-list">
          {server.quotas.map(({ name, limit, setting }) => <li key={setting}>
            <Meter name={name} used={used?.[setting]} limit={limit} text={`${used?.[setting] ?? '?'} of ${limit}`} /> <code class="quiet">--{setting}</code>
          </li>)}
        </ul>
      </Card>
    </div>}
  </>
}

/** The nodes of the cluster, one of which is shown below; nothing where the server is alone. */
function Nodes({ site: { millrace }, shown, show }: { site: Site; shown?: string; show: (node: string) => void }) {
  const { data: nodes = [], problem, again } = useLoad(() => millrace.nodes(), refreshMs)
  if (!nodes.length && !problem) return null
  return <Card id="nodes" title="Nodes">
    <p role="alert" class="wrong">{problem}</p>
    {mixedVersions(nodes) && <p class="quiet">The nodes run different versions.</p>}
    <ul class="items columns">
      {[...nodes].sort(byLife).map((node) => <NodeItem key={node.name} node={node} millrace={millrace} drainable={canDrain(node, nodes)} changed={again}
        shown={shown ? node.name === shown : node.self} show={() => show(node.name)} />)}
    </ul>
  </Card>
}

const nodeWords: Record<NodeState, string> = { ACTIVE: 'Active', DRAINING: 'Draining', DEAD: 'Not reporting' }

interface NodeItemProps { node: ClusterNode; millrace: Site['millrace']; drainable: boolean; changed: () => void; shown: boolean; show: () => void }

function NodeItem({ node, millrace, drainable, changed, shown, show }: NodeItemProps) {
  const state = nodeState(node)
  const drain = () => open((close) => <Confirm close={close} title={`Drain the node ${node.name}?`} act="Drain the node" run={() => millrace.drain(node.name).then(changed)}>
    It accepts no new encoders until its server is restarted. Encoders that support it are asked to reconnect, which moves their streams to
    another node; the other streams continue on this one.
  </Confirm>)
  return <li data-node={node.name} data-state={state}>
    <span><b>{node.name}</b> <span class="badge" data-state={state}>{nodeWords[state]}</span> {node.self && <span class="quiet">serving this page</span>}</span>
    <span class="quiet">{[node.host, node.url, node.version].join(' · ')}</span>
    {node.alive
      ? <Meter name="Streams" used={node.streams} limit={node.capacity} text={`${node.streams} of ${node.capacity}, ${viewers(node.viewers).join(' ')}`} />
      : <span class="quiet">The last heartbeat was {duration(node.secondsSinceHeartbeat * 1000)} ago.</span>}
    {node.alive && <span class="item-buttons">
      <button type="button" class="plain" aria-pressed={shown} aria-label={`Show machine of ${node.name}`} onClick={show}>Show machine</button>
      {drainable && <button type="button" class="plain" aria-label={`Drain ${node.name}`} onClick={drain}>Drain…</button>}
    </span>}
  </li>
}

/** How much of each quota is used, by the setting that changes it. */
async function countUsed({ resources, channels }: Site): Promise<Record<string, number>> {
  const [recordings, ads, pairs, policies, streams] = await Promise.all([
    resources.ivs.recordingConfigurations(), resources.ivs.adConfigurations(), resources.keyPairs(), resources.ivs.restrictionPolicies(), resources.ivs.streams(),
  ])
  return {
    'quota-channels': channels.length, 'quota-recording-configurations': recordings.length, 'quota-ad-configurations': ads.length,
    'quota-playback-key-pairs': pairs.length, 'quota-playback-restriction-policies': policies.length,
    'max-streams': streams.size, 'max-views': [...streams.values()].reduce((sum, { viewerCount = 0 }) => sum + Math.max(viewerCount, 0), 0),
  }
}

export function MachineMeters({ server }: { server: Server & { busy?: number } }) {
  const { busy, transcode } = server
  return <ul class="meter-list">
    <li><Meter name="CPU" used={busy && busy * 100} limit={100} text={busy === undefined ? `${server.cpu.cores} cores` : `${Math.round(busy * 100)} % of ${server.cpu.cores} cores`} /></li>
    <li><Meter name="Memory" {...server.memory} text={sizeWords(server.memory)} /></li>
    <li><Meter name="Transcoding" {...transcode} text={transcode.limit ? `${transcode.used.toFixed(1)} of ${transcode.limit.toFixed(1)} ladders of 720p30` : 'off'} /></li>
    <li><Meter name="File descriptors" {...server.descriptors} text={countWords(server.descriptors)} /></li>
    <li><Meter name="Media file descriptors" {...server.mediaFiles} text={`${server.mediaFiles.used} of ${server.mediaFiles.limit}`} /></li>
    <li><Meter name="Disk" {...server.disk} text={sizeWords(server.disk)} /></li>
    <li><Meter name="Recording spool" {...server.spool} text={`${bytes(server.spool.used) ?? '0'} of ${bytes(server.spool.limit)}`} /></li>
  </ul>
}

/** From this share on, a meter warns. */
const scarce = 0.85

function Meter({ name, used, limit, text }: { name: string; used?: number; limit: number; text: string }) {
  const share = used !== undefined && limit > 0 ? Math.min(used / limit, 1) : 0
  return <span class="meter" data-scarce={share >= scarce}>
    <span class="meter-name">{name}</span> <span class="meter-text">{text}</span>
    <meter min={0} max={1} high={scarce} value={share} aria-label={`${name}: ${text}`} />
  </span>
}
