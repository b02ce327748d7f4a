// The list of channels on the left.

import { byId, find, reconcile, setText, stamp } from './dom'
import { label, type Listed } from './ivs'

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

/** Shows the channels that the filter lets through, and their number where these are all; choose is called with the ARN of the one that is clicked. */
export function showChannels(listed: Listed[], complete: boolean, chosen: string | undefined, choose: (arn: string) => void) {
  const live = listed.filter((item) => item.stream).length
  const found = filtered(listed)
  const more = found.length - maxRows
  setText(byId('channel-count'), listed.length && complete ? `${live} of ${listed.length} live` : '')
  byId('no-channels').hidden = listed.length > 0 || !complete
  byId('filter-line').hidden = listed.length <= few
  setText(byId('more-channels'), !found.length && listed.length ? 'No channel matches.' : more > 0 ? `and ${more} more` : '')
  reconcile(byId('channel-list'), found.slice(0, maxRows), (item) => item.arn, (item) => {
    const row = stamp('channel-row')
    find(row, 'button').addEventListener('click', () => choose(item.arn))
    return row
  }, (row, item) => showRow(row, item, item.arn === chosen))
}

function filtered(listed: Listed[]): Listed[] {
  const sought = byId<HTMLInputElement>('filter').value.trim().toLowerCase()
  return listed.length > few ? listed.filter(({ channel, stream }) => `${label(channel)} ${state(stream)}`.toLowerCase().includes(sought)) : listed
}

/** "Healthy · 3 viewers" or "Offline". */
function state(stream: Listed['stream']): string {
  return stream ? `${healthWords[stream.health ?? ''] ?? ''} · ${viewers(stream.viewerCount).join(' ')}` : 'Offline'
}

/** Draws the latest thumbnail of each live channel, one after the other. BASIC channels are not decoded and have none. */
export async function showThumbnails(thumbnail: (arn: string) => Promise<ImageBitmap | undefined>) {
  const rows = [...byId('channel-list').querySelectorAll<HTMLElement>('[data-state=live][data-thumbnails=true]')]
  for (const row of rows.slice(0, maxThumbnails)) {
    const bitmap = await thumbnail(row.dataset.key ?? '').catch(() => undefined) // the list reports a server that does not answer
    const canvas = find<HTMLCanvasElement>(row, 'canvas')
    canvas.hidden = !bitmap || row.dataset.state !== 'live'
    if (!bitmap) continue
    canvas.width = bitmap.width
    canvas.height = bitmap.height
    canvas.getContext('2d')?.drawImage(bitmap, 0, 0)
    bitmap.close()
  }
}

function showRow(row: HTMLElement, { channel, stream }: Listed, chosen: boolean) {
  const button = find(row, 'button')
  row.dataset.state = stream ? 'live' : 'offline'
  row.dataset.health = stream?.health ?? ''
  row.dataset.thumbnails = String(channel.type !== 'BASIC')
  if (!stream) find(row, 'canvas').hidden = true
  if (chosen) button.setAttribute('aria-current', 'true')
  else button.removeAttribute('aria-current')
  setText(find(row, '.row-name'), label(channel))
  setText(find(row, '.row-state'), state(stream))
}

/** "1" and "viewer", "12" and "viewers"; -1 is the API's value for an unknown number. */
export function viewers(count = 0): [count: string, word: string] {
  return [count < 0 ? '?' : String(count), count === 1 ? 'viewer' : 'viewers']
}
