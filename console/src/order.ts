// The orders in which channels can be listed.

import { label, type Listed } from './ivs'

export type Order = 'live' | 'name' | 'viewers' | 'trouble'

const orders: Record<Order, (a: Listed, b: Listed) => number> = {
  live: (a, b) => Number(!!b.stream) - Number(!!a.stream),
  name: () => 0,
  viewers: (a, b) => viewersOf(b) - viewersOf(a),
  trouble: byTrouble,
}

/** Channels in an order; those that are equal in it, by name. */
export function inOrder(listed: Listed[], order: Order): Listed[] {
  return [...listed].sort((a, b) => orders[order](a, b) || label(a.channel).localeCompare(label(b.channel), undefined, { numeric: true }))
}

/** Streams that starve first, then by viewers; channels that are offline last. */
export function byTrouble(a: Listed, b: Listed): number {
  return Number(b.stream?.health === 'STARVING') - Number(a.stream?.health === 'STARVING') || viewersOf(b) - viewersOf(a)
}

/** The number of viewers; below those of any stream where there is none. */
function viewersOf({ stream }: Listed): number {
  return stream ? stream.viewerCount ?? 0 : -2
}

export interface PageOf<T> {
  items: T[]
  page: number // from 0 on
  pages: number
  first: number // the number of items on the pages before
}

/** One of the pages of a list: the last one, where the list has become shorter than what is wanted. */
export function pageOf<T>(all: T[], wanted: number, size: number): PageOf<T> {
  const pages = Math.max(Math.ceil(all.length / size), 1)
  const page = Math.min(wanted, pages - 1)
  return { items: all.slice(page * size, (page + 1) * size), page, pages, first: page * size }
}
