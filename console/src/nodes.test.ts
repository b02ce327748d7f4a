import { expect, test } from 'vitest'
import { byLife, canDrain, mixedVersions, nodeState, type ClusterNode } from './nodes'

const node = (name: string, more: Partial<ClusterNode> = {}): ClusterNode => ({
  name, host: 'h', url: `http://${name}`, version: 'v1', self: false, alive: true, draining: false, capacity: 9, streams: 1, viewers: 2, secondsSinceHeartbeat: 0.4, ...more,
})

test('a node that died is dead, whatever it did before', () => {
  expect(nodeState(node('a'))).toBe('ACTIVE')
  expect(nodeState(node('a', { draining: true }))).toBe('DRAINING')
  expect(nodeState(node('a', { draining: true, alive: false }))).toBe('DEAD')
})

test('nodes that died come last', () => {
  expect([node('a', { alive: false }), node('c'), node('b')].sort(byLife).map(({ name }) => name)).toEqual(['b', 'c', 'a'])
})

test('the last node that takes encoders is not drained', () => {
  const [a, b, gone] = [node('a'), node('b'), node('c', { alive: false })]
  expect(canDrain(a, [a, b, gone])).toBe(true)
  expect(canDrain(a, [a, gone])).toBe(false)
  expect(canDrain(a, [a, node('b', { draining: true })])).toBe(false)
  expect(canDrain(gone, [a, b, gone])).toBe(false)
})

test('versions of nodes that run are compared', () => {
  expect(mixedVersions([node('a'), node('b')])).toBe(false)
  expect(mixedVersions([node('a'), node('b', { version: 'v2' })])).toBe(true)
  expect(mixedVersions([node('a'), node('b', { version: 'v2', alive: false })])).toBe(false)
})
