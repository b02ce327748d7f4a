// Actions on a live stream: metadata, ad breaks, faults.

import { useState } from 'preact/hooks'
import { explain, type Ivs } from './ivs'
import type { Millrace } from './millrace'
import { openViewers } from './viewer-dialog'

/** The most bytes (UTF-8) that PutMetadata takes. */
const maxMetadata = 1024

const breaks = [15, 30, 60, 90, 120]

/** For how long a fault can be injected, in seconds; the server takes an hour at most. */
const faultLengths = [5, 10, 20, 60, 300, 1800, 3600]

const faults: Record<string, string> = {
  starvation: 'Starvation',
  'ingest-cut': 'Encoder disconnects',
  'bitrate-limit': 'Bit rate over limit',
  'resolution-limit': 'Resolution over limit',
  'transcode-failure': 'Transcoding fails',
  'bucket-slow': 'Recording bucket is slow',
  'bucket-fail': 'Recording bucket fails',
}

export function Actions({ ivs, millrace, arn, faultsOn }: { ivs: Ivs; millrace: Millrace; arn: string; faultsOn: boolean }) {
  const [text, setText] = useState('')
  const [said, setSaid] = useState({ text: '', failed: false })
  const bytes = new TextEncoder().encode(text).length
  const sendable = bytes > 0 && bytes <= maxMetadata

  async function act(task: Promise<unknown>, done: string): Promise<boolean> {
    try {
      await task
      setSaid({ text: done, failed: false })
      return true
    } catch (err) {
      setSaid({ text: explain(err).text, failed: true })
      return false
    }
  }

  async function send(event: Event) {
    event.preventDefault()
    if (sendable && (await act(ivs.putMetadata(arn, text), 'Metadata sent.'))) setText('')
  }

  return <>
    <form class="inline" onSubmit={(event) => void send(event)}>
      <label class="grow">Timed metadata <small class="quiet">{bytes} of {maxMetadata} bytes</small>
        <input id="metadata" value={text} autocomplete="off" onInput={(event) => setText(event.currentTarget.value)} /></label>
      <button type="submit" class="plain" aria-disabled={!sendable}>Send</button>
    </form>
    <form class="inline" onSubmit={(event) => {
      event.preventDefault()
      const seconds = Number(new FormData(event.currentTarget).get('seconds'))
      void act(ivs.insertAdBreak(arn, seconds), `An ad break of ${seconds} s has started.`)
    }}>
      <label class="grow">Ad break
        <select name="seconds">{breaks.map((s) => <option key={s} value={s}>{s} seconds</option>)}</select></label>
      <button type="submit" class="plain">Insert</button>
    </form>
    {faultsOn && <form class="inline" onSubmit={(event) => {
      event.preventDefault()
      const form = new FormData(event.currentTarget)
      const fault = String(form.get('fault'))
      const length = Number(form.get('length'))
      void act(millrace.fault(arn, fault, length), `Fault requested for ${lengthWords(length)}: ${faults[fault]}.`)
    }}>
      <label class="grow">Fault
        <select name="fault">{Object.entries(faults).map(([name, meaning]) => <option key={name} value={name}>{meaning}</option>)}</select></label>
      <label>For
        <select name="length">{faultLengths.map((s) => <option key={s} value={s} selected={s === 20}>{lengthWords(s)}</option>)}</select></label>
      <button type="submit" class="plain danger">Inject</button>
    </form>}
    <button id="show-viewers" type="button" class="plain" onClick={() => openViewers(ivs, millrace, arn)}>Viewer sessions…</button>
    <p role="status" class={said.failed ? 'wrong' : 'quiet'}>{said.text}</p>
  </>
}

/** "20 s", "5 min", "1 h". */
function lengthWords(s: number): string {
  return s < 60 ? `${s} s` : s < 3600 ? `${s / 60} min` : `${s / 3600} h`
}
