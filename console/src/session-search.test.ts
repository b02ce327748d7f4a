import { expect, test } from 'vitest'
import { foundWords } from './session-search'

test('what a search has covered is said', () => {
  const sessions = Array.from({ length: 40 }, (_, i) => ({ streamId: `st-${i}` }))
  expect(foundWords(0, { sessions, complete: true })).toBe('None of the 40 sessions matches.')
  expect(foundWords(1, { sessions, complete: false })).toBe('1 of the newest 40 sessions matches.')
  expect(foundWords(3, { sessions, complete: false })).toBe('3 of the newest 40 sessions match.')
})
