// What went wrong with a session that has ended, in plain words. Of a live one
// the server knows more, and reports it.

import { kind, starvations } from './events'
import { bitrate, duration, mean } from './format'
import type { StreamEvent, StreamSession } from './ivs'
import type { Metrics, Point } from './millrace'
import { announcedVideo } from './sessions'

export interface Verdict {
  tone?: 'good' | 'bad'
  text: string
}

const breaches: Record<string, string> = {
  'Ingest Bitrate': 'The encoder sent more bits a second than the channel allows.',
  'Ingest Resolution': 'The encoder’s resolution was higher than the channel allows.',
  'Concurrent Broadcasts': 'More channels were live at once than the account allows.',
  'Concurrent Viewers': 'There were more viewers at once than the account allows.',
}

const failures: Record<string, string> = {
  'Stream Failure': 'The server stopped making renditions: viewers got only what the encoder sent.',
  'Stream Takeover Failure': 'Another encoder tried to take over the stream and was refused.',
  'Recording Start Failure': 'The recording could not begin.',
  'Recording End Failure': 'The recording could not be completed.',
}

/** The key-frame interval in seconds where none was measured: it is what encoders are told to use. */
const usualInterval = 2

/** Stock players play so many seconds after the first segment: they ask again for the playlist, and load. */
const startup = 3

/** The live time in seconds below which stock players could not start. Segments begin with key frames. */
function joinable(keyframes: Point[]): number {
  return (keyframes.length ? Math.max(...keyframes.map(([, interval]) => interval)) : usualInterval) + startup
}

export function pastVerdict(session: StreamSession, { IngestVideoBitrate: video = [], KeyframeInterval: keyframes = [] }: Metrics): Verdict {
  const events = session.truncatedEvents ?? []
  const wrong = [
    ...new Set(events.filter((event) => kind(event)).map(sentence)),
    starved(session, video),
  ].filter((text) => text !== undefined)
  const { startTime: start, endTime: end } = session
  if (!start) return { tone: 'bad', text: ['This session never went live.', ...wrong].join(' ') }
  if (end && (+end - +start) / 1000 < joinable(keyframes)) {
    return { tone: 'bad', text: [`This session ended after ${((+end - +start) / 1000).toFixed(1)} s, before viewers could join.`, ...wrong].join(' ') }
  }
  if (wrong.length) return { tone: 'bad', text: wrong.join(' ') }
  return { tone: 'good', text: `All was well${end ? `: ${duration(+end - +start)} live` : ''}, without starvation or error.` }
}

function sentence({ name = '', type, code }: StreamEvent): string | undefined {
  if (name === 'Starvation Start') return undefined
  const text = type === 'IVS Limit Breach' ? breaches[name] ?? `The limit “${name}” was exceeded.` : failures[name] ?? `${name}.`
  return code ? text.replace(/\.$/, ` (${code}).`) : text
}

function starved(session: StreamSession, video: Point[]): string | undefined {
  const spans = starvations(session, new Date())
  if (!spans.length) return undefined
  const length = duration(spans.reduce((sum, [from, to]) => sum + (to - from) * 1000, 0))
  const times = spans.length === 1 ? 'once' : `${spans.length} times`
  const meanwhile = video.filter(([time]) => spans.some(([from, to]) => from <= time && time < to)).map(([, value]) => value)
  const announced = bitrate(announcedVideo(session))
  const delivered = announced && meanwhile.length ? ` Meanwhile it delivered ${bitrate(mean(meanwhile)) ?? 'nothing'} of the announced ${announced}.` : ''
  return `The encoder fell behind ${times}, for ${length}${spans.length > 1 ? ' in all' : ''}: viewers saw the video stall.${delivered}`
}
