// The page's elements. Everything that came from the network goes in as text,
// never as markup.

/** The element of the page with this id. dom.test.ts holds that there is one. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const el = document.getElementById(id)
  if (!el) throw new Error(`The page has no element with the id ${id}`)
  return el as T
}

/** Sets the text only where it changes, so that a selection in it stays. */
export function setText(el: Element, text: string) {
  if (el.textContent !== text) el.textContent = text
}

/** A copy of the first element in a template of index.html. */
export function stamp(template: string): HTMLElement {
  return byId<HTMLTemplateElement>(template).content.firstElementChild!.cloneNode(true) as HTMLElement
}

export function find<T extends HTMLElement = HTMLElement>(in_: Element, selector: string): T {
  return in_.querySelector(selector) as T
}

/** Fills a list of terms and values; empty values are left out. */
export function fillFacts(dl: HTMLElement, facts: [term: string, value: string | undefined][]) {
  const shown = facts.filter(([, value]) => value)
  if (dl.childElementCount !== shown.length) {
    dl.replaceChildren(...shown.map(() => {
      const row = document.createElement('div')
      row.append(document.createElement('dt'), document.createElement('dd'))
      return row
    }))
  }
  shown.forEach(([term, value], i) => {
    setText(dl.children[i]!.children[0]!, term)
    setText(dl.children[i]!.children[1]!, value!)
  })
}

/** Copies text to the clipboard and announces that, also to screen readers. */
export async function copy(text: string) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    copyBySelection(text) // no clipboard API without TLS
  }
  const note = byId('copied')
  setText(note, 'Copied')
  setTimeout(() => setText(note, ''), 1500)
}

function copyBySelection(text: string) {
  const focused = document.activeElement as HTMLElement | null
  const area = document.createElement('textarea')
  area.value = text
  area.className = 'off-screen'
  document.body.append(area)
  area.select()
  document.execCommand('copy')
  area.remove()
  focused?.focus()
}

/** Makes each button with data-copy copy the text of the element it names. */
export function wireCopyButtons() {
  document.addEventListener('click', (event) => {
    const id = (event.target as Element).closest<HTMLElement>('[data-copy]')?.dataset.copy
    if (id) void copy(byId(id).textContent ?? '')
  })
}
