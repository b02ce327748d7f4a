// All live streams at a glance, with totals and the machine.

import { useEffect, useRef, useState } from 'preact/hooks'
import { draw, healthWords, viewers } from './channels'
import { bitrate } from './format'
import { label, type Listed } from './ivs'
import type { LiveStream, Millrace } from './millrace'
import { byTrouble, pageOf } from './order'
import type { Site } from './pages'
import { poll } from './poll'
import { MachineMeters, useServer } from './server-page'
import { Card, Pages, useLoad } from './ui'

const refreshMs = 3000
const thumbnailMs = 10_000 // as often as the server makes one

/** At most this many streams are on the wall at a time: each has a request for its thumbnail. */
const maxTiles = 60

export function OverviewPage(site: Site) {
  const { millrace, channels, openChannel } = site
  const figures = useLoad(() => millrace.streams(), refreshMs)
  const { data: server, problem } = useServer(site)
  const nodeList = useLoad(() => millrace.nodes(), 10 * refreshMs)
  const nodes = nodeList.data ?? []
  const [wanted, setWanted] = useState(0)
  const measured = new Map(figures.data?.streams.map((stream) => [stream.channelArn, stream]))
  const live = channels.filter(({ stream }) => stream).sort(byTrouble)
  const wall = pageOf(live, wanted, maxTiles)
  const total = live.reduce((sum, { stream }) => sum + Math.max(stream?.viewerCount ?? 0, 0), 0)
  const starving = live.filter(({ stream }) => stream?.health === 'STARVING').length
  return <>
    <dl class="totals">
      <div><dt>Live streams</dt><dd>{live.length} <small>of {channels.length} channels</small></dd></div>
      <div><dt>Viewers</dt><dd>{total}</dd></div>
      <div><dt>Ingest</dt><dd>{bitrate([...measured.values()].reduce((sum, stream) => sum + stream.bitrate, 0)) ?? '0'}</dd></div>
      <div data-bad={starving > 0}><dt>Starving</dt><dd>{starving}</dd></div>
    </dl>
    <p role="alert" class="wrong">{figures.problem || figures.data?.unreachable?.map(({ node, host }) => `Node ${node} on ${host} does not answer: figures of its streams are missing. `)}</p>
    {!live.length && <p class="quiet">No channel is live.</p>}
    <ul class="wall">
      {wall.items.map((listed) => <Tile key={listed.arn} listed={listed} figures={measured.get(listed.arn)} millrace={millrace} choose={() => openChannel(listed.arn)} />)}
    </ul>
    <Pages id="wall-pages" page={wall} of={live.length} what="streams" go={setWanted} />
    {(server || problem) && <Card id="machine" title="Machine">
      <p role="alert" class="wrong">{problem || nodeList.problem}</p>
      {server && <p class="quiet">Of the node <code>{server.node}</code>, which answers this page{nodes.length > 1 && <>; <a href="#view=server">Server</a> shows the {nodes.length - 1 === 1 ? 'other one' : `${nodes.length - 1} others`}</>}.</p>}
      {server && <MachineMeters server={server} />}
    </Card>}
  </>
}

function Tile({ listed: { arn, channel, stream }, figures, millrace, choose }: { listed: Listed; figures?: LiveStream; millrace: Millrace; choose: () => void }) {
  const health = stream?.health ?? ''
  const facts = [bitrate(figures?.bitrate), figures?.framerate ? `${Math.round(figures.framerate)} fps` : undefined, viewers(stream?.viewerCount).join(' ')].filter(Boolean).join(' · ')
  return <li data-health={health}>
    <button type="button" class="tile" onClick={choose}>
      {channel.type === 'BASIC' ? <span class="no-thumbnail">No thumbnail: BASIC channels are not decoded</span> : <Thumbnail arn={arn} millrace={millrace} />}
      <span class="tile-name">{label(channel)}</span>
      <span class="badge" data-health={health}>{healthWords[health] ?? ''}</span>
      <span class="quiet">{facts}</span>
      {figures?.playback && figures.playback.stalled > 0 && <span class="wrong">{figures.playback.stalled} of {figures.playback.reporting} players stalled</span>}
    </button>
  </li>
}

function Thumbnail({ arn, millrace }: { arn: string; millrace: Millrace }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    const polling = poll(thumbnailMs, async () => {
      const bitmap = await millrace.thumbnail(arn).catch(() => undefined) // the list reports a server that does not answer
      if (bitmap && canvas.current) draw(bitmap, canvas.current)
      bitmap?.close()
    })
    return polling.stop
  }, [arn])
  return <canvas ref={canvas} width={16} height={9} aria-hidden="true" />
}
