// What the API tells of a stream session: facts, ingest configuration, events;
// and the list of past sessions.

import { bitrate, clock, day, duration } from './format'
import { byId, fillFacts, find, reconcile, setText, stamp } from './dom'
import type { StreamSession, StreamSessionSummary } from './ivs'

type Facts = [term: string, value: string | undefined][]

/** The facts of a session that change with time. */
export function streamFacts(session: StreamSession, now: Date): Facts {
  const { startTime: start, endTime: end, channel } = session
  return [
    ['Live since', start && !end ? `${clock(start)} (${duration(+now - +start)})` : undefined],
    ['Was live', start && end ? `${day(start)}, for ${duration(+end - +start)}` : undefined],
    ['Delivery', channel && `${channel.latencyMode === 'NORMAL' ? 'Normal latency' : 'Low latency'}, ${channel.containerFormat === 'FRAGMENTED_MP4' ? 'fMP4' : 'TS'}`],
    ['Channel type', channel?.type?.toLowerCase().replace('_', ' ')],
  ]
}

/** What the encoder sends, one group of facts per track. */
export function ingestFacts(session: StreamSession): Facts {
  const single = session.ingestConfiguration
  const all = session.ingestConfigurations
  const videos = all?.videoConfigurations ?? (single?.video ? [single.video] : [])
  const audios = all?.audioConfigurations ?? (single?.audio ? [single.audio] : [])
  return [
    ['Encoder', videos[0]?.encoder || single?.video?.encoder],
    ...videos.flatMap((video, i): Facts => [
      [numbered('Video', i, videos.length), join([video.codec, profile(video)])],
      [numbered('Picture', i, videos.length), join([
        video.videoWidth && video.videoHeight ? `${video.videoWidth}×${video.videoHeight}` : undefined,
        video.targetFramerate ? `${video.targetFramerate} fps` : undefined,
      ])],
      [numbered('Video target', i, videos.length), bitrate(video.targetBitrate)],
    ]),
    ...audios.flatMap((audio, i): Facts => [
      [numbered('Audio', i, audios.length), join([
        audio.codec,
        audio.sampleRate ? `${audio.sampleRate / 1000} kHz` : undefined,
        ['', 'mono', 'stereo'][audio.channels ?? 0] ?? `${audio.channels} channels`,
      ])],
      [numbered('Audio target', i, audios.length), bitrate(audio.targetBitrate)],
    ]),
  ]
}

function numbered(term: string, i: number, of: number): string {
  return of > 1 ? `${term} ${i + 1}` : term
}

function profile(video: { profile?: string; level?: string; avcProfile?: string; avcLevel?: string }): string | undefined {
  return [video.profile || video.avcProfile, video.level || video.avcLevel].filter(Boolean).join(' ') || undefined
}

function join(parts: (string | undefined)[]): string {
  return parts.filter(Boolean).join(' · ')
}

/** Shows a session's events in the order in which the API gives them: newest first. */
export function showEvents(list: HTMLElement, session?: StreamSession) {
  const events = session?.truncatedEvents ?? []
  reconcile(list, events.map((event, i) => ({ event, key: `${session?.streamId} ${events.length - i}` })), ({ key }) => key,
    () => stamp('event-row'), (row, { event }) => {
      const time = find<HTMLTimeElement>(row, 'time')
      const code = find(row, '.event-code')
      row.dataset.name = event.name ?? ''
      time.dateTime = event.eventTime?.toISOString() ?? ''
      setText(time, event.eventTime ? clock(event.eventTime) : '')
      setText(find(row, '.event-name'), event.name ?? event.type ?? '')
      setText(code, event.code ?? '')
      code.hidden = !event.code
    })
}

/** Lists the sessions that have ended; load fetches one when its details are opened. */
export function showPast(sessions: StreamSessionSummary[], load: (streamId: string) => Promise<StreamSession | undefined>) {
  const past = sessions.filter((session) => session.endTime)
  byId('no-sessions').hidden = past.length > 0
  reconcile(byId('sessions'), past, (session) => session.streamId ?? '', (session) => {
    const row = stamp('session-row')
    const details = find<HTMLDetailsElement>(row, 'details')
    details.addEventListener('toggle', async () => {
      if (!details.open) return
      const whole = await load(session.streamId ?? '')
      if (whole) showWhole(row, whole)
    })
    return row
  }, (row, { streamId, startTime: start, endTime: end, hasErrorEvent }) => {
    const at = start ?? end
    find<HTMLTimeElement>(row, 'time').dateTime = at?.toISOString() ?? ''
    setText(find(row, 'time'), at ? day(at) : '')
    setText(find(row, '.session-length'), start && end ? duration(+end - +start) : 'never went live')
    setText(find(row, '.session-id'), streamId ?? '')
    find(row, '.session-error').hidden = !hasErrorEvent
  })
}

function showWhole(row: HTMLElement, session: StreamSession) {
  fillFacts(find(row, 'dl'), [...streamFacts(session, new Date()), ...ingestFacts(session)])
  showEvents(find(row, 'ol'), session)
}
