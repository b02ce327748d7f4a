import { expect, test } from 'vitest'
import { shownAfter } from './publish'

test('a key that is copied is not shown by that', () => {
  expect(shownAfter('new', undefined)).toBe(undefined)
  expect(shownAfter('new', '')).toBe(undefined) // there was none before
  expect(shownAfter('new', 'old')).toBe('new')
  expect(shownAfter('', undefined)).toBe('') // that there is none is no secret
  expect(shownAfter('', 'old')).toBe('')
})
