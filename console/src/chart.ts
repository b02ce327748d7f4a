// A line chart: time along the bottom, one figure up the side, and a cursor that
// mouse, finger and arrow keys move. uPlot draws it, in the colours of the style
// sheet.

import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { timeTicks, valueTicks, type Tick } from './axis'
import { find, setText, stamp } from './dom'
import { clock } from './format'
import type { Point } from './millrace'
import { columns, nearest, reach, summary } from './series'

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
const axisWidth = 74
const axisHeight = 24
const margin = 10 // above the plot, and right of it
const pixelsPerTick = 84
const labelRoom = 20 // a time is not cut off if it is so far from the right edge
const headroom = 1.05

const dark = matchMedia('(prefers-color-scheme: dark)')

export class Chart {
  readonly figure = stamp('chart')
  private slider = find(this.figure, '.plot')
  private tip = find(this.figure, '.tip')
  private probe = find(this.figure, '.probe')
  private plot?: uPlot // made when the page has given it a width
  private drawing?: Drawing
  private cursor?: number
  private values = [0, 1] // the ticks of the vertical axis
  private times: Tick[] = []
  private alone: number[] = [] // indices of points without a neighbour

  /** moved is called with the time under the cursor, or undefined when the cursor has left. */
  constructor(private subject: Subject, private moved: (time?: number) => void) {
    setText(find(this.figure, '.chart-name'), subject.name)
    this.slider.setAttribute('aria-label', subject.name)
    this.slider.addEventListener('pointermove', (event) => moved(this.timeAt(event.clientX)))
    this.slider.addEventListener('pointerdown', (event) => moved(this.timeAt(event.clientX)))
    this.slider.addEventListener('pointerleave', () => moved())
    this.slider.addEventListener('keydown', (event) => this.key(event))
    this.slider.addEventListener('blur', () => moved())
    new ResizeObserver(() => this.paint()).observe(this.slider)
    dark.addEventListener('change', () => this.plot?.redraw(false))
  }

  draw(drawing: Drawing) {
    this.drawing = drawing
    this.paint()
    setText(find(this.figure, '.chart-summary'), summary(drawing.points, this.subject.format, drawing.announced))
  }

  /** Puts the cursor at a time. */
  point(time?: number) {
    this.cursor = time
    this.paintCursor()
  }

  private timeAt(x: number): number | undefined {
    if (!this.drawing || !this.plot) return undefined
    const { left } = this.plot.over.getBoundingClientRect()
    const { from, to } = this.drawing
    return Math.min(to, Math.max(from, this.plot.posToVal(x - left, 'x')))
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
    const width = this.slider.clientWidth
    if (!this.drawing || !width) return
    const { points, gap, announced, from, to } = this.drawing
    const highest = Math.max(reach(points), announced ?? 0)
    const { times, values, alone } = columns(points, gap)
    this.values = valueTicks(Math.max(highest * headroom, this.subject.least), 3, !!this.subject.whole)
    this.times = timeTicks(from, to, width / pixelsPerTick)
    this.alone = alone
    const plot = this.plot ??= new uPlot(this.options(width), [[], []], this.slider)
    plot.batch(() => {
      plot.setSize({ width, height })
      plot.setData([times, values], false)
      plot.setScale('x', { min: from, max: to })
      plot.setScale('y', { min: 0, max: this.values.at(-1)! })
    })
    this.paintCursor()
  }

