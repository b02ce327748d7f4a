// The decisions of the player, as pure functions. Times are in seconds unless
// stated otherwise.

import { ErrorType, type Quality } from './types.js'

/** What is buffered, as a TimeRanges has it. */
export type Ranges = Pick<TimeRanges, 'length' | 'start' | 'end'>

/** A playhead up to this far before a range counts as being in it. */
const tolerance = 0.1

/** How much is buffered from the playhead on, without a gap. */
export function bufferedAhead(ranges: Ranges, playhead: number): number {
  for (let i = 0; i < ranges.length; i++) {
    if (ranges.start(i) <= playhead + tolerance && playhead <= ranges.end(i)) return ranges.end(i) - playhead
  }
  return 0
}

/** Where the next buffered range starts; undefined if there is none. */
export function behindHole(ranges: Ranges, playhead: number): number | undefined {
  for (let i = 0; i < ranges.length; i++) {
    if (ranges.start(i) > playhead) return ranges.start(i)
  }
  return undefined
}

/** Beyond this distance from the target, playback is sped up until it is back there. */
const behind = 0.75
const there = 0.2
const catchUpRate = 1.2

/** Beyond this distance from the target, the viewer is offered a jump to the live edge. */
export const farBehind = 4

/** The playback rate that returns to the target latency without causing a stall. */
export function playbackRate(rate: number, latency: number, target: number, ahead: number): number {
  const late = latency - target
  if (late < there || ahead < target / 2) return 1
  return late > behind && ahead > target ? catchUpRate : rate
}

const firstRetryMs = 1000
const lastRetryMs = 10_000
const refusedRetryMs = 30_000

/**
 * How long to wait before trying again, in milliseconds: longer after each failure, up to 10
 * seconds; 30 if the server refuses this viewer. random is in [0, 1): the viewers
 * of an ended stream do not all come back at once.
 */
export function retryDelay(failures: number, refused: boolean, random: number): number {
  const wait = refused ? refusedRetryMs : Math.min(lastRetryMs, firstRetryMs * 1.5 ** failures)
  return Math.round(wait * (0.8 + 0.4 * random))
}

/** The HTTP status when the account has as many viewers as it may have. */
export const tooManyViewers = 429

/** The meaning of the playback URL's HTTP status; 0 is no response. */
export function errorOf(status: number): ErrorType {
  if (status === 404 || status === tooManyViewers) return ErrorType.NOT_AVAILABLE
  if (status === 401 || status === 403) return ErrorType.AUTHORIZATION
  return ErrorType.NETWORK
}

/** Names renditions by height and frame rate, and by bit rate where those are the same. */
export function nameQualities(renditions: Omit<Quality, 'name'>[]): Quality[] {
  const names = renditions.map((r) => (r.height ? `${r.height}p${r.framerate > 32 ? Math.round(r.framerate) : ''}` : 'Audio'))
  return renditions.map((rendition, i) => {
    const name = names[i] ?? ''
    const shared = names.indexOf(name) !== names.lastIndexOf(name)
    return { name: shared ? `${name} ${(rendition.bitrate / 1e6).toFixed(1)} Mbit/s` : name, ...rendition }
  })
}
