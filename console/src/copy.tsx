import { useEffect, useState } from 'preact/hooks'
import type { ComponentChildren } from 'preact'

const announcedMs = 1500

/** A button that copies text to the clipboard, and announces that, also to screen readers. text may have to be fetched; '' is not copied. */
export function CopyButton({ text, children = 'Copy', ...rest }: { text: string | (() => Promise<string>); children?: ComponentChildren; id?: string; 'aria-label': string; 'data-copy'?: string }) {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), announcedMs)
    return () => clearTimeout(timer)
  }, [copied])

  async function press() {
    const found = typeof text === 'string' ? text : await text()
    if (!found) return
    await copy(found)
    setCopied(true)
  }
  return <>
    <button type="button" class="plain" onClick={() => void press()} {...rest}>{children}</button>
    <span role="status" class="copied">{copied && 'Copied'}</span>
  </>
}

async function copy(text: string) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    copyBySelection(text) // no clipboard API without TLS
  }
}

function copyBySelection(text: string) {
  const focused = document.activeElement as HTMLElement | null
  const area = document.createElement('textarea')
  area.value = text
  area.className = 'off-screen'
  const within = focused?.closest('dialog') ?? document.body // all else is inert beside an open dialog
  within.append(area)
  area.select()
  document.execCommand('copy')
  area.remove()
  focused?.focus()
}
