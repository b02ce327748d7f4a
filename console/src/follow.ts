import type { Millrace } from './millrace'

/** The server has gone, or has had enough of this reader. */
const againMs = 5000

/** However many events there are, the page asks no more often than this. */
const leastMs = 500

/**
 * Calls happened soon after each event on the server, while the page is
 * visible. Polling goes on besides, so what is missed here only comes later.
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
    }, leastMs)
    happened()
  }

  async function connect() {
    connection?.abort()
    if (document.hidden) return // a browser has only few connections to a server
    const mine = connection = new AbortController()
    const again = await millrace.follow(soon, mine.signal).catch(() => true)
    if (again && !mine.signal.aborted) setTimeout(connect, againMs)
  }

  document.addEventListener('visibilitychange', () => void connect())
  void connect()
}
