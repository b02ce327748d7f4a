import { expect, test } from 'vitest'
import { timeTicks, valueTicks } from './axis'
import type { Point } from './millrace'
import { columns, nearest, reach, summary } from './series'

const points: Point[] = [[10, 5], [11, 6], [20, 7], [30, 8], [31, 9]]

test('the line is interrupted where points are far apart, and a point alone is known', () => {
  expect(columns(points, 3)).toEqual({ times: [10, 11, 15.5, 20, 25, 30, 31], values: [5, 6, null, 7, null, 8, 9], alone: [3] })
  expect(columns(points, 10)).toEqual({ times: [10, 11, 20, 30, 31], values: [5, 6, 7, 8, 9], alone: [] })
  expect(columns([[10, 5]], 3)).toEqual({ times: [10], values: [5], alone: [0] })
  expect(columns([], 3)).toEqual({ times: [], values: [], alone: [] })
})

test('a rush does not take the height from all else', () => {
  const usual = Array.from({ length: 40 }, (_, i): Point => [i, 2e6])
  expect(reach([...usual, [40, 171e6]])).toBe(3e6)
  expect(reach([...usual, [40, 5e6]])).toBe(5e6)
  expect(reach([])).toBe(0)
})

test('the cursor finds the nearest point that is near enough', () => {
  expect(nearest(points, 10.4, 3)).toEqual([10, 5])
  expect(nearest(points, 10.6, 3)).toEqual([11, 6])
  expect(nearest(points, 25, 3)).toBeUndefined()
  expect(nearest(points, 99, 3)).toBeUndefined()
  expect(nearest([], 1, 3)).toBeUndefined()
})

test('a chart in words', () => {
  expect(summary(points, String)).toBe('5 to 9, 7 on average')
  expect(summary([[1, 3], [2, 3]], String, 4)).toBe('3 throughout; announced: 4')
  expect(summary([], String, 4)).toBe('Nothing was measured in this time.')
})

test('the ticks of the axes are round', () => {
  expect(valueTicks(5.1e6, 3, false)).toEqual([0, 2e6, 4e6, 6e6])
  expect(valueTicks(4, 3, true)).toEqual([0, 2, 4])
  expect(valueTicks(2.1, 3, false)).toEqual([0, 1, 2, 3])
  expect(timeTicks(1000, 1300, 6).map(({ at }) => at)).toEqual([1020, 1080, 1140, 1200, 1260])
})
