// The viewer sessions of a channel in an order, and what is known of them in words.

import { bitrate, duration } from './format'
import type { Viewer } from './millrace'

/** Viewers who stalled in the last minute first, then those who stalled most; the others newest first. */
export function byStalls(a: Viewer, b: Viewer): number {
  return Number(!!b.playback?.stalled) - Number(!!a.playback?.stalled) || (b.playback?.stalls ?? 0) - (a.playback?.stalls ?? 0) || +new Date(b.since) - +new Date(a.since)
}

const networks: Record<string, string> = { LOOPBACK: 'this machine', PRIVATE: 'private network', IPV4: 'IPv4', IPV6: 'IPv6' }

/** Where a session's requests come from. */
export function place({ country, addressClass }: Viewer): string {
  return [country, networks[addressClass]].filter(Boolean).join(', ')
}

/** The columns of a session, in the order of columns; '' is unknown. */
export function cells(viewer: Viewer, now: Date): string[] {
  const { playback } = viewer
  const time = (s?: number) => s ? `${s.toFixed(1)} s` : ''
  return [
    duration(+now - +new Date(viewer.since)), place(viewer), viewer.rendition ?? '',
    playback ? `${playback.stalls}${playback.stalled ? ', one in the last minute' : ''}` : '', time(playback?.startup), time(playback?.latency), time(playback?.buffer), bitrate(playback?.bitrate) ?? '',
  ]
}

export const columns = ['Watching for', 'From', 'Rendition', 'Stalls', 'Startup', 'Latency', 'Buffer', 'Bitrate']
