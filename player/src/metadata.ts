// Timed metadata: ID3 tags in the media. hls.js hands them over; Safari makes cues
// of a text track of them.

import type { TextMetadataCue } from './types.js'

/** Metadata that playback passed longer ago, in seconds, is not reported any more. */
const late = 10

/** The texts (ID3 frames TXXX) that playback has reached within the last seconds. */
export function reachedMetadata(video: Pick<HTMLVideoElement, 'currentTime' | 'textTracks'>): TextMetadataCue[] {
  const reached: TextMetadataCue[] = []
  for (const track of video.textTracks) {
    if (track.kind !== 'metadata') continue
    if (track.mode === 'disabled') track.mode = 'hidden' // else it has no cues
    for (let i = (track.cues?.length ?? 0) - 1; i >= 0; i--) { // in order of their start
      const { startTime, value } = track.cues![i] as TextTrackCue & { value?: { key?: string; data?: unknown } }
      if (startTime < video.currentTime - late) break
      if (startTime <= video.currentTime && value?.key === 'TXXX' && typeof value.data === 'string') reached.unshift({ text: value.data, startTime })
    }
  }
  return reached
}

const headerBytes = 10 // of a tag, and of a frame

/** The texts in the frames TXXX of an ID3v2.4 tag (id3.org, id3v2.4.0-structure, 3 and 4), in UTF-8. */
export function textsOf(tag: Uint8Array): string[] {
  const texts: string[] = []
  if (ascii(tag, 0, 3) !== 'ID3') return texts
  const end = Math.min(tag.length, headerBytes + size(tag, 6))
  for (let at = headerBytes; at + headerBytes <= end;) {
    const frame = tag.subarray(at + headerBytes, Math.min(end, at + headerBytes + size(tag, at + 4)))
    if (ascii(tag, at, 4) === 'TXXX' && frame[0] === 3) texts.push(afterDescription(frame.subarray(1)))
    at += headerBytes + Math.max(frame.length, 1)
  }
  return texts
}

function afterDescription(data: Uint8Array): string {
  const [, text = ''] = new TextDecoder().decode(data).split('\0')
  return text
}

function ascii(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length))
}

/** Four bytes of seven bits each. */
function size(bytes: Uint8Array, at: number): number {
  return [0, 1, 2, 3].reduce((sum, i) => sum * 128 + ((bytes[at + i] ?? 0) & 127), 0)
}
