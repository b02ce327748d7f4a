// What the views and dialogs are made of.

import { render, type ComponentChildren } from 'preact'
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { CopyButton } from './copy'
import { explain, label, type Named } from './ivs'
import type { PageOf } from './order'
import { poll } from './poll'

let dialogs: HTMLElement | undefined // what they are rendered into
let opened = 0 // so many of them

/** Shows a dialog in place of the one that is open; close removes it, and none that was opened later. */
export function open(dialog: (close: () => void) => ComponentChildren) {
  const root = dialogs ??= document.body.appendChild(document.createElement('div'))
  const mine = ++opened
  render(dialog(() => {
    if (mine === opened) render(null, root)
  }), root)
}

export function Dialog({ close, title, children }: { close: () => void; title: string; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const opener = useRef<HTMLElement>(null)
  useLayoutEffect(() => { // before the next key
    opener.current = document.activeElement as HTMLElement | null
    dialog.current?.showModal()
  }, [])
  useEffect(() => () => {
    if (document.activeElement !== document.body) return // it has been given to something else
    if (opener.current?.checkVisibility()) opener.current.focus()
    else focusHeading()
  }, [])
  return <dialog ref={dialog} onClose={close} aria-labelledby="dialog-title">
    <h2 id="dialog-title">{title}</h2>
    {children}
  </dialog>
}

/** Focuses the heading of the view, for what follows something that may have gone. */
export function focusHeading() {
  document.querySelector('h1')?.focus()
}

/** Runs one task at a time. If it fails, the form keeps its content, its button the focus, and the reason is shown. */
export function useTask(close: () => void) {
  const [busy, setBusy] = useState(false)
  const running = useRef(false)
  const [problem, setProblem] = useState('')
  async function run(task: () => Promise<void>) {
    if (running.current) return
    running.current = true
    setBusy(true)
    setProblem('')
    try {
      await task()
      close()
    } catch (err) {
      setProblem(explain(err).text)
    }
    running.current = false
    setBusy(false)
  }
  return { busy, problem, setProblem, run }
}

export function Confirm({ close, title, act, id, keep = 'Cancel', run, children }: { close: () => void; title: string; act: string; id?: string; keep?: string; run: () => Promise<void>; children: ComponentChildren }) {
  const shown = useRef(true)
  useLayoutEffect(() => () => {
    shown.current = false
  }, [])
  const task = useTask(() => {
    if (!shown.current) return // the user has gone on to something else
    close()
    focusHeading() // the button that opened it goes with what it was for
  })
  return <Dialog close={close} title={title}>
    <p>{children}</p>
    <p role="alert" class="wrong">{task.problem}</p>
    <div class="dialog-buttons">
      <button type="button" class="plain" autofocus onClick={close}>{keep}</button>
      <button id={id} type="button" class="danger" aria-disabled={task.busy} onClick={() => void task.run(run)}>{act}</button>
    </div>
  </Dialog>
}

export type Choices = readonly (readonly [value: string, label: string, meaning: string])[]

export function Choice({ legend, name, choices, value, choose }: { legend: string; name: string; choices: Choices; value: string; choose: (value: string) => void }) {
  return <fieldset>
    <legend>{legend}</legend>
    {choices.map(([id, title, meaning]) => <label class="choice" key={id}>
      <input type="radio" name={name} value={id} checked={value === id} onChange={() => choose(id)} />
      <span><b>{title}</b> <small class="quiet">{meaning}</small></span>
    </label>)}
  </fieldset>
}

export function Check({ name, label: title, meaning, value, change }: { name: string; label: string; meaning: string; value: boolean; change: (value: boolean) => void }) {
  return <label class="choice">
    <input type="checkbox" name={name} checked={value} onChange={(event) => change(event.currentTarget.checked)} />
    <span><b>{title}</b> <small class="quiet">{meaning}</small></span>
  </label>
}

export function Pick({ label: title, name, none, from, value, choose }: { label: string; name: string; none: string; from: Loaded<Named[]>; value: string; choose: (value: string) => void }) {
  const items = from.data ?? []
  const known = items.some(({ arn }) => arn === value) || !value // the choice stays where the list is not there
  return <><label>{title}
    <select name={name} value={value} onChange={(event) => choose(event.currentTarget.value)}>
      <option value="">{none}</option>
      {!known && <option value={value}>{label({ arn: value })}</option>}
      {items.map((item) => <option key={item.arn} value={item.arn}>{label(item)}</option>)}
    </select></label>
    {from.problem && <p role="alert" class="wrong">The list cannot be loaded: {from.problem}</p>}</>
}

export interface Loaded<T> {
  data?: T
  problem: string
  refused: boolean // the server does not accept the credentials
  again: () => void // loads it at once
}

/** Loads something now and every ms while it is shown and the page is visible, and anew when deps change. */
export function useLoad<T>(load: () => Promise<T>, ms: number, deps: unknown[] = []): Loaded<T> {
  const [state, setState] = useState<{ data?: T; problem: string; refused: boolean }>({ problem: '', refused: false })
  const again = useRef(() => {})
  const latest = useRef(load)
  latest.current = load
  useEffect(() => {
    let shown = true
    const polling = poll(ms, async () => {
      try {
        const data = await latest.current()
        if (shown) setState({ data, problem: '', refused: false })
      } catch (err) {
        const { text, refused, passing } = explain(err)
        if (shown) setState(({ data }) => ({ data, problem: passing ? `${text} Trying again every ${ms / 1000} seconds.` : text, refused }))
      }
    })
    again.current = polling.now
    return () => {
      shown = false
      polling.stop()
    }
  }, deps)
  return { ...state, again: useCallback(() => again.current(), []) }
}

/** A card of a view: a heading, buttons beside it, and what it holds. */
export function Card({ title, id, buttons, children }: { title: string; id: string; buttons?: ComponentChildren; children: ComponentChildren }) {
  return <section class="card" id={id} aria-labelledby={`${id}-title`}>
    <div class="card-head"><h2 id={`${id}-title`}>{title}</h2>{buttons && <span class="card-buttons">{buttons}</span>}</div>
    {children}
  </section>
}

/** The buttons at the foot of a form. */
export function FormButtons({ act, busy, incomplete, cancel }: { act: string; busy: boolean; incomplete?: boolean; cancel: () => void }) {
  return <div class="dialog-buttons">
    <button type="button" class="plain" onClick={cancel}>Cancel</button>
    <button type="submit" disabled={incomplete} aria-disabled={busy}>{act}</button>
  </div>
}

/** A line of text to fill in. */
export function Field({ name, label: title, hint, value, change, type, ...rest }: {
  name: string; label: string; hint?: string; value: string; change: (value: string) => void
  type?: 'number'; min?: number; max?: number; maxLength?: number; pattern?: string; title?: string; required?: boolean; autofocus?: boolean; placeholder?: string
}) {
  return <label>{title} {hint && <small class="quiet">{hint}</small>}
    <input name={name} type={type as 'text'} value={value} autocomplete="off" spellcheck={false} {...rest} onInput={(event) => change(event.currentTarget.value)} /></label>
}

/** Several lines of text to fill in. */
export function Lines({ name, label: title, hint, value, change, rows = 2 }: { name: string; label: string; hint?: string; value: string; change: (value: string) => void; rows?: number }) {
  return <label>{title} {hint && <small class="quiet">{hint}</small>}
    <textarea name={name} rows={rows} spellcheck={false} value={value} onInput={(event) => change(event.currentTarget.value)} /></label>
}

/** The name of a resource. */
export function NameField({ value, change }: { value: string; change: (value: string) => void }) {
  return <Field name="name" label="Name" value={value} change={change} maxLength={128} pattern="[a-zA-Z0-9_\-]*" title="letters, digits, - and _" autofocus />
}

/** Tags, as lines of key=value. */
export function TagsField({ value, change }: { value: string; change: (value: string) => void }) {
  return <Lines name="tags" label="Tags" hint="key=value, one per line" value={value} change={change} />
}

/** A text that can be copied. */
export function Copyable({ text, name, secret }: { text: string; name: string; secret?: boolean }) {
  return <div class="copyable">
    <pre tabindex={0} aria-label={name} data-secret={secret}>{text}</pre>
    <CopyButton text={text} aria-label={`Copy: ${name}`} />
  </div>
}

/** Goes through a list page by page. A button keeps the focus where there is no further page. */
export function Pages({ id, page: { items, page, pages, first }, of, what = '', go }: { id?: string; page: PageOf<unknown>; of: number; what?: string; go: (page: number) => void }) {
  if (pages < 2) return null
  const turn = (title: string, to: number) => {
    const end = to < 0 || to >= pages
    return <button type="button" class="plain" aria-disabled={end} onClick={() => end || go(to)}>{title}{what && ` ${what}`}</button>
  }
  return <p class="pages" id={id}>
    {turn('Previous', page - 1)}
    <span role="status">{first + 1} to {first + items.length} of {of}</span>
    {turn('Next', page + 1)}
  </p>
}

/** Saves text as a file of the browser. */
export function saveFile(name: string, text: string, type = 'text/plain') {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
