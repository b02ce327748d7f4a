// The chosen channel: what the API says of it now, its video, and one of its
// sessions: the latest, or a past one that was chosen.

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Actions } from './actions'
import { healthWords, viewers } from './channels'
import { CopyButton } from './copy'
import { openChannel } from './dialogs'
import type { Config } from './entry'
import { Events } from './events'
import { clock, day } from './format'
import { Charts, offered, verdictOf, type Health } from './health'
import { began } from './history'
import { label, type Channel, type Ivs, type Listed, type Sessions, type StreamSession } from './ivs'
import type { Millrace, Recording } from './millrace'
import { Screen, type Notice } from './playback'
import type { Playback } from './player'
import { PublishCard } from './publish'
import { Recordings } from './recordings'
import { SessionsCard } from './session-card'
import { ingestFacts, streamFacts, type Facts } from './sessions'
import { Confirm, focusHeading, useLoad } from './ui'

export type State = 'live' | 'offline' | 'ended'

/** Why no video is shown, as far as the player knows. */
export const absences: Record<Exclude<Playback, 'live'>, Notice> = {
  waiting: { title: 'Waiting for video…' },
  ended: { title: 'Waiting for video…' },
  unsupported: { title: 'This browser cannot play the video', text: 'It has no Media Source Extensions.' },
}

const stateWords: Record<State, string> = { live: 'Live', offline: 'Offline', ended: 'Ended' }

/** What the API says of a channel. */
export interface Known {
  arn: string
  channel: Channel
  newest: Sessions
  latest?: StreamSession
  past?: StreamSession // the one that was chosen
  gone?: string // stream id of the one that was chosen, if it was deleted or is the latest
  recordings: Recording[]
}

/** Loads what is known of a channel, and of the past session that was chosen, again and again; of none without arn. leave is called if that session was deleted, or is the latest. */
export function useChannel(ivs: Ivs, millrace: Millrace, refreshMs: number, arn: string | undefined, chosen: string | undefined, leave: () => void) {
  const { data, ...loaded } = useLoad(async (): Promise<Known | undefined> => {
    if (!arn) return undefined
    const same = known?.past?.streamId === chosen ? known?.past : undefined
    const [channel, [newest, latest], past, recordings] = await Promise.all([
      ivs.channel(arn), latestSession(ivs, arn), same ?? (chosen ? ivs.session(arn, chosen) : undefined), millrace.recordings(arn),
    ])
    const gone = !past || past.streamId === latest?.streamId ? chosen : undefined
    return { arn, channel, newest, latest, past, gone, recordings }
  }, refreshMs, [arn, chosen])
  const known = data?.arn === arn ? data : undefined
  const gone = !!chosen && known?.gone === chosen
  useEffect(() => {
    if (gone) leave()
  }, [gone, arn, chosen])
  const past = chosen && known?.past?.streamId === chosen ? known.past : undefined
  return { ...loaded, known: known && { ...known, past } }
}

/** The newest sessions and the latest of them. Of a channel that has none it is not requested: browsers log the 404 as an error. */
async function latestSession(ivs: Ivs, arn: string): Promise<[Sessions, StreamSession | undefined]> {
  const newest = await ivs.sessions(arn)
  return [newest, newest.sessions.length ? await ivs.session(arn) : undefined]
}

interface ChannelProps {
  ivs: Ivs
  millrace: Millrace
  config: Config
  arn: string
  listed?: Listed // its row of the list
  known?: Known
  chosen?: string // stream id of the past session to show
  health?: Health
  range: number
  setRange: (range: number) => void
  choose: (streamId?: string) => void // shows a past session, or the channel as it is now
  changed: () => void
  deleted: () => void
}

export function ChannelPage(props: ChannelProps) {
  const { ivs, millrace, config, arn, listed, known, health } = props
  const stream = listed?.stream
  const session = known && (known.past ?? known.latest)
  const publish = useRef<HTMLElement>(null)
  const video = useVideo(props)
  const verdict = health && verdictOf(health)
  const described = known?.channel ?? listed?.channel
  const name = described ? label(described) : ''
  useEffect(() => {
    document.title = `${stream ? '● ' : ''}${name} – Millrace`
  })
  return <main id="channel" data-showing={known?.past ? 'past' : 'now'}>
    <Title {...props} name={name} state={video.state} />
    {known?.past && <p id="past-line"><span>The session of <b>{day(began(known.past))}</b></span> <button id="back" type="button" class="plain" onClick={() => props.choose()}>Back to now</button></p>}
    <p id="verdict" data-tone={verdict?.tone} hidden={!verdict}>{verdict?.text}</p>
    <Screen {...video} howTo={() => publish.current?.focus()} />
    <div class="side">
      {known && <StreamCard session={session} health={health} />}
      <section class="card" aria-labelledby="actions-title" hidden={!stream || !!known?.past}>
        <h2 id="actions-title">Actions</h2>
        <div id="actions"><Actions key={arn} ivs={ivs} millrace={millrace} arn={arn} faultsOn={!!config.faults} /></div>
      </section>
      {known && <Events session={session} />}
    </div>
    <section class="card" id="health-card" aria-labelledby="health-title" hidden={!session}>
      <Charts key={session?.streamId} health={health} range={props.range} choose={props.setRange} />
    </section>
    {known && <div class="cards">
      <PublishCard key={arn} config={config} ivs={ivs} channel={known.channel} card={publish} />
      <SessionsCard key={`sessions ${arn}`} ivs={ivs} millrace={millrace} channelArn={arn} newest={known.newest} shown={session?.streamId} choose={props.choose} />
      {(known.recordings.length > 0 || known.channel.recordingConfigurationArn) && <Recordings recordings={known.recordings} />}
    </div>}
  </main>
}

