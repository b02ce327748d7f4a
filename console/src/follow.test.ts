import { expect, test } from 'vitest'
import { readEvents } from './follow'

test('events are read from pieces, and comments are none', () => {
  const first = readEvents(': millrace events\n\nid: 1\ndata: {"id":"1"}\n\nid: 2\ndata: {"i')
  expect(first.events).toEqual([{ id: '1' }])
  expect(readEvents(`${first.rest}d":"2"}\n\n`)).toEqual({ events: [{ id: '2' }], rest: '' })
})
