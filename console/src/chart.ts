// A line chart in SVG: time along the bottom, one figure up the side, and a
// cursor that mouse, finger and arrow keys move. Colours are the style sheet's.

import { timeTicks, valueTicks } from './axis'
import { find, setText, stamp } from './dom'
import { clock, mean } from './format'
import type { Point } from './millrace'

/** The quantity that a chart shows. */
export interface Subject {
  name: string
  format: (value: number) => string
  least: number // the axis extends at least to this value
  whole?: boolean // only whole numbers make sense
}

/** What a chart shows. All times are in Unix seconds. */
export interface Drawing {
  from: number
  to: number
  points: Point[] // in order of time
  gap: number // the line is interrupted where two points are farther apart than this
  announced?: number // the value that the encoder announced
  shaded: Span[]
  moves: boolean // the latest point is current
}

export type Span = [from: number, to: number]

const height = 150
const plot = { left: 74, right: 10, top: 10, bottom: 24 } // the margins around it
const pixelsPerTick = 84
const headroom = 1.05
const usualShare = 0.95 // of the values are taken to be usual
const outlier = 3 // times what is usual

export class Chart {
  readonly figure = stamp('chart')
  private svg = find<HTMLElement & SVGSVGElement>(this.figure, 'svg')
  private slider = find(this.figure, '.plot')
  private tip = find(this.figure, '.tip')
  private drawing?: Drawing
  private cursor?: number
  private top = 1 // value at the upper end of the axis

  /** moved is called with the time under the cursor, or undefined when the cursor has left. */
  constructor(private subject: Subject, private moved: (time?: number) => void) {
    setText(find(this.figure, '.chart-name'), subject.name)
    this.slider.setAttribute('aria-label', subject.name)
    this.slider.addEventListener('pointermove', (event) => moved(this.timeAt(event.offsetX)))
    this.slider.addEventListener('pointerdown', (event) => moved(this.timeAt(event.offsetX)))
    this.slider.addEventListener('pointerleave', () => moved())
    this.slider.addEventListener('keydown', (event) => this.key(event))
    this.slider.addEventListener('blur', () => moved())
    new ResizeObserver(() => this.paint()).observe(this.slider)
  }

  draw(drawing: Drawing) {
    this.drawing = drawing
    this.paint()
    setText(find(this.figure, '.chart-summary'), summary(drawing, this.subject))
  }

  /** Puts the cursor at a time. */
  point(time?: number) {
    this.cursor = time
    this.paintCursor()
  }

  private get width() { return this.slider.clientWidth }

  private x = (time: number) => {
    const { from, to } = this.drawing!
    const part = Math.max(0, time - from) / (to - from) // a period may begin before from
    return plot.left + part * (this.width - plot.left - plot.right)
  }

  private y = (value: number) => height - plot.bottom - (Math.min(value, this.top) / this.top) * (height - plot.top - plot.bottom)

  private timeAt(x: number): number | undefined {
    if (!this.drawing) return undefined
    const { from, to } = this.drawing
    const part = (x - plot.left) / (this.width - plot.left - plot.right)
    return from + Math.min(1, Math.max(0, part)) * (to - from)
  }

  private key(event: KeyboardEvent) {
    if (!this.drawing) return
    const { from, to } = this.drawing
    const now = this.cursor ?? to
    const step = Math.max(1, (to - from) / 100)
    const goal: Record<string, number> = {
      ArrowLeft: now - step, ArrowDown: now - step, ArrowRight: now + step, ArrowUp: now + step,
      PageDown: now - 10 * step, PageUp: now + 10 * step, Home: from, End: to,
    }
    if (event.key === 'Escape') this.moved()
    else if (event.key in goal) this.moved(Math.min(to, Math.max(from, goal[event.key]!)))
    else return
    event.preventDefault()
  }

