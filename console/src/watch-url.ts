// What the URL of the viewers' page, and messages from the embedding page, ask for.

/** The playback URL of the channel that a URL of the page names: /watch/<region>.<account>.channel.<id>. */
export function playbackUrl(page: URL): string {
  const name = page.pathname.split('/').filter(Boolean).at(-1) ?? ''
  const token = page.searchParams.get('token')
  return `${page.origin}/api/video/v1/${encodeURIComponent(name)}.m3u8${token ? `?token=${encodeURIComponent(token)}` : ''}`
}

/** The address of the latest thumbnail of the channel that a playback URL plays; only public channels have one. */
export function posterUrl(playback: string): string {
  const url = new URL(playback)
  return url.searchParams.has('token') ? '' : `${url.origin}${url.pathname.replace(/\.m3u8$/, '.jpg')}`
}

/** HTML that embeds the page in another. On a private channel each viewer has a token of their own. */
export function embedCode(page: string, authorized = false): string {
  return `<iframe src="${page}${authorized ? '?token=TOKEN' : ''}" allow="autoplay; fullscreen; picture-in-picture" `
    + 'width="640" height="360" style="border: 0" title="Live video"></iframe>'
}

export interface Settings {
  autoplay: boolean
  muted: boolean
  behind: number // seconds before the live edge
}

const mostBehind = 3600

/** ?autoplay=false, ?muted=false and ?t=30. By default playback starts automatically, muted and at the live edge. */
export function settings(query: URLSearchParams): Settings {
  const behind = Number.parseFloat(query.get('t') ?? '')
  return {
    autoplay: yes(query.get('autoplay')),
    muted: yes(query.get('muted')),
    behind: Number.isFinite(behind) ? Math.min(Math.max(behind, 0), mostBehind) : 0,
  }
}

function yes(value: string | null): boolean {
  return !['false', '0', 'no'].includes(value?.toLowerCase() ?? '')
}

export interface Command {
  command: string
  value?: unknown
}

/** A message { target: "millrace-player", command, value }; undefined for all others. */
export function commandOf(data: unknown): Command | undefined {
  if (typeof data !== 'object' || data === null) return undefined
  const { target, command, value } = data as Record<string, unknown>
  return target === 'millrace-player' && typeof command === 'string' ? { command, value } : undefined
}
