// A line chart: time along the bottom, one figure up the side, and a cursor that
// mouse, finger and arrow keys move. uPlot draws it, in the colours of the style
// sheet.

import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { timeTicks, valueTicks, type Tick } from './axis'
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
const axisWidth = 74 // also in the style sheet
const axisHeight = 24
const margin = 10 // above the plot, and right of it; also in the style sheet
const pixelsPerTick = 84
const labelRoom = 20 // a time is not cut off if it is so far from the right edge
const headroom = 1.05

const dark = matchMedia('(prefers-color-scheme: dark)')

/** cursor is the time under the cursor, which is that of now where there is none; point is called when it moves or leaves. */
export function Chart({ subject: { name, format }, subject, drawing, cursor, point }: { subject: Subject; drawing: Drawing; cursor?: number; point: (time?: number) => void }) {
  const { from, to, points, gap, announced, moves } = drawing
  const within = (time: number) => Math.min(to, Math.max(from, time))
  const pointed = cursor === undefined ? undefined : within(cursor)
  const at = pointed ?? to
  const found = nearest(points, at, gap)
  const shown = pointed === undefined ? undefined : found?.[0] ?? pointed
  const words = `${clock(new Date((found?.[0] ?? at) * 1000))}: ${found ? format(found[1]) : 'nothing measured'}`
  const plot = usePlot(subject, drawing, shown)

  function follow({ currentTarget, clientX }: PointerEvent & { currentTarget: HTMLElement }) {
    const { left, width } = currentTarget.getBoundingClientRect()
    point(within(from + (clientX - left - axisWidth) / (width - axisWidth - margin) * (to - from)))
  }

  function press(event: KeyboardEvent) {
    const step = Math.max(1, (to - from) / 100)
    const goal: Record<string, number> = {
      ArrowLeft: at - step, ArrowDown: at - step, ArrowRight: at + step, ArrowUp: at + step,
      PageDown: at - 10 * step, PageUp: at + 10 * step, Home: from, End: to,
    }
    if (event.key === 'Escape') point()
    else if (event.key in goal) point(within(goal[event.key]!))
    else return
    event.preventDefault()
  }

  return <figure>
    <figcaption><span class="chart-name">{name}</span> <b class="chart-now">{found && moves && pointed === undefined && format(found[1])}</b></figcaption>
    <div class="plot" tabindex={0} role="slider" aria-label={name} aria-valuemin={Math.floor(from)} aria-valuemax={Math.ceil(to)} aria-valuenow={Math.round(at)} aria-valuetext={words}
      onPointerMove={follow} onPointerDown={follow} onPointerLeave={() => point()} onBlur={() => point()} onKeyDown={press}>
      <div ref={plot} />
      {shown !== undefined && <span class="tip" style={{ '--share': (within(shown) - from) / (to - from) }}>{words}</span>}
    </div>
    <p class="chart-summary quiet">{summary(points, format, announced)}</p>
  </figure>
}

/** Has uPlot draw into an element, whose ref is returned. */
function usePlot(subject: Subject, drawing: Drawing, cursor?: number) {
  const element = useRef<HTMLDivElement>(null)
  const plot = useRef<Plot>(null)
  useEffect(() => {
    const made = plot.current = new Plot(element.current!, subject)
    return () => made.destroy()
  }, [])
  useEffect(() => plot.current?.draw(drawing, cursor))
  return element
}

class Plot {
  private plot?: uPlot // made when the page has given it a width
  private drawing?: Drawing
  private cursor?: number
  private values = [0, 1] // the ticks of the vertical axis
  private times: Tick[] = []
  private alone: number[] = [] // indices of points without a neighbour
  private probe = document.createElement('span') // it takes a colour of the style sheet
  private resized = new ResizeObserver(() => this.paint())
  private recolour = () => this.plot?.redraw(false)

  constructor(private element: HTMLElement, private subject: Subject) {
    this.probe.hidden = true
    element.append(this.probe)
    this.resized.observe(element)
    dark.addEventListener('change', this.recolour)
  }

  destroy() {
    this.resized.disconnect()
    dark.removeEventListener('change', this.recolour)
    this.plot?.destroy()
  }

  draw(drawing: Drawing, cursor?: number) {
    this.cursor = cursor
    if (drawing === this.drawing) return this.placeCursor()
    this.drawing = drawing
    this.paint()
  }

  private paint() {
    const width = this.element.clientWidth
    if (!this.drawing || !width) return
    const { points, gap, announced, from, to } = this.drawing
    const highest = Math.max(reach(points), announced ?? 0)
    const { times, values, alone } = columns(points, gap)
    this.values = valueTicks(Math.max(highest * headroom, this.subject.least), 3, !!this.subject.whole)
    this.times = timeTicks(from, to, width / pixelsPerTick)
    this.alone = alone
    const plot = this.plot ??= new uPlot(this.options(width), [[], []], this.element)
    plot.batch(() => {
      plot.setSize({ width, height })
      plot.setData([times, values], false)
      plot.setScale('x', { min: from, max: to })
      plot.setScale('y', { min: 0, max: this.values.at(-1)! })
    })
    this.placeCursor()
  }

  private options(width: number): uPlot.Options {
    const ink = (css: string) => () => this.colour(css)
    const axis = { stroke: ink('var(--quiet)'), font: '11.5px system-ui, sans-serif', gap: 4, ticks: { show: false } }
    const room = () => this.element.clientWidth - axisWidth - margin
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

  /** Puts the cursor at its time; outside, where there is none. */
  private placeCursor() {
    const { cursor, plot } = this
    plot?.setCursor({ left: cursor === undefined ? -10 : plot.valToPos(cursor, 'x'), top: cursor === undefined ? -10 : 0 }, false)
  }
}
