// The points of a chart: where its line is interrupted, how far its axis reaches,
// and what it says in words.

import { mean } from './format'
import type { Point } from './millrace'

const usualShare = 0.95 // of the values are taken to be usual
const outlier = 3 // times what is usual

/** Points as uPlot takes them: null is where the line is interrupted. alone has the indices of points without a neighbour. */
export function columns(points: Point[], gap: number): { times: number[]; values: (number | null)[]; alone: number[] } {
  const times: number[] = []
  const values: (number | null)[] = []
  const alone: number[] = []
  const far = (a?: Point, b?: Point) => !a || !b || b[0] - a[0] > gap
  points.forEach((point, i) => {
    const before = points[i - 1]
    const interrupted = far(before, point)
    if (before && interrupted) {
      times.push((before[0] + point[0]) / 2)
      values.push(null)
    }
    if (interrupted && far(point, points[i + 1])) alone.push(times.length)
    times.push(point[0])
    values.push(point[1])
  })
  return { times, values, alone }
}

/**
 * The value that the axis has to reach: the highest, but for a rush that towers
 * over all else, as comes after a stall. Of that only the foot is drawn.
 */
export function reach(points: Point[]): number {
  const values = points.map(([, value]) => value).sort((a, b) => a - b)
  const usual = values[Math.floor((values.length - 1) * usualShare)] ?? 0
  const highest = values.at(-1) ?? 0
  return highest > outlier * usual && usual > 0 ? 1.5 * usual : highest
}

/** The point that is nearest to a time, if one is near enough. */
export function nearest(points: Point[], time: number, gap: number): Point | undefined {
  let low = 0
  let high = points.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (points[middle]![0] < time) low = middle + 1
    else high = middle
  }
  const [before, after] = [points[low - 1], points[low]]
  const near = before && (!after || time - before[0] < after[0] - time) ? before : after
  return near && Math.abs(near[0] - time) <= gap ? near : undefined
}

/** The points in words. */
export function summary(points: Point[], format: (value: number) => string, announced?: number): string {
  if (!points.length) return 'Nothing was measured in this time.'
  const values = points.map(([, value]) => value)
  const [low, high] = [Math.min(...values), Math.max(...values)].map(format)
  const range = low === high ? `${low} throughout` : `${low} to ${high}, ${format(mean(values))} on average`
  return announced ? `${range}; announced: ${format(announced)}` : range
}
