import { expect, test } from 'vitest'
import { busyShare, countWords, sizeWords } from './machine'

test('the CPU is busy between two reports, not since the start', () => {
  const at = (busy: number, total: number) => ({ cores: 2, busy, total })
  expect(busyShare(at(900, 1000), at(925, 1100))).toBe(0.25)
  expect(busyShare(undefined, at(925, 1100))).toBeUndefined()
  expect(busyShare(at(0, 0), at(0, 0))).toBeUndefined() // not Linux
  expect(busyShare(at(900, 1000), at(100, 200))).toBeUndefined() // restarted
})

test('what a system does not tell is unknown', () => {
  expect(sizeWords({ used: 1.2e9, limit: 8e9 })).toBe('1.2 GB of 8.0 GB')
  expect(sizeWords({ used: 1.2e9, limit: 0 })).toBe('1.2 GB')
  expect(sizeWords({ used: 0, limit: 0 })).toBe('unknown')
  expect(countWords({ used: 37, limit: 1024 })).toBe('37 of 1024')
  expect(countWords({ used: 0, limit: 1024 })).toBe('unknown of 1024')
})
