import { expect, test } from 'vitest'
import { noFilter } from './history'
import type { Ivs } from './ivs'
import type { Millrace } from './millrace'
import { foundWords, recorded, searchWords } from './session-search'

test('what a search has covered is said', () => {
  const sessions = Array.from({ length: 40 }, (_, i) => ({ streamId: `st-${i}` }))
  expect(foundWords(0, { sessions, complete: true })).toBe('None of the 40 sessions matches.')
  expect(foundWords(1, { sessions, complete: false })).toBe('1 of the newest 40 sessions matches.')
  expect(foundWords(3, { sessions, complete: false })).toBe('3 of the newest 40 sessions match.')
})

test('a search is said to go on only while it does', () => {
  const errors = { ...noFilter, kind: 'errors' as const }
  const searched = { sessions: [{ streamId: 'st-1', hasErrorEvent: true }, { streamId: 'st-2' }], complete: true }
  expect(searchWords(errors, undefined, true)).toBe('Searching…')
  expect(searchWords(errors, undefined, false)).toBe('') // it failed
  expect(searchWords(errors, searched, false)).toBe('1 of the 2 sessions matches.')
})

test('an export that is stopped makes no more calls', async () => {
  let calls = 0
  const all = Array.from({ length: 20 }, (_, i) => ({ streamId: `st-${i}` }))
  const ivs = { allSessions: async () => all, session: async () => (calls++, {}) } as unknown as Ivs
  const stop = new AbortController()
  const progress: number[] = []
  const reading = recorded(ivs, {} as Millrace, 'arn', noFilter, stop.signal, (done) => {
    progress.push(done)
    if (done) stop.abort()
  })
  await expect(reading).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }))
  expect([progress, calls]).toEqual([[0, 4], 8])
})
