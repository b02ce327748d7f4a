// What a node reports of its machine. Systems other than Linux do not tell everything.

import { bytes } from './format'

export interface Used {
  used: number // 0 is unknown, but for the spool
  limit: number // 0 is unknown
}

export interface Ticks {
  cores: number
  busy: number // of all cores, since the machine's start
  total: number
}

/** The answer of /_millrace/server. Sizes are in bytes, transcoding in ladders of 720p30. */
export interface Server {
  node: string
  version: string
  startTime: string
  streams: number
  viewers: number
  cpu: Ticks
  memory: Used
  descriptors: Used
  mediaFiles: Used
  mediaBytes: number
  disk: Used
  spool: Used & { lagSeconds: number }
  transcode: Used & { reason?: string }
  quotas: { name: string; limit: number; setting: string }[]
}

/** The share of time in which the cores were busy between two reports; undefined where that is unknown. */
export function busyShare(before: Ticks | undefined, now: Ticks): number | undefined {
  const total = before ? now.total - before.total : 0
  if (!before || total <= 0) return undefined
  return Math.min(Math.max((now.busy - before.busy) / total, 0), 1)
}

/** "1.2 GB of 8.0 GB". */
export function sizeWords({ used, limit }: Used): string {
  return [bytes(used) ?? 'unknown', bytes(limit)].filter(Boolean).join(' of ')
}

/** "37 of 1024". */
export function countWords({ used, limit }: Used): string {
  return [used || 'unknown', limit].filter(Boolean).join(' of ')
}
