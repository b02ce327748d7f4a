import { expect, test } from 'vitest'
import type { Viewer } from './millrace'
import { byStalls, cells, columns } from './viewer-sessions'

const now = new Date('2026-05-01T12:00:00Z')
const viewer = (id: string, seconds: number, playback?: Viewer['playback']): Viewer => ({ id, since: new Date(+now - seconds * 1000).toISOString(), addressClass: 'PRIVATE', playback })

test('viewers who stall come first', () => {
  const all = [viewer('old', 90), viewer('new', 5), viewer('stalled once', 80, { stalls: 1, stalled: false }), viewer('stalls', 70, { stalls: 1, stalled: true })]
  expect(all.sort(byStalls).map(({ id }) => id)).toEqual(['stalls', 'stalled once', 'new', 'old'])
})

test('what is known of a session', () => {
  const silent = cells({ ...viewer('a', 65), rendition: '720p30', country: 'CH' }, now)
  expect(silent).toEqual(['1 min 5 s', 'CH, private network', '720p30', '', '', '', '', ''])
  const reporting = cells(viewer('b', 3, { stalls: 2, stalled: true, startup: 0.74, latency: 2.96, buffer: 1.5, bitrate: 2_500_000 }), now)
  expect(reporting).toEqual(['3 s', 'private network', '', '2, one in the last minute', '0.7 s', '3.0 s', '1.5 s', '2.5 Mbit/s'])
  expect(silent).toHaveLength(columns.length)
})
