// The chosen channel: what the API says of it now, its video, and one of its
// sessions: the latest, or a past one that was chosen.

import { healthWords, viewers } from './channels'
import { byId, fillFacts, setText } from './dom'
import { address } from './entry'
import { showEvents } from './events'
import { clock, day } from './format'
import type { HealthCard } from './health'
import { began } from './history'
import { label, type Channel, type Ivs, type Listed, type StreamSession, type StreamSessionSummary } from './ivs'
import type { Playback, Player } from './player'
import type { Millrace } from './millrace'
import type { PublishCard } from './publish'
import { showRecordings } from './recordings'
import { showSessions } from './session-card'
import { ingestFacts, streamFacts } from './sessions'
import type { StopButton } from './stop'

export type State = 'live' | 'offline' | 'ended'

/** Why no video is shown, as far as the player knows. */
export const absences: Record<Exclude<Playback, 'live'>, Notice> = {
  waiting: { title: 'Waiting for video…' },
  ended: { title: 'Waiting for video…' },
  unsupported: { title: 'This browser cannot play the video', text: 'It has no Media Source Extensions.' },
}

const stateWords: Record<State, string> = { live: 'Live', offline: 'Offline', ended: 'Ended' }

/** The parts of the page that one channel after the other uses. */
export interface Parts {
  player: Player
  publish: PublishCard
  health: HealthCard
  stop: StopButton
  actions: (arn: string) => void // shows the actions on its live stream
}

export class ChannelView {
  private channel?: Channel
  private streamId?: string // of the stream that is played
  private state: State = 'offline'
  private past?: StreamSession // the chosen one, as soon as it is known
  private sessions: StreamSessionSummary[] = [] // all that are known, newest first
  private older?: string // the next page of sessions
  private paged = false // the user has asked for older sessions

  /** chosen is the stream id of a past session to show; failed reports an error to the user. */
  constructor(readonly arn: string, private ivs: Ivs, private millrace: Millrace, private parts: Parts, private chosen: string | undefined,
    private hurry: () => void, private failed: (err: unknown) => undefined) {}

  /** Fetches what has changed and shows it; listed is this channel's row of the list. */
  async refresh(listed: Listed | undefined, still: () => boolean) {
    const { chosen } = this
    const same = () => still() && chosen === this.chosen // nothing else was chosen meanwhile
    const [channel, { page, latest }, past, recordings] = await Promise.all([
      this.ivs.channel(this.arn), this.latestSession(), this.pastSession(chosen), this.millrace.recordings(this.arn),
    ])
    if (!same()) return
    this.channel = channel
    this.parts.publish.show(channel)
    showRecordings(recordings, !!channel?.recordingConfigurationArn)
    this.addSessions(page.sessions)
    if (!this.paged) this.older = page.next
    if (chosen && (!past || past.streamId === latest?.streamId)) {
      this.choose() // it was deleted, or is the latest one
      return
    }
    this.past = past
    this.showStream(listed?.stream?.streamId, latest)
    this.showLive(listed)
    const session = past ?? latest
    this.showSession(session)
    this.showSessions(session?.streamId)
    await this.parts.health.refresh(this.arn, session, !past && !!listed?.stream, same)
  }

  /** The channel as the API described it last; undefined before that. */
  get described(): Channel | undefined {
    return this.channel
  }

  /** Shows a past session, or the channel as it is now. */
  choose(streamId?: string) {
    if (streamId === this.chosen) return
    this.chosen = streamId
    if (streamId) {
      this.parts.player.stop()
      this.streamId = undefined
    }
    address(this.arn, streamId)
    this.hurry()
  }

  /** Lists some older sessions. */
  private async more() {
    const page = await this.ivs.sessions(this.arn, this.older).catch(this.failed)
    if (!page) return
    this.paged = true
    this.older = page.next
    this.addSessions(page.sessions)
    this.showSessions((this.past ?? this.sessions[0])?.streamId)
  }

  /** The sessions and the latest of them. Of a channel that has none it is not requested: browsers log the 404 as an error. */
  private async latestSession() {
    const page = await this.ivs.sessions(this.arn)
    return { page, latest: page.sessions.length ? await this.ivs.session(this.arn) : undefined }
  }

  private async pastSession(streamId?: string): Promise<StreamSession | undefined> {
    if (!streamId || this.past?.streamId === streamId) return streamId ? this.past : undefined
    return this.ivs.session(this.arn, streamId)
  }

