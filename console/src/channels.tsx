// The list of channels on the left.

import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { byId, setText } from './dom'
import { label, type Listed } from './ivs'
import { inOrder, type Order } from './order'

export const healthWords: Record<string, string> = {
  HEALTHY: 'Healthy',
  STARVING: 'Starving',
  UNKNOWN: 'Health unknown',
}

/** With more channels than this, they can be filtered. */
const few = 10

/** At most this many rows have a thumbnail: each is a request every few seconds. */
const maxThumbnails = 30

/** At most this many rows are listed; the filter finds the others. */
const maxRows = 200

/** So many rows are made at once: more than a screen has. */
const rowsAtOnce = 40

/** Shows the channels that the filter lets through, and their number where these are all; choose is called with the ARN of the one that is clicked. */
export function showChannels(listed: Listed[], complete: boolean, chosen: string | undefined, choose: (arn: string) => void) {
  const live = listed.filter((item) => item.stream).length
  const found = inOrder(filtered(listed), byId<HTMLSelectElement>('order').value as Order)
  const more = found.length - maxRows
  setText(byId('channel-count'), listed.length && complete ? `${live} of ${listed.length} live` : '')
  byId('no-channels').hidden = listed.length > 0 || !complete
  byId('filter-line').hidden = listed.length <= few
  byId('order-line').hidden = listed.length < 2
  setText(byId('more-channels'), !found.length && listed.length ? 'No channel matches.' : more > 0 ? `and ${more} more` : '')
  render(<Rows items={found.slice(0, maxRows)} chosen={chosen} choose={choose} />, byId('channel-list'))
}

/** The first rows at once, and the others when those are shown. */
function Rows({ items, chosen, choose }: { items: Listed[]; chosen?: string; choose: (arn: string) => void }) {
  const [made, setMade] = useState(rowsAtOnce)
  useEffect(() => {
    if (made < items.length) setMade(made + rowsAtOnce)
  }, [made, items.length])
  return <>{items.slice(0, made).map((item) => <Row key={item.arn} item={item} chosen={item.arn === chosen} choose={() => choose(item.arn)} />)}</>
}

/** The thumbnail is drawn by showThumbnails. BASIC channels are not decoded and have none. */
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

function filtered(listed: Listed[]): Listed[] {
  const sought = byId<HTMLInputElement>('filter').value.trim().toLowerCase()
  return listed.length > few ? listed.filter(({ channel, stream }) => `${label(channel)} ${state(stream)}`.toLowerCase().includes(sought)) : listed
}

/** "Healthy · 3 viewers" or "Offline". */
function state(stream: Listed['stream']): string {
  return stream ? `${healthWords[stream.health ?? ''] ?? ''} · ${viewers(stream.viewerCount).join(' ')}` : 'Offline'
}

/** Draws the latest thumbnail of each live channel, one after the other. */
export async function showThumbnails(thumbnail: (arn: string) => Promise<ImageBitmap | undefined>) {
  const rows = [...byId('channel-list').querySelectorAll<HTMLElement>('li:has(canvas)')]
  for (const row of rows.slice(0, maxThumbnails)) {
    const bitmap = await thumbnail(row.dataset.key ?? '').catch(() => undefined) // the list reports a server that does not answer
    const canvas = row.querySelector('canvas')
    if (canvas) canvas.hidden = !bitmap
    if (!bitmap || !canvas) continue
    canvas.width = bitmap.width
    canvas.height = bitmap.height
    canvas.getContext('2d')?.drawImage(bitmap, 0, 0)
    bitmap.close()
  }
}

/** "1" and "viewer", "12" and "viewers"; -1 is the API's value for an unknown number. */
export function viewers(count = 0): [count: string, word: string] {
  return [count < 0 ? '?' : String(count), count === 1 ? 'viewer' : 'viewers']
}