  private paint() {
    if (!this.drawing || !this.width) return
    const { points, announced, from, to, shaded } = this.drawing
    const highest = Math.max(reach(points), announced ?? 0)
    const values = valueTicks(Math.max(highest * headroom, this.subject.least), 3, !!this.subject.whole)
    this.top = values.at(-1)!
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${height}`)
    const runs = thin(points, (to - from) / this.width).reduce(split(this.drawing.gap), [])
    this.svg.replaceChildren(
      ...shaded.map((span) => this.shade(span)),
      ...values.flatMap((value) => this.valueTick(value)),
      ...timeTicks(from, to, this.width / pixelsPerTick).flatMap(({ at, label }) => this.timeTick(at, label)),
      ...runs.flatMap((run) => this.run(run)),
      ...(announced ? this.announced(announced) : []),
    )
    this.paintCursor()
  }

  private shade([from, to]: Span): SVGElement {
    const left = Math.max(plot.left, this.x(from))
    const right = Math.min(this.width - plot.right, this.x(to))
    return shape('rect', { class: 'shade', x: left, y: plot.top, width: Math.max(0, right - left), height: height - plot.top - plot.bottom })
  }

  private valueTick(value: number): SVGElement[] {
    const y = this.y(value)
    return [
      shape('line', { class: 'grid', x1: plot.left, x2: this.width - plot.right, y1: y, y2: y }),
      shape('text', { x: plot.left - 8, y: y + 4, 'text-anchor': 'end' }, this.subject.format(value)),
    ]
  }

  private timeTick(time: number, label: string): SVGElement[] {
    const x = this.x(time)
    if (x > this.width - 30) return [] // the label would be cut off
    return [shape('text', { x, y: height - 6, 'text-anchor': 'middle' }, label)]
  }

  private run(run: Point[]): SVGElement[] {
    const line = run.map(([time, value]) => `${this.x(time).toFixed(1)} ${this.y(value).toFixed(1)}`).join('L')
    const [first, last] = [this.x(run[0]![0]), this.x(run.at(-1)![0])]
    return [
      shape('path', { class: 'area', d: `M${line}L${last.toFixed(1)} ${this.y(0)}L${first.toFixed(1)} ${this.y(0)}Z` }),
      shape('path', { class: 'line', d: `M${line}h.01` }), // so that a single point shows
    ]
  }

  private announced(value: number): SVGElement[] {
    const y = this.y(value)
    return [shape('line', { class: 'announced', x1: plot.left, x2: this.width - plot.right, y1: y, y2: y })]
  }

  /** Shows the value under the cursor, or else that of now. */
  private paintCursor() {
    if (!this.drawing) return
    const { points, to, from, gap, moves } = this.drawing
    const time = this.cursor === undefined ? undefined : Math.min(to, Math.max(from, this.cursor))
    const point = nearest(points, time ?? to, gap)
    setText(find(this.figure, '.chart-now'), point && moves && time === undefined ? this.subject.format(point[1]) : '')
    this.svg.querySelectorAll('.cursor').forEach((el) => el.remove())
    this.tip.hidden = time === undefined
    const at = time ?? to
    const words = `${clock(new Date((point?.[0] ?? at) * 1000))}: ${point ? this.subject.format(point[1]) : 'nothing measured'}`
    this.slider.setAttribute('aria-valuemin', String(Math.floor(from)))
    this.slider.setAttribute('aria-valuemax', String(Math.ceil(to)))
    this.slider.setAttribute('aria-valuenow', String(Math.round(at)))
    this.slider.setAttribute('aria-valuetext', words)
    if (time !== undefined) this.paintTip(point ? this.x(point[0]) : this.x(time), words, point)
  }

  private paintTip(x: number, words: string, point?: Point) {
    this.svg.append(shape('line', { class: 'cursor', x1: x, x2: x, y1: plot.top, y2: height - plot.bottom }))
    if (point) this.svg.append(shape('circle', { class: 'cursor', cx: x, cy: this.y(point[1]), r: 3.5 }))
    setText(this.tip, words)
    const room = this.width - this.tip.offsetWidth
    this.tip.style.left = `${Math.max(0, Math.min(room, x - this.tip.offsetWidth / 2))}px`
  }
}

function shape(name: string, attributes: Record<string, string | number>, text = ''): SVGElement {
  const el = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, String(value))
  el.textContent = text
  return el
}

/**
 * The value that the axis has to reach: the highest, but for a rush that towers
 * over all else, as comes after a stall. Of that only the foot is drawn.
 */
function reach(points: Point[]): number {
  const values = points.map(([, value]) => value).sort((a, b) => a - b)
  const usual = values[Math.floor((values.length - 1) * usualShare)] ?? 0
  const highest = values.at(-1) ?? 0
  return highest > outlier * usual && usual > 0 ? 1.5 * usual : highest
}

/** At most the lowest and the highest point of each so many seconds. */
function thin(points: Point[], seconds: number): Point[] {
  const kept: Point[] = []
  let slot = NaN
  let low: Point | undefined
  let high: Point | undefined
  const keep = () => {
    if (low && high) kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]))
  }
  for (const point of points) {
    if (Math.floor(point[0] / seconds) !== slot) {
      keep()
      slot = Math.floor(point[0] / seconds)
      low = high = point
    }
    if (point[1] < low![1]) low = point
    if (point[1] > high![1]) high = point
  }
  keep()
  return kept
}

/** Begins a new run of points after each gap. */
function split(gap: number) {
  return (runs: Point[][], point: Point): Point[][] => {
    const last = runs.at(-1)
    if (last && point[0] - last.at(-1)![0] <= gap) last.push(point)
    else runs.push([point])
    return runs
  }
}

/** The point that is nearest to a time, if one is near enough. */
function nearest(points: Point[], time: number, gap: number): Point | undefined {
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

/** The chart in words. */
function summary({ points, announced }: Drawing, { format }: Subject): string {
  if (!points.length) return 'Nothing was measured in this time.'
  const values = points.map(([, value]) => value)
  const [low, high] = [Math.min(...values), Math.max(...values)].map(format)
  const range = low === high ? `${low} throughout` : `${low} to ${high}, ${format(mean(values))} on average`
  return announced ? `${range}; announced: ${format(announced)}` : range
}
