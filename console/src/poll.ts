/**
 * Runs work now and again every ms while the page is visible, never twice at
 * once. The work handles its own errors. The function returned runs it at
 * once, or once more if it is running.
 */
export function poll(ms: number, work: () => Promise<void>): () => void {
  let timer = 0
  let running = false
  let again = false

  async function now() {
    clearTimeout(timer)
    again = running
    if (running) return
    running = true
    do {
      again = false
      await work()
    } while (again)
    running = false
    if (!document.hidden) timer = window.setTimeout(now, ms)
  }

  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) void now()
  })
  void now()
  return () => void now()
}
