// Numbers and times as people read them.

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })
const dateTime = new Intl.DateTimeFormat(undefined, {
  year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23',
})

/** "09:03:12", in the viewer's own time zone. */
export function clock(date: Date): string {
  return time.format(date)
}

/** "1 May 2026, 09:03", in the viewer's own time zone and order. */
export function day(date: Date): string {
  return dateTime.format(date)
}

/** "48 s", "12 min 5 s", "12 min", "3 h 7 min". */
export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000))
  if (s < 60) return `${s} s`
  const [large, unit, small, rest] = s < 3600 ? [60, 'min', 1, 's'] as const : [3600, 'h', 60, 'min'] as const
  const more = Math.floor((s % large) / small)
  return `${Math.floor(s / large)} ${unit}${more ? ` ${more} ${rest}` : ''}`
}

/** "6.0 Mbit/s", "160 kbit/s", "171 Mbit/s"; undefined for nothing. */
export function bitrate(bitsPerSecond?: number): string | undefined {
  if (!bitsPerSecond) return undefined
  if (bitsPerSecond < 1e6) return `${Math.round(bitsPerSecond / 1000)} kbit/s`
  return `${(bitsPerSecond / 1e6).toFixed(bitsPerSecond < 1e8 ? 1 : 0)} Mbit/s`
}

/** "1.2 GB", "48 MB"; undefined for nothing. */
export function bytes(n?: number): string | undefined {
  if (!n) return undefined
  return n < 1e9 ? `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB` : `${(n / 1e9).toFixed(1)} GB`
}

/** The mean of some values, NaN of none. */
export function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** "1.23 s". */
export function seconds(s: number): string {
  return `${s.toFixed(2)} s`
}
