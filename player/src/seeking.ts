// A video element fires waiting at each seek, too, which is no stall.

const seeking = new WeakSet<HTMLMediaElement>()

/**
 * Keeps note of seeks by their events, which come in order with waiting: the element's own
 * property may be false again by the time that waiting is handled.
 */
export function noteSeeks(video: HTMLMediaElement, signal: AbortSignal) {
  video.addEventListener('seeking', () => seeking.add(video), { signal })
  video.addEventListener('seeked', () => seeking.delete(video), { signal })
  video.addEventListener('emptied', () => seeking.delete(video), { signal })
}

/** Whether an element of which notes are kept is seeking. */
export function isSeeking(video: HTMLMediaElement): boolean {
  return seeking.has(video)
}