/** What the screen shows, and the state of the channel, which has ended if it has been live while it is shown. */
function useVideo({ millrace, arn, listed, known, chosen }: ChannelProps) {
  const stream = listed?.stream
  const [playback, changed] = useState<Playback>('waiting')
  const wasLive = useRef('') // ARN of the channel that was live last
  if (stream) wasLive.current = arn
  const state: State | undefined = stream ? 'live' : wasLive.current === arn ? 'ended' : known && 'offline'
  const url = known?.channel.playbackUrl
  return {
    state, changed,
    of: `${arn} ${chosen}`,
    notice: !known ? undefined : !stream ? absence(state === 'ended', known.latest) : playback === 'live' ? undefined : absences[playback],
    stream: stream && url && !chosen ? {
      id: stream.streamId ?? '', url, token: known.channel.authorized ? () => millrace.playbackToken(arn) : undefined,
    } : undefined,
  }
}

/** The notice while there is no stream. */
function absence(ended: boolean, session?: StreamSession): Notice {
  if (session && !session.startTime && !session.endTime) {
    return { title: 'An encoder has connected', text: 'Waiting for its first video frame.' }
  }
  if (ended) {
    const at = session?.endTime ? ` at ${clock(session.endTime)}` : ''
    return { title: `The stream ended${at}`, text: 'Playback resumes automatically with the next one.', howTo: true }
  }
  return { title: 'This channel is offline', text: 'Playback starts automatically when it goes live.', howTo: true }
}

export function StateBadge({ state }: { state?: State }) {
  return <p id="state" class="badge" role="status" data-state={state ?? 'offline'}>{state && stateWords[state]}</p>
}

function Title({ ivs, arn, listed, known, name, state, changed, deleted }: ChannelProps & { name: string; state?: State }) {
  const stream = listed?.stream
  const [count, word] = viewers(stream?.viewerCount)
  return <div class="title">
    <h1 id="channel-name" tabindex={-1}>{name}</h1>
    <StateBadge state={state} />
    <p id="health" class="badge" role="status" data-health={stream?.health ?? ''} hidden={!stream}>{healthWords[stream?.health ?? '']}</p>
    {stream && <p class="quiet" id="viewers-line"><b id="viewers">{count}</b> {word}</p>}
    <span class="title-buttons">
      {stream && <StopButton key={stream.streamId} name={name} stop={() => ivs.stop(arn).then(changed)} />}
      <button id="edit-channel" type="button" class="plain" disabled={!known} onClick={() => known && openChannel(ivs, known.channel, changed, deleted)}>Settings…</button>
    </span>
  </div>
}

/** Stops a live stream, after a confirmation. Both go with the stream, and leave the focus to the heading. */
function StopButton({ name, stop }: { name: string; stop: () => Promise<void> }) {
  const [asking, setAsking] = useState(false)
  const button = useRef<HTMLButtonElement>(null)
  useLayoutEffect(() => {
    const made = button.current
    return () => {
      if (document.activeElement === made) focusHeading()
    }
  }, [])
  return <>
    <button id="stop" ref={button} type="button" class="plain danger" onClick={() => setAsking(true)}>Stop the stream…</button>
    {asking && <Confirm close={() => setAsking(false)} title={`Stop the stream of ${name}?`} act="Stop the stream" keep="Keep it on air" id="stop-yes" run={stop}>
      The encoder is disconnected, and the stream ends for its viewers. Many encoders reconnect automatically, and the channel is live again.
    </Confirm>}
  </>
}

function StreamCard({ session, health }: { session?: StreamSession; health?: Health }) {
  const ingest = session ? filled(ingestFacts(session)) : []
  const renditions = health?.live ? filled(offered(health.report)) : []
  const { streamId = '' } = session ?? {}
  return <section class="card" aria-labelledby="stream-title">
    <h2 id="stream-title">Stream</h2>
    {!session && <p class="quiet">Nothing has been published to this channel yet.</p>}
    {session && <FactList id="stream-facts" facts={filled(streamFacts(session, new Date()))} />}
    {session && <p id="stream-id-line"><code id="stream-id">{streamId}</code> <CopyButton text={streamId} data-copy="stream-id" aria-label="Copy stream ID" /></p>}
    {ingest.length > 0 && <><h3>From the encoder</h3><FactList id="ingest" facts={ingest} /></>}
    {renditions.length > 0 && <><h3>To viewers</h3><FactList id="renditions" facts={renditions} /></>}
  </section>
}

/** Those facts that have a value. */
function filled(facts: Facts): Facts {
  return facts.filter(([, value]) => value)
}

function FactList({ id, facts }: { id: string; facts: Facts }) {
  return <dl id={id} class="facts">{facts.map(([term, value]) => <div><dt>{term}</dt><dd>{value}</dd></div>)}</dl>
}
