// Addresses of the server as this browser reaches it. A server that was not told its
// public name calls itself 127.0.0.1, which means another machine where the page is
// opened, and behind a forwarded port another server.

const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/

/** The URL to load for a playback URL. */
export function playable(playbackUrl: string): string {
  const url = new URL(playbackUrl, location.origin)
  return loopback.test(url.hostname) ? location.origin + url.pathname + url.search : url.href
}

/** The host for encoders. */
export function ingestHost(endpoint: string): string {
  return loopback.test(endpoint) ? location.hostname : endpoint
}
