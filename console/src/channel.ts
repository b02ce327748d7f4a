// The chosen channel: what the API says of it now, and its picture.

import { healthWords, viewers } from './channels'
import { byId, fillFacts, setText } from './dom'
import { clock } from './format'
import { label, type Channel, type Ivs, type Listed, type StreamSession } from './ivs'
import type { Picture, Player } from './player'
import type { PublishCard } from './publish'
import { ingestFacts, showEvents, showPast, streamFacts } from './sessions'

export type State = 'live' | 'offline' | 'ended'

/** Why there is no picture, as far as the player knows. */
export const absences: Record<Exclude<Picture, 'live'>, Notice> = {
  waiting: { title: 'Waiting for the picture…' },
  ended: { title: 'Waiting for the picture…' },
  unsupported: { title: 'This browser cannot play the picture', text: 'It has no Media Source Extensions.' },
}

const stateWords: Record<State, string> = { live: 'Live', offline: 'Offline', ended: 'Ended' }

export class ChannelView {
  private channel?: Channel
  private streamId?: string // of the stream whose picture is shown
  private state: State = 'offline'

  constructor(readonly arn: string, private ivs: Ivs, private player: Player, private publish: PublishCard,
    private fail: (err: unknown) => undefined) {}

  /** Asks the API for what has changed and shows it; listed is this channel's row of the list. */
  async refresh(listed: Listed | undefined, still: () => boolean) {
    const streamId = listed?.stream?.streamId
    const [channel, session, sessions] = await Promise.all([
      this.ivs.channel(this.arn), this.ivs.session(this.arn), this.ivs.sessions(this.arn),
    ])
    if (!still()) return // another channel was chosen meanwhile
    this.channel = channel
    this.publish.show(channel)
    this.showStream(streamId, session)
    this.showLive(listed)
    this.showSession(session)
    showPast(sessions, (id) => this.ivs.session(this.arn, id).catch(this.fail))
  }

  /** Shows what the player says while the API says that the channel is live. */
  showPicture(picture: Picture) {
    if (this.state === 'live') showNotice(picture === 'live' ? undefined : absences[picture])
  }

  private showStream(streamId: string | undefined, session?: StreamSession) {
    this.state = streamId ? 'live' : this.state === 'offline' ? 'offline' : 'ended'
    showState(this.state)
    if (streamId && streamId !== this.streamId) this.startPicture()
    if (!streamId) {
      if (this.streamId) this.player.drain()
      showNotice(this.absence(session))
    }
    this.streamId = streamId
  }

  private startPicture() {
    if (this.channel?.authorized) {
      showNotice({ title: 'This channel is private', text: 'Its picture needs a playback token, and the console makes none.' })
      return
    }
    showNotice(absences.waiting)
    this.player.play(this.channel?.playbackUrl ?? '')
  }

  /** What to say while there is no stream. */
  private absence(session?: StreamSession): Notice {
    if (session && !session.startTime && !session.endTime) {
      return { title: 'An encoder has connected', text: 'The first picture is on its way.' }
    }
    if (this.state === 'ended') {
      const at = session?.endTime ? ` at ${clock(session.endTime)}` : ''
      return { title: `The stream ended${at}`, text: 'The picture comes back by itself with the next one.', howTo: true }
    }
    return { title: 'This channel is offline', text: 'The picture appears by itself when it goes live.', howTo: true }
  }

  private showLive(listed: Listed | undefined) {
    const name = label(this.channel ?? { arn: this.arn })
    const stream = listed?.stream
    const health = byId('health')
    setText(byId('channel-name'), name)
    document.title = `${stream ? '● ' : ''}${name} – Millrace`
    health.hidden = !stream
    health.dataset.health = stream?.health ?? ''
    setText(health, healthWords[stream?.health ?? ''] ?? '')
    byId('viewers-line').hidden = !stream
    const [count, word] = viewers(stream?.viewerCount)
    setText(byId('viewers'), count)
    setText(byId('viewers-word'), word)
  }

  private showSession(session?: StreamSession) {
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
  howTo?: boolean // offer the card that says how to publish
}

/** Shows a notice over the picture, or none. */
export function showNotice(notice?: Notice) {
  byId('notice').hidden = !notice
  setText(byId('notice-title'), notice?.title ?? '')
  setText(byId('notice-text'), notice?.text ?? '')
  byId('how-to').hidden = !notice?.howTo
}
