import { expect, test } from 'vitest'
import { reachedMetadata, textsOf } from './metadata.js'

function video(currentTime: number, cues: object[], kind = 'metadata') {
  const track = { kind, mode: 'disabled', cues }
  return { currentTime, textTracks: [track] as unknown as TextTrackList }
}

const text = (startTime: number, data: unknown, key = 'TXXX') => ({ startTime, value: { key, data } })

test('texts are reported in order when playback has reached them, and only lately', () => {
  const cues = [text(1, 'long ago'), text(11, 'a'), text(12, 'b'), text(12.5, 'to come')]
  expect(reachedMetadata(video(12, cues))).toEqual([{ text: 'a', startTime: 11 }, { text: 'b', startTime: 12 }])
})

test('what is no text is left out', () => {
  expect(reachedMetadata(video(12, [text(11, new ArrayBuffer(1)), text(11, 'x', 'PRIV'), { startTime: 11 }]))).toEqual([])
  expect(reachedMetadata(video(12, [text(11, 'x')], 'captions'))).toEqual([])
})

/** An ID3v2.4 tag with frames of an id and a body each. */
function tag(...frames: [id: string, body: string][]): Uint8Array {
  const utf8 = new TextEncoder()
  const bytes = frames.flatMap(([id, body]) => {
    const data = utf8.encode(body)
    return [...utf8.encode(id), 0, 0, data.length >> 7, data.length & 127, 0, 0, ...data]
  })
  return Uint8Array.from([...utf8.encode('ID3'), 4, 0, 0, 0, 0, bytes.length >> 7, bytes.length & 127, ...bytes])
}

test('ID3 tags give their texts', () => {
  const long = 'ü'.repeat(500)
  expect(textsOf(tag(['PRIV', 'x'], ['TXXX', '\x03\0goal! <b>ü</b>'], ['TXXX', `\x03about\0${long}`]))).toEqual(['goal! <b>ü</b>', long])
})

test('broken tags give what they have, and end', () => {
  const whole = tag(['TXXX', '\x03\0one'], ['TXXX', '\x03\0two'])
  for (let length = 0; length < whole.length; length++) expect(textsOf(whole.subarray(0, length)).length).toBeLessThanOrEqual(2)
  expect(textsOf(new Uint8Array(40))).toEqual([])
  expect(textsOf(tag(['TXXX', '']))).toEqual([])
})
