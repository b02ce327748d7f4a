import { expect, test } from 'vitest'
import index from '../index.html?raw'
import watch from '../watch.html?raw'

const sources = import.meta.glob<string>(['./*.ts', './*.tsx', '!./*.test.ts'], { query: '?raw', import: 'default', eager: true })

/** The ids that a source looks up: the strings in calls of a function. */
function lookedUp(source: string, name: string): string[] {
  return [...source.matchAll(new RegExp(`\\b${name}(?:<\\w+>)?\\(([^()]*)\\)`, 'g'))].flatMap(([, argument = '']) => strings(argument))
}

function strings(text: string): string[] {
  return [...text.matchAll(/'([a-z][\w-]*)'/g)].map(([, id = '']) => id)
}

/** The ids of elements that a page has, or that a source makes. */
function ids(text: string): string[] {
  return [...text.matchAll(/\bid="([\w-]+)"/g)].map(([, id = '']) => id)
}

test('every id that is looked up exists', () => {
  const made = Object.values(sources).flatMap(ids)
  const known = new Set([...ids(index), ...made])
  const missing: string[] = []
  let found = 0
  for (const [file, source] of Object.entries(sources)) {
    const viewers = file === './watch.ts'
    const wanted = viewers ? lookedUp(source, 'find') : lookedUp(source, '(?:byId|stamp|showSeconds)')
    found += wanted.length
    const page = viewers ? new Set(ids(watch)) : known
    missing.push(...wanted.filter((id) => !page.has(id)).map((id) => `${file}: ${id}`))
  }
  expect(missing).toEqual([])
  expect(found).toBeGreaterThan(100)
})

test('elements have the types that are asserted', () => {
  const tags = (text: string) => [...text.matchAll(/<(\w+)\b[^<>]*?\bid="([\w-]+)"/g)].map(([, tag = '', id = '']): [string, string] => [id, tag])
  const made = Object.values(sources).flatMap(tags)
  const consoles = new Map([...made, ...tags(index)])
  const asserted = Object.entries(sources).flatMap(([file, source]) =>
    [...source.matchAll(/\b(?:byId|find)<HTML(\w+)Element>\('([\w-]+)'\)/g)].map(([, type = '', id = '']) => ({ file, type, id })))
  const wrong = asserted.filter(({ file, type, id }) => {
    const tag = (file === './watch.ts' ? new Map(tags(watch)) : consoles).get(id)
    return tag !== (type === 'Anchor' ? 'a' : type.toLowerCase())
  })
  expect(wrong).toEqual([])
  expect(asserted.length).toBeGreaterThan(10)
})

test('ids are unique', () => {
  for (const page of [index, watch]) expect(ids(page).length).toBe(new Set(ids(page)).size)
})
