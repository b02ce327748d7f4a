import { explain } from './ivs'
import type { Millrace } from './millrace'

/** The delay before reconnecting, after the server has closed the connection or cannot be reached. */
const reconnectMs = 5000

/** The shortest time between two refreshes, however many events there are. */
const refreshMs = 500

/** So many events are kept. */
const maxKept = 200

/** An event, in EventBridge's envelope. */
export interface Happened {
  id: string
  time: string
  'detail-type': string
  resources?: string[]
  detail?: Record<string, unknown>
}

/** The latest events, newest first, and why no others arrive; '' if they do. */
export interface Feed {
  events: Happened[]
  problem: string
}

/**
 * Keeps the latest events of the server, newest first, while the page is visible,
 * and calls happened with them soon after each, until the function that it returns is called. failed gets the reason when it cannot connect, and '' when it can.
 * The page also polls, so an event that is missed here only shows later.
 */
export function follow(millrace: Millrace, happened: (latest: Happened[]) => void, failed: (problem: string) => void): () => void {
  const latest: Happened[] = []
  const stopping = new AbortController()
  let connection: AbortController | undefined
  let waiting = false

  const tell = () => stopping.signal.aborted || happened([...latest])

  function soon(events: Happened[]) {
    latest.unshift(...events.reverse())
    latest.length = Math.min(latest.length, maxKept)
    if (waiting) return
    waiting = true
    setTimeout(() => {
      waiting = false
      tell()
    }, refreshMs)
    tell()
  }

  async function connect() {
    connection?.abort()
    if (document.hidden || stopping.signal.aborted) return // a browser has only few connections to a server
    const mine = connection = new AbortController()
    const from = latest[0]?.id
    const found = await millrace.follow(soon, mine.signal, from, () => failed('')).catch((err) => {
      if (!mine.signal.aborted) failed(explain(err).text)
      return true
    })
    if (mine.signal.aborted || !found && !from) return // the server has no feed
    if (!found) { // the server was reset, or has deleted its events
      latest.length = 0
      tell()
    }
    setTimeout(connect, found ? reconnectMs : 0)
  }

  document.addEventListener('visibilitychange', () => void connect(), { signal: stopping.signal })
  void connect()
  return () => {
    stopping.abort()
    connection?.abort()
  }
}

/**
 * Reads server-sent events from a text that comes in pieces: returns the events
 * that are complete, and what is left over.
 */
export function readEvents(text: string): { events: Happened[]; rest: string } {
  const blocks = text.split('\n\n')
  const rest = blocks.pop() ?? ''
  const events: Happened[] = []
  for (const block of blocks) {
    const data = block.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5)).join('\n')
    if (data) events.push(JSON.parse(data) as Happened)
  }
  return { events, rest }
}
