import { expect, test, vi } from 'vitest'
import { follow, readEvents, type Happened } from './follow'
import type { Millrace } from './millrace'

test('events are read from pieces, and comments are none', () => {
  const first = readEvents(': millrace events\n\nid: 1\ndata: {"id":"1"}\n\nid: 2\ndata: {"i')
  expect(first.events).toEqual([{ id: '1' }])
  expect(readEvents(`${first.rest}d":"2"}\n\n`)).toEqual({ events: [{ id: '2' }], rest: '' })
})

test('a server that was reset is followed from the start of its new feed', async () => {
  vi.useFakeTimers()
  vi.stubGlobal('document', { hidden: false, addEventListener() {} })
  const asked: (string | undefined)[] = []
  const shown: string[][] = []
  const server = {
    async follow(happened: (events: Happened[]) => void, _: AbortSignal, after?: string) {
      asked.push(after)
      switch (asked.length) {
        case 1:
          happened([{ id: '1', time: '', 'detail-type': 'a' }])
          return true // and the connection was closed
        case 2:
          return false // it has no event 1
        case 3:
          happened([{ id: '2', time: '', 'detail-type': 'b' }])
      }
      return new Promise<boolean>(() => undefined)
    },
  }
  follow(server as unknown as Millrace, (latest) => shown.push(latest.map(({ id }) => id)), () => {})
  await vi.advanceTimersByTimeAsync(60_000)
  expect(asked).toEqual([undefined, '1', undefined])
  expect(shown).toEqual([['1'], ['1'], [], ['2'], ['2']])
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

test('a feed that is stopped asks and reports no more', async () => {
  vi.useFakeTimers()
  vi.stubGlobal('document', Object.assign(new EventTarget(), { hidden: false }))
  const connections: AbortSignal[] = []
  let send = (_: Happened[]) => {}
  const server = {
    follow(happened: (events: Happened[]) => void, signal: AbortSignal) {
      connections.push(signal)
      send = happened
      return new Promise<boolean>((_, refuse) => signal.addEventListener('abort', refuse))
    },
  }
  const shown: number[] = []
  const stop = follow(server as unknown as Millrace, (latest) => shown.push(latest.length), () => {})
  send([{ id: '1', time: '', 'detail-type': 'a' }])
  stop()
  send([{ id: '2', time: '', 'detail-type': 'a' }])
  document.dispatchEvent(new Event('visibilitychange'))
  await vi.advanceTimersByTimeAsync(60_000)
  expect(connections.map(({ aborted }) => aborted)).toEqual([true])
  expect(shown).toEqual([1])
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

test('a feed that cannot be read is reported until it can', async () => {
  vi.useFakeTimers()
  vi.stubGlobal('document', { hidden: false, addEventListener() {} })
  let calls = 0
  const server = {
    async follow(_: unknown, __: AbortSignal, ___: string | undefined, connected: () => void) {
      if (!calls++) throw Object.assign(new Error('too many readers'), { name: 'ServiceUnavailable', $metadata: { httpStatusCode: 503 } })
      connected()
      return new Promise<boolean>(() => undefined)
    },
  }
  const said: string[] = []
  follow(server as unknown as Millrace, () => {}, (problem) => said.push(problem))
  await vi.advanceTimersByTimeAsync(60_000)
  expect(said).toEqual(['The server reports an error (ServiceUnavailable): too many readers', ''])
  vi.unstubAllGlobals()
  vi.useRealTimers()
})
