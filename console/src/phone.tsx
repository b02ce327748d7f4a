// Publishing from a phone, whose apps take server and stream key as one URL: to copy, or
// as a QR code. Both have the key, a secret, and are shown only when that is asked for.

import { useState } from 'preact/hooks'
import { copy } from './dom'
import { Dialog, open } from './ui'

/** key returns the stream key, '' or undefined where there is none or the user has been told why not. */
export function openPhone(server: string, key: () => Promise<string | undefined>) {
  open((close) => <Phone server={server} theKey={key} close={close} />)
}

function Phone({ server, theKey, close }: { server: string; theKey: () => Promise<string | undefined>; close: () => void }) {
  const [shown, setShown] = useState<{ url: string; code: string; size: number }>()
  const [problem, setProblem] = useState('')

  async function withUrl(use: (url: string) => Promise<void>) {
    const key = await theKey()
    setProblem(key ? '' : 'The channel has no stream key, or it could not be read.')
    if (key) await use(server + key)
  }

  async function show(url: string) {
    const { encode } = await import('uqr')
    const { data, size } = encode(url, { ecc: 'M', border: 4 })
    setShown({ url, code: squares(data), size })
  }

  return <Dialog close={close} title="Publish from a phone">
    <p>Apps such as Larix Broadcaster take server and stream key as one URL. The key is a secret: whoever has it can publish to this channel.</p>
    <p class="field"><span>URL</span><code id="phone-url">{shown?.url ?? `${server}••••••••••••`}</code> <button id="copy-phone-url" type="button" class="plain" aria-label="Copy the URL with the key" onClick={() => void withUrl(copy)}>Copy</button></p>
    {shown && <svg id="phone-code" class="qr" viewBox={`0 0 ${shown.size} ${shown.size}`} role="img" aria-label="QR code of the URL">
      <rect width={shown.size} height={shown.size} fill="#fff" /><path d={shown.code} fill="#000" shape-rendering="crispEdges" />
    </svg>}
    <p role="alert" class="wrong">{problem}</p>
    <div class="dialog-buttons">
      <button id="show-phone-code" type="button" class="plain" aria-pressed={!!shown} onClick={() => shown ? setShown(undefined) : void withUrl(show)}>{shown ? 'Hide the key' : 'Show the key and its QR code'}</button>
      <button type="button" class="plain" onClick={close}>Close</button>
    </div>
  </Dialog>
}

/** The dark squares of a QR code as a path of SVG. */
export function squares(rows: boolean[][]): string {
  return rows.map((row, y) => row.map((dark, x) => dark ? `M${x} ${y}h1v1h-1z` : '').join('')).join('')
}
