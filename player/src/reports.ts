// Reports of playback that no request carries: how long the start took, and how far
// behind live the viewer is (CTA-5004-A, event mode), for the server of the stream.

const everyMs = 10_000

/** What is reported, in seconds; undefined is unknown. */
export interface Figures {
  latency?: number
  buffer?: number
}

/** The reports about one viewer session. Times are in milliseconds by one clock. */
export class Reports {
  private startDelay?: number
  private due = 0

  constructor(private wished: number) {}

  /** The viewer wants playback to begin: until it does, the start takes its time from now on. */
  wish(now: number) {
    if (this.startDelay === undefined) this.wished = now
  }

  /** A frame is shown. */
  playing(now: number) {
    this.startDelay ??= Math.max(1, Math.round(now - this.wished))
  }

  /** The report that is due while playback goes on, if one is. */
  next(now: number, { latency, buffer }: Figures): string | undefined {
    if (this.startDelay === undefined || now < this.due) return undefined
    this.due = now + everyMs
    return line({ bl: millis(buffer), e: 't', ltc: millis(latency), msd: this.startDelay, sta: 'p' })
  }
}

/** The report of a stall. */
export const stalled = (): string => line({ e: 'ps', sta: 'r' })

function millis(seconds?: number): number | undefined {
  return seconds === undefined ? undefined : Math.max(0, Math.round(seconds * 1000))
}

function line(keys: Record<string, string | number | undefined>): string {
  const known = Object.entries({ ...keys, ts: Date.now(), v: 2 }).filter(([, value]) => value !== undefined)
  return known.map(([key, value]) => `${key}=${value}`).join(',') + '\n'
}

/** Sends a report. Nobody waits for it, and what is lost is replaced by the next. */
export function send(url: string, report: string) {
  // A simple request needs no permission of a server of another origin.
  void fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'omit', keepalive: true, body: report }).catch(() => {})
}

const media = /^(.*\/api\/video\/v1\/[^/]+)\/([^/]+)\/([^/]+)\/[^/]+\/playlist\.m3u8(\?|$)/

/** Where reports about the viewer session of a media playlist's URL go; undefined for servers that take none. */
export function reportUrl(playlist: string): string | undefined {
  const [, channel, viewer, stream] = media.exec(playlist) ?? []
  return channel && `${channel}/${viewer}/${stream}/cmcd`
}

/**
 * The playback URL of the viewer session to which the first media playlist of a multivariant
 * playlist belongs, so that who reads that first and then plays is one viewer, and
 * spends one token; and where that session's reports go.
 */
export function sessionOf(playback: string, multivariant: string): { url: string; reportUrl?: string } {
  const first = multivariant.split('\n').find((text) => text && !text.startsWith('#'))
  const playlist = first ? new URL(first.trim(), playback).href : ''
  const viewer = media.exec(playlist)?.[2]
  if (!viewer) return { url: playback }
  const url = new URL(playback)
  url.searchParams.delete('token')
  url.searchParams.set('viewer', viewer)
  return { url: url.href, reportUrl: reportUrl(playlist) }
}
