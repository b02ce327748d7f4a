// Publishing from a phone, whose apps take server and stream key as one URL: to copy, or
// as a QR code. Both have the key, a secret, and are shown only when that is asked for.

import { useState } from 'preact/hooks'
import { CopyButton } from './copy'
import { Dialog, open } from './ui'

/** key returns the stream key, '' where there is none or the user has been told why not. */
export function openPhone(server: string, key: () => Promise<string>) {
  open((close) => <Phone server={server} theKey={key} close={close} />)
}

function Phone({ server, theKey, close }: { server: string; theKey: () => Promise<string>; close: () => void }) {
  const [shown, setShown] = useState<{ url: string; code?: Code }>()
  const [problem, setProblem] = useState('')
  const code = shown?.code

  /** The URL, or '' if there is no key. */
  async function theUrl(): Promise<string> {
    const key = await theKey()
    setProblem(key ? '' : 'The channel has no stream key, or it could not be read.')
    return key && server + key
  }

  async function show() {
    const url = await theUrl()
    if (!url) return
    const code = await codeOf(url)
    if (!code) setProblem('The QR code cannot be loaded: the server does not answer.')
    setShown({ url, code })
  }

  function hide() {
    setProblem('')
    setShown(undefined)
  }

  return <Dialog close={close} title="Publish from a phone">
    <p>Apps such as Larix Broadcaster take server and stream key as one URL. The key is a secret: whoever has it can publish to this channel.</p>
    <p class="field"><span>URL</span><code id="phone-url">{shown?.url ?? `${server}••••••••••••`}</code> <CopyButton id="copy-phone-url" text={theUrl} aria-label="Copy the URL with the key" /></p>
    {code && <svg id="phone-code" class="qr" viewBox={`0 0 ${code.size} ${code.size}`} role="img" aria-label="QR code of the URL">
      <rect width={code.size} height={code.size} fill="#fff" /><path d={code.path} fill="#000" shape-rendering="crispEdges" />
    </svg>}
    <p role="alert" class="wrong">{problem}</p>
    <div class="dialog-buttons">
      <button id="show-phone-code" type="button" class="plain" onClick={() => shown ? hide() : void show()}>{shown ? 'Hide the key' : 'Show the key and its QR code'}</button>
      <button type="button" class="plain" onClick={close}>Close</button>
    </div>
  </Dialog>
}

interface Code { path: string; size: number }

/** The QR code of a text; undefined if what makes it cannot be loaded. */
export async function codeOf(text: string, load = () => import('uqr')): Promise<Code | undefined> {
  const uqr = await load().catch(() => undefined)
  if (!uqr) return undefined
  const { data, size } = uqr.encode(text, { ecc: 'M', border: 4 })
  return { path: squares(data), size }
}

/** The dark squares of a QR code as a path of SVG. */
export function squares(rows: boolean[][]): string {
  return rows.map((row, y) => row.map((dark, x) => dark ? `M${x} ${y}h1v1h-1z` : '').join('')).join('')
}
