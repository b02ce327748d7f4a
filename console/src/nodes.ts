// The nodes of a cluster, as they are listed.

/** A node, as /_millrace/nodes lists it. */
export interface ClusterNode {
  name: string
  host: string
  url: string // at which the other nodes reach it
  version: string
  self: boolean // it has answered
  alive: boolean // it has reported to the database lately
  draining: boolean
  capacity: number // streams, if none is transcoded
  streams: number
  viewers: number
  secondsSinceHeartbeat: number
}

export type NodeState = 'ACTIVE' | 'DRAINING' | 'DEAD'

export function nodeState({ alive, draining }: ClusterNode): NodeState {
  if (!alive) return 'DEAD'
  return draining ? 'DRAINING' : 'ACTIVE'
}

/** Those that died come last; the others stay in the order of their names. */
export function byLife(a: ClusterNode, b: ClusterNode): number {
  return Number(b.alive) - Number(a.alive) || a.name.localeCompare(b.name)
}

/** Whether a node can be drained: it runs, and another one takes what comes. */
export function canDrain(node: ClusterNode, all: ClusterNode[]): boolean {
  return nodeState(node) === 'ACTIVE' && all.some((other) => other !== node && nodeState(other) === 'ACTIVE')
}

/** Whether the nodes that run are of different versions, as during an upgrade. */
export function mixedVersions(all: ClusterNode[]): boolean {
  return new Set(all.filter(({ alive }) => alive).map(({ version }) => version)).size > 1
}
