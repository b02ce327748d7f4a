/**
 * Runs work now and again every ms while the page is visible, never twice at
 * once; now() runs it at once, or once more if it is running. The work handles
 * its own errors. Returns the way to hurry it and the way to end it.
 */
export function poll(ms: number, work: () => Promise<void>): { now: () => void; stop: () => void } {
  let timer = 0
  let running = false
  let again = false
  let stopped = false

  async function now() {
    clearTimeout(timer)
    if (running) {
      again = true
      return
    }
    running = true
    do {
      again = false
      await work()
    } while (again && !stopped)
    running = false
    if (!stopped && !document.hidden) timer = window.setTimeout(now, ms)
  }

  function visible() {
    if (!document.hidden) void now()
  }

  document.addEventListener('visibilitychange', visible)
  void now()
  return {
    now: () => void now(),
    stop() {
      stopped = true
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', visible)
    },
  }
}
