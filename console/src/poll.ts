export interface Polling {
  /** Runs the work at once, or once more if it is running. */
  now: () => void
  stop: () => void
}

/**
 * Runs work now and again every ms while the page is visible, never twice at
 * once, until it is stopped. The work handles its own errors.
 */
export function poll(ms: number, work: () => Promise<void>): Polling {
  const stopping = new AbortController()
  let timer = 0
  let running = false
  let again = false

  async function now() {
    clearTimeout(timer)
    again = running
    if (running || stopping.signal.aborted) return
    running = true
    do {
      again = false
      await work()
    } while (again)
    running = false
    if (!document.hidden && !stopping.signal.aborted) timer = window.setTimeout(now, ms)
  }

  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) void now()
  }, { signal: stopping.signal })
  void now()
  return {
    now: () => void now(),
    stop: () => {
      stopping.abort()
      clearTimeout(timer)
    },
  }
}
