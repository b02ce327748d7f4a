import { expect, test } from 'vitest'
import type { Listed } from './ivs'
import { inOrder, pageOf, type Order } from './order'

const channel = (name: string, stream?: Listed['stream']): Listed => ({ arn: name, channel: { name }, stream })

const all = [
  channel('b10'), channel('z', { health: 'STARVING', viewerCount: 1 }), channel('b2'),
  channel('y', { health: 'HEALTHY', viewerCount: 7 }), channel('a', { health: 'UNKNOWN', viewerCount: -1 }),
]

test.each<[Order, string]>([
  ['live', 'a y z b2 b10'], ['name', 'a b2 b10 y z'], ['viewers', 'y z a b2 b10'], ['trouble', 'z y a b2 b10'],
])('channels by %s', (order, want) => {
  expect(inOrder(all, order).map(({ arn }) => arn).join(' ')).toBe(want)
})

test('pages of a list that changes', () => {
  const of = (n: number) => Array.from({ length: n }, (_, i) => i)
  expect(pageOf(of(7), 1, 3)).toEqual({ items: [3, 4, 5], page: 1, pages: 3, first: 3 })
  expect(pageOf(of(7), 2, 3)).toEqual({ items: [6], page: 2, pages: 3, first: 6 })
  expect(pageOf(of(6), 2, 3)).toEqual({ items: [3, 4, 5], page: 1, pages: 2, first: 3 })
  expect(pageOf(of(0), 2, 3)).toEqual({ items: [], page: 0, pages: 1, first: 0 })
})
