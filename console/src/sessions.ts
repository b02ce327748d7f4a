// What the API reports of a stream session: facts and ingest configuration.

import { bitrate, clock, day, duration } from './format'
import type { StreamSession } from './ivs'

export type Facts = [term: string, value: string | undefined][]

/** The facts of a session. */
export function streamFacts(session: StreamSession, now: Date): Facts {
  const { startTime: start, endTime: end, channel } = session
  return [
    ['Live since', start && !end ? `${clock(start)} (${duration(+now - +start)})` : undefined],
    ['Was live', start && end ? `${day(start)}, for ${duration(+end - +start)}` : undefined],
    ['Delivery', channel && `${channel.latencyMode === 'NORMAL' ? 'Normal latency' : 'Low latency'}, ${channel.containerFormat === 'FRAGMENTED_MP4' ? 'fMP4' : 'MPEG-TS'}`],
    ['Channel type', channel?.type?.toLowerCase().replace('_', ' ')],
  ]
}

/** The tracks that the encoder sends, in the newer form of the API where it has it. */
export function tracks({ ingestConfiguration: single, ingestConfigurations: all }: StreamSession) {
  return {
    videos: all?.videoConfigurations ?? (single?.video ? [single.video] : []),
    audios: all?.audioConfigurations ?? (single?.audio ? [single.audio] : []),
  }
}

/** In bit/s, of all video tracks together; 0 if the encoder announced none. */
export function announcedVideo(session: StreamSession): number {
  return total(tracks(session).videos)
}

/** In bit/s, of all audio tracks together; 0 if the encoder announced none. */
export function announcedAudio(session: StreamSession): number {
  return total(tracks(session).audios)
}

function total(configurations: { targetBitrate?: number }[]): number {
  return configurations.reduce((sum, { targetBitrate = 0 }) => sum + targetBitrate, 0)
}

/** What the encoder sends, one group of facts per track. */
export function ingestFacts(session: StreamSession): Facts {
  const { videos, audios } = tracks(session)
  return [
    ['Encoder', videos[0]?.encoder],
    ...videos.flatMap((video, i): Facts => [
      [numbered('Video', i, videos.length), join([video.codec, profile(video)])],
      [numbered('Resolution', i, videos.length), join([
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