  private options(width: number): uPlot.Options {
    const ink = (css: string) => () => this.colour(css)
    const axis = { stroke: ink('var(--quiet)'), font: '11.5px system-ui, sans-serif', gap: 4, ticks: { show: false } }
    const room = () => this.slider.clientWidth - axisWidth - margin
    const share = (time: number) => (time - this.drawing!.from) / (this.drawing!.to - this.drawing!.from)
    const whole = ({ at }: Tick) => room() * (1 - share(at)) + margin > labelRoom
    return {
      width, height, padding: [margin, margin, 0, 0], legend: { show: false },
      cursor: {
        y: false, drag: { x: false, y: false }, points: { size: 7, width: 0, fill: ink('var(--text)') },
        bind: { mousemove: () => null, mouseenter: () => null, mouseleave: () => null, mousedown: () => null, mouseup: () => null, click: () => null, dblclick: () => null },
      },
      scales: { x: {}, y: { range: () => [0, this.values.at(-1)!] } },
      axes: [
        { ...axis, size: axisHeight, grid: { show: false }, splits: () => this.times.filter(whole).map(({ at }) => at), values: () => this.times.filter(whole).map(({ label }) => label) },
        { ...axis, size: axisWidth, grid: { stroke: ink('var(--line)'), width: 1 }, splits: () => this.values, values: (_, at) => at.map(this.subject.format) },
      ],
      series: [{}, {
        stroke: ink('var(--accent)'), fill: ink('color-mix(in srgb, var(--accent) 12%, transparent)'), width: 1.6,
        points: { show: true, size: 3, width: 0, fill: ink('var(--accent)'), filter: () => this.alone },
      }],
      hooks: { drawClear: [(plot) => this.shade(plot)], drawAxes: [(plot) => this.announce(plot)] },
    }
  }

  /** What the style sheet makes of a colour, in the scheme that is in force. */
  private colour(css: string): string {
    this.probe.style.color = css
    return getComputedStyle(this.probe).color
  }

  private shade({ ctx, bbox, valToPos }: uPlot) {
    ctx.save()
    ctx.fillStyle = this.colour('color-mix(in srgb, var(--bad) 20%, transparent)')
    for (const [from, to] of this.drawing?.shaded ?? []) {
      const left = Math.max(bbox.left, valToPos(from, 'x', true))
      const right = Math.min(bbox.left + bbox.width, valToPos(to, 'x', true))
      if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height)
    }
    ctx.restore()
  }

  private announce({ ctx, bbox, valToPos }: uPlot) {
    const { announced } = this.drawing ?? {}
    if (!announced) return
    const y = valToPos(announced, 'y', true)
    ctx.save()
    ctx.strokeStyle = this.colour('var(--quiet)')
    ctx.lineWidth = devicePixelRatio
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio])
    ctx.beginPath()
    ctx.moveTo(bbox.left, y)
    ctx.lineTo(bbox.left + bbox.width, y)
    ctx.stroke()
    ctx.restore()
  }

  /** Shows the value under the cursor, or else that of now. */
  private paintCursor() {
    if (!this.drawing) return
    const { points, to, from, gap, moves } = this.drawing
    const time = this.cursor === undefined ? undefined : Math.min(to, Math.max(from, this.cursor))
    const point = nearest(points, time ?? to, gap)
    setText(find(this.figure, '.chart-now'), point && moves && time === undefined ? this.subject.format(point[1]) : '')
    const at = time ?? to
    const words = `${clock(new Date((point?.[0] ?? at) * 1000))}: ${point ? this.subject.format(point[1]) : 'nothing measured'}`
    this.slider.setAttribute('aria-valuemin', String(Math.floor(from)))
    this.slider.setAttribute('aria-valuemax', String(Math.ceil(to)))
    this.slider.setAttribute('aria-valuenow', String(Math.round(at)))
    this.slider.setAttribute('aria-valuetext', words)
    this.paintTip(time === undefined ? undefined : point?.[0] ?? time, words)
  }

  private paintTip(time: number | undefined, words: string) {
    this.tip.hidden = time === undefined
    if (!this.plot) return
    const left = time === undefined ? -10 : this.plot.valToPos(time, 'x') // outside, where there is no cursor
    this.plot.setCursor({ left, top: time === undefined ? -10 : 0 }, false)
    setText(this.tip, words)
    const room = this.slider.clientWidth - this.tip.offsetWidth
    this.tip.style.left = `${Math.max(0, Math.min(room, axisWidth + left - this.tip.offsetWidth / 2))}px`
  }
}
