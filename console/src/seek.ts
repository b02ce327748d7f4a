// Where things are in a recording: its thumbnails, and its time in words.

/** What is known of the thumbnails of a recording, which are numbered from 0 on. */
export interface Thumbnails {
  count: number
  intervalSeconds: number // what was asked for; 0 where that is unknown
}

/**
 * The number of the thumbnail that was made last before a position; undefined
 * where there is none. Thumbnails are as far apart as was asked for, if their
 * number fits that, and else spread evenly: key frames may have been rarer, and
 * the time between merged streams has none.
 */
export function thumbnailAt(position: number, duration: number, { count, intervalSeconds }: Thumbnails): number | undefined {
  if (count < 1) return undefined
  const even = duration / count
  const fits = intervalSeconds >= even && (count === 1 || intervalSeconds <= duration / (count - 1))
  const number = Math.floor(position / (fits ? intervalSeconds : even))
  return Math.min(Math.max(number, 0), count - 1)
}

/** "0:07", "12:30", "1:02:03". */
export function timecode(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds))
  const [hours, minutes] = [Math.floor(s / 3600), Math.floor(s / 60) % 60]
  const rest = String(s % 60).padStart(2, '0')
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}` : `${minutes}:${rest}`
}
