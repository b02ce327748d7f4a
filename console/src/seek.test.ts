import { describe, expect, test } from 'vitest'
import { thumbnailAt, timecode } from './seek'

describe('thumbnailAt', () => {
  test.each([
    ['the configured interval', 65, { count: 2, intervalSeconds: 60 }, [[0, 0], [59, 0], [60, 1], [65, 1]]],
    ['key frames that are rarer than the interval', 12, { count: 6, intervalSeconds: 1 }, [[0, 0], [1.9, 0], [2, 1], [11.9, 5], [12, 5]]],
    ['merged streams, which have more', 60, { count: 4, intervalSeconds: 60 }, [[0, 0], [15, 1], [59, 3]]],
    ['a single one', 30, { count: 1, intervalSeconds: 60 }, [[0, 0], [30, 0]]],
    ['an unknown interval', 30, { count: 3, intervalSeconds: 0 }, [[9, 0], [10, 1], [40, 2]]],
    ['none', 30, { count: 0, intervalSeconds: 60 }, [[10, undefined]]],
  ])('%s', (_, duration, thumbnails, want) => {
    expect(want.map(([at]) => [at, thumbnailAt(at!, duration, thumbnails)])).toEqual(want)
  })
})

test('timecode', () => {
  expect([0, 7.9, 750, 3723].map(timecode)).toEqual(['0:00', '0:07', '12:30', '1:02:03'])
})
