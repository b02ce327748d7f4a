import { describe, expect, test } from 'vitest'
import { behindHole, bufferedAhead, errorOf, nameQualities, playbackRate, retryDelay } from './rules.js'
import { ErrorType } from './types.js'

function ranges(...pairs: [number, number][]) {
  return { length: pairs.length, start: (i: number) => pairs[i]![0], end: (i: number) => pairs[i]![1] }
}

describe('buffer', () => {
  const holed = ranges([0, 4], [6, 9])
  test.each([[1, 3], [4, 0], [5, 0], [5.95, 3.05], [9.5, 0]])('ahead of %d s are %d s', (playhead, ahead) => {
    expect(bufferedAhead(holed, playhead)).toBeCloseTo(ahead)
  })
  test('goes on behind a hole', () => {
    expect(behindHole(holed, 4)).toBe(6)
    expect(behindHole(holed, 7)).toBeUndefined()
  })
})

describe('playback rate', () => {
  test.each([
    ['at the target', 1, 3, 3, 3, 1],
    ['a little late: as it was', 1, 3.5, 3, 4, 1],
    ['late with media to play', 1, 4, 3, 4, 1.2],
    ['late without media', 1, 4, 3, 2, 1],
    ['on the way back', 1.2, 3.4, 3, 3, 1.2],
    ['back', 1.2, 3.1, 3, 3, 1],
    ['about to stall on the way back', 1.2, 3.6, 3, 1.4, 1],
  ])('%s', (_, rate, latency, target, ahead, want) => {
    expect(playbackRate(rate, latency, target, ahead)).toBe(want)
  })
})

describe('retries', () => {
  test('come later each time, within bounds, for ever', () => {
    const waits = [0, 1, 2, 20, 100_000].map((failures) => retryDelay(failures, false, 0.5))
    expect(waits).toEqual([1000, 1500, 2250, 10_000, 10_000])
  })
  test('are spread', () => {
    expect(retryDelay(0, false, 0)).toBe(800)
    expect(retryDelay(0, false, 0.999)).toBe(1200)
  })
  test('of the refused are rare', () => expect(retryDelay(0, true, 0.5)).toBe(30_000))
})

test('statuses', () => {
  expect([404, 401, 403, 429, 500, 0].map(errorOf)).toEqual([
    ErrorType.NOT_AVAILABLE, ErrorType.AUTHORIZATION, ErrorType.AUTHORIZATION, ErrorType.NOT_AVAILABLE, ErrorType.NETWORK, ErrorType.NETWORK,
  ])
})

test('names of qualities are unique', () => {
  const some = (height: number, framerate: number, bitrate: number) => ({ width: 0, height, framerate, bitrate, codecs: '' })
  const names = nameQualities([some(1080, 60, 6e6), some(720, 30, 3e6), some(720, 29.97, 2e6), some(0, 0, 1e5)]).map(({ name }) => name)
  expect(names).toEqual(['1080p60', '720p 3.0 Mbit/s', '720p 2.0 Mbit/s', 'Audio'])
})
