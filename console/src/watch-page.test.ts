import { expect, test } from 'vitest'
import page from '../watch.html?raw'
import source from './watch.ts?raw'

/** The elements of the page that have an id, by it. */
const tags = new Map([...page.matchAll(/<(\w+)\b[^<>]*?\bid="([\w-]+)"/g)].map(([, tag = '', id = '']): [string, string] => [id, tag]))

/** The look-ups in the source: the ids, and the types that are asserted for some. */
const lookedUp = [...source.matchAll(/\bfind(?:<HTML(\w+)Element>)?\(([^()]*)\)/g)].flatMap(([, type, argument = '']) =>
  [...argument.matchAll(/'([a-z][\w-]*)'/g)].map(([, id = '']) => ({ id, type })))

test('every id that is looked up exists, once', () => {
  expect(lookedUp.filter(({ id }) => !tags.has(id))).toEqual([])
  expect(lookedUp.length).toBeGreaterThan(20)
  expect([...page.matchAll(/\bid="/g)].length).toBe(tags.size)
})

test('elements have the types that are asserted', () => {
  const asserted = lookedUp.filter(({ type }) => type)
  expect(asserted.filter(({ id, type }) => tags.get(id) !== (type === 'Anchor' ? 'a' : type?.toLowerCase()))).toEqual([])
  expect(asserted.length).toBeGreaterThan(3)
})
