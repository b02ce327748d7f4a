// Where the ticks of a chart's axes go.

const zoned = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(undefined, { hourCycle: 'h23', ...options })
const withSeconds = zoned({ hour: '2-digit', minute: '2-digit', second: '2-digit' })
const withMinutes = zoned({ hour: '2-digit', minute: '2-digit' })
const withDay = zoned({ weekday: 'short', hour: '2-digit', minute: '2-digit' })

const minute = 60
const hour = 60 * minute
const timeSteps = [5, 10, 15, 30, minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute,
  hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, 24 * hour]

export interface Tick {
  at: number
  label: string
}

/** Round times between from and to, in Unix seconds, at most so many; round in the viewer's own time zone. */
export function timeTicks(from: number, to: number, most: number): Tick[] {
  const step = timeSteps.find((s) => (to - from) / s <= most) ?? 48 * hour
  const format = step < minute ? withSeconds : to - from < 20 * hour ? withMinutes : withDay
  const zone = new Date(from * 1000).getTimezoneOffset() * minute
  const ticks: Tick[] = []
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) {
    ticks.push({ at, label: format.format(at * 1000) })
  }
  return ticks
}

/** Round values from 0 to max or just above it, about so many. whole is for what can only be counted. */
export function valueTicks(max: number, about: number, whole: boolean): number[] {
  const rough = max / about
  const ten = 10 ** Math.floor(Math.log10(rough))
  const step = Math.max(whole ? 1 : 0, [1, 2, 5, 10].map((n) => n * ten).find((s) => s >= rough * 0.999) ?? ten)
  return Array.from({ length: Math.ceil((max / step) * 0.999) + 1 }, (_, i) => i * step)
}
