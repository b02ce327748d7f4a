import { expect, test } from 'vitest'
import type { Listed } from './ivs'
import { inOrder, type Order } from './order'

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