  private addSessions(some: StreamSessionSummary[]) {
    const all = new Map([...this.sessions, ...some].map((session) => [session.streamId, session]))
    this.sessions = [...all.values()].sort((a, b) => +began(b) - +began(a))
  }

  private showSessions(shown: string | undefined) {
    showSessions({
      ivs: this.ivs, millrace: this.millrace, channelArn: this.arn, sessions: this.sessions, shown, older: !!this.older,
      more: () => void this.more(),
      choose: (id) => {
        this.choose(id === this.sessions[0]?.streamId ? undefined : id)
        byId('channel-name').focus()
      },
    })
  }

  /** Shows the player's state while the channel is live according to the API. */
  showPlayback(playback: Playback) {
    if (this.state === 'live') showNotice(playback === 'live' ? undefined : absences[playback])
  }

  private showStream(streamId: string | undefined, session?: StreamSession) {
    this.state = streamId ? 'live' : this.state === 'offline' ? 'offline' : 'ended'
    showState(this.state)
    byId('channel').dataset.showing = this.past ? 'past' : 'now'
    if (this.past) return // without video
    if (streamId && streamId !== this.streamId) this.startPlayback()
    if (!streamId) {
      if (this.streamId) this.parts.player.drain()
      showNotice(this.absence(session))
    }
    this.streamId = streamId
  }

  private startPlayback() {
    showNotice(absences.waiting)
    const token = this.channel?.authorized ? () => this.millrace.playbackToken(this.arn) : undefined
    this.parts.player.play(this.channel?.playbackUrl ?? '', token)
  }

  /** The notice while there is no stream. */
  private absence(session?: StreamSession): Notice {
    if (session && !session.startTime && !session.endTime) {
      return { title: 'An encoder has connected', text: 'Waiting for its first video frame.' }
    }
    if (this.state === 'ended') {
      const at = session?.endTime ? ` at ${clock(session.endTime)}` : ''
      return { title: `The stream ended${at}`, text: 'Playback resumes automatically with the next one.', howTo: true }
    }
    return { title: 'This channel is offline', text: 'Playback starts automatically when it goes live.', howTo: true }
  }

  private showLive(listed: Listed | undefined) {
    const name = label(this.channel ?? { arn: this.arn })
    const stream = listed?.stream
    const health = byId('health')
    this.parts.stop.offer(name, stream && (() => this.ivs.stop(this.arn).then(this.hurry, this.failed)))
    setText(byId('channel-name'), name)
    document.title = `${stream ? '● ' : ''}${name} – Millrace`
    health.hidden = !stream
    health.dataset.health = stream?.health ?? ''
    setText(health, healthWords[stream?.health ?? ''] ?? '')
    byId('actions-card').hidden = !stream
    if (stream) this.parts.actions(this.arn)
    byId('viewers-line').hidden = !stream
    const [count, word] = viewers(stream?.viewerCount)
    setText(byId('viewers'), count)
    setText(byId('viewers-word'), word)
  }

  private showSession(session?: StreamSession) {
    const { past } = this
    byId('past-line').hidden = !past
    setText(byId('past-when'), past ? day(began(past)) : '')
    const ingest = session ? ingestFacts(session) : []
    byId('no-session').hidden = !!session
    byId('stream-id-line').hidden = !session
    byId('ingest-title').hidden = !ingest.some(([, value]) => value)
    byId('no-events').hidden = !!session?.truncatedEvents?.length
    setText(byId('stream-id'), session?.streamId ?? '')
    fillFacts(byId('stream-facts'), session ? streamFacts(session, new Date()) : [])
    fillFacts(byId('ingest'), ingest)
    showEvents(byId('events'), session)
  }
}

export function showState(state: State) {
  const el = byId('state')
  el.dataset.state = state
  setText(el, stateWords[state])
}

export interface Notice {
  title: string
  text?: string
  howTo?: boolean // offer the card on how to publish
}

/** Shows a notice over the video and its controls, or none. */
export function showNotice(notice?: Notice) {
  byId<HTMLVideoElement>('video').controls = !notice
  byId('notice').hidden = !notice
  setText(byId('notice-title'), notice?.title ?? '')
  setText(byId('notice-text'), notice?.text ?? '')
  byId('how-to').hidden = !notice?.howTo
}
