import { expect, test } from 'vitest'
import { busyShare } from './machine'

test('the CPU is busy between two reports, not since the start', () => {
  const at = (busy: number, total: number) => ({ cores: 2, busy, total })
  expect(busyShare(at(900, 1000), at(925, 1100))).toBe(0.25)
  expect(busyShare(undefined, at(925, 1100))).toBeUndefined()
  expect(busyShare(at(0, 0), at(0, 0))).toBeUndefined() // not Linux
  expect(busyShare(at(900, 1000), at(100, 200))).toBeUndefined() // restarted
})
