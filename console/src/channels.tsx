// The list of channels on the left.

import { useEffect, useRef, useState } from 'preact/hooks'
import { label, type Listed } from './ivs'
import type { Millrace } from './millrace'
import { inOrder, type Order } from './order'
import { poll } from './poll'

export const healthWords: Record<string, string> = {
  HEALTHY: 'Healthy',
  STARVING: 'Starving',
  UNKNOWN: 'Health unknown',
}

/** With more channels than this, they can be filtered. */
const few = 10

/** At most this many rows have a thumbnail: each is a request every few seconds. */
const maxThumbnails = 30
const thumbnailsMs = 5000

/** At most this many rows are listed; the filter finds the others. */
const maxRows = 200

/** So many rows are made at once: more than a screen has. */
const rowsAtOnce = 40

/** What the list shows, which stays as the user goes from view to view. */
export interface Listing {
  sought: string
  order: Order
}

export const usualListing: Listing = { sought: '', order: 'live' }

const orders: [Order, string][] = [['live', 'live first'], ['name', 'by name'], ['viewers', 'by viewers'], ['trouble', 'starving first']]

/** complete says that listed are all channels. choose is called with the ARN of the one that is clicked, create for a new one. */
export function ChannelList({ millrace, listed, complete, chosen, choose, create, listing, setListing }: {
  millrace: Millrace; listed: Listed[]; complete: boolean; chosen?: string; choose: (arn: string) => void; create: () => void; listing: Listing; setListing: (listing: Listing) => void
}) {
  const { sought, order } = listing
  const list = useThumbnails(millrace)
  const live = listed.filter((item) => item.stream).length
  const found = inOrder(filtered(listed, sought), order)
  const more = found.length - maxRows
  return <nav id="channels" aria-labelledby="channels-title">
    <h2 id="channels-title">Channels <span id="channel-count" class="quiet">{listed.length > 0 && complete && `${live} of ${listed.length} live`}</span></h2>
    <button id="new-channel" type="button" class="plain" onClick={create}>New channel…</button>
    {listed.length > few && <p><label class="off-screen" for="filter">Filter the channels by name or state</label>
      <input id="filter" type="search" placeholder="Filter" autocomplete="off" spellcheck={false} aria-controls="channel-list" value={sought} onInput={(event) => setListing({ order, sought: event.currentTarget.value })} /></p>}
    {listed.length > 1 && <p id="order-line"><label for="order" class="quiet">Order</label>{' '}
      <select id="order" aria-controls="channel-list" value={order} onChange={(event) => setListing({ sought, order: event.currentTarget.value as Order })}>
        {orders.map(([value, title]) => <option key={value} value={value}>{title}</option>)}
      </select></p>}
    <ul id="channel-list" ref={list}><Rows items={found.slice(0, maxRows)} chosen={chosen} choose={choose} /></ul>
    <p id="more-channels" class="quiet" role="status">{!found.length && listed.length ? 'No channel matches.' : more > 0 && `and ${more} more`}</p>
    {complete && !listed.length && <p id="no-channels" class="quiet">No channels yet: create one with “New channel…”.</p>}
  </nav>
}

/** The first rows at once, and the others when those are shown. */
function Rows({ items, chosen, choose }: { items: Listed[]; chosen?: string; choose: (arn: string) => void }) {
  const [made, setMade] = useState(rowsAtOnce)
  useEffect(() => {
    if (made < items.length) setMade(made + rowsAtOnce)
  }, [made, items.length])
  return <>{items.slice(0, made).map((item) => <Row key={item.arn} item={item} chosen={item.arn === chosen} choose={() => choose(item.arn)} />)}</>
}

/** The thumbnail is drawn by useThumbnails. BASIC channels are not decoded and have none. */
function Row({ item: { arn, channel, stream }, chosen, choose }: { item: Listed; chosen: boolean; choose: () => void }) {
  return <li data-key={arn} data-state={stream ? 'live' : 'offline'} data-health={stream?.health ?? ''}>
    <button type="button" class="row" aria-current={chosen ? 'true' : undefined} onClick={choose}>
      <span class="dot" aria-hidden="true" />
      <span class="row-name">{label(channel)}</span>
      <span class="row-state quiet">{state(stream)}</span>
      {stream && channel.type !== 'BASIC' && <canvas class="row-thumbnail" aria-hidden="true" hidden />}
    </button>
  </li>
}

function filtered(listed: Listed[], sought: string): Listed[] {
  const wanted = sought.trim().toLowerCase()
  return listed.length > few ? listed.filter(({ channel, stream }) => `${label(channel)} ${state(stream)}`.toLowerCase().includes(wanted)) : listed
}

/** "Healthy · 3 viewers" or "Offline". */
function state(stream: Listed['stream']): string {
  return stream ? `${healthWords[stream.health ?? ''] ?? ''} · ${viewers(stream.viewerCount).join(' ')}` : 'Offline'
}

/** Draws the latest thumbnail of each live channel of a list, one after the other, again and again. */
function useThumbnails(millrace: Millrace) {
  const list = useRef<HTMLUListElement>(null)
  useEffect(() => poll(thumbnailsMs, async () => {
    const rows = [...list.current?.querySelectorAll<HTMLElement>('li:has(canvas)') ?? []]
    for (const row of rows.slice(0, maxThumbnails)) {
      const bitmap = await millrace.thumbnail(row.dataset.key ?? '').catch(() => undefined) // the list reports a server that does not answer
      const canvas = row.querySelector('canvas')
      if (canvas) canvas.hidden = !bitmap
      if (canvas && bitmap) draw(bitmap, canvas)
      bitmap?.close()
    }
  }).stop, [])
  return list
}

export function draw(bitmap: ImageBitmap, canvas: HTMLCanvasElement) {
  canvas.width = bitmap.width
  canvas.height = bitmap.height
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0)
}

/** "1" and "viewer", "12" and "viewers"; -1 is the API's value for an unknown number. */
export function viewers(count = 0): [count: string, word: string] {
  return [count < 0 ? '?' : String(count), count === 1 ? 'viewer' : 'viewers']
}
