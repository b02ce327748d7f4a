import type { Millrace } from './millrace'

/** The delay before reconnecting, after the server has closed the connection or cannot be reached. */
const reconnectMs = 5000

/** The shortest time between two refreshes, however many events there are. */
const refreshMs = 500

/**
 * Calls happened soon after each event on the server, while the page is
 * visible. The page also polls, so an event that is missed here only shows later.
 */
export function follow(millrace: Millrace, happened: () => void) {
  let connection: AbortController | undefined
  let waiting = false

  function soon() {
    if (waiting) return
    waiting = true
    setTimeout(() => {
      waiting = false
      happened()
    }, refreshMs)
    happened()
  }

  async function connect() {
    connection?.abort()
    if (document.hidden) return // a browser has only few connections to a server
    const mine = connection = new AbortController()
    const again = await millrace.follow(soon, mine.signal).catch(() => true)
    if (again && !mine.signal.aborted) setTimeout(connect, reconnectMs)
  }

  document.addEventListener('visibilitychange', () => void connect())
  void connect()
}
