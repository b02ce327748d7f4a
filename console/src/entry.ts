// How a visitor comes in: by what the URL's fragment hands over, by what this
// browser tab remembers, or by the sign-in form.

export interface Credentials {
  key: string
  secret: string
  region: string
}

/** What the program says about itself beyond the IVS API: /console/config.json. */
export interface Config {
  region: string
  rtmpPort: number
  rtmpsPort: number
  notice?: string // what everyone who signs in shall read
}

export interface Entry {
  credentials?: Credentials
  channel?: string // ARN of the channel to show first
  session?: string // stream id of its session to show first
  play?: string // playback URL to show without signing in
  problem?: string // why the page before this one forgot its credentials
}

const remembered = 'millrace.credentials'
const forgotten = 'millrace.problem'

/**
 * Reads `#key=…&secret=…&region=…&channel=…&session=…` or `#play=…`. The key and secret
 * leave the address bar, and so the history, at once.
 */
export function enter(config: Config): Entry {
  const given = fragment()
  if (given.key && given.secret) {
    remember({ key: given.key, secret: given.secret, region: given.region || config.region })
  }
  if (given.key || given.secret) address(given.channel, given.session)
  const problem = sessionStorage.getItem(forgotten) ?? undefined
  sessionStorage.removeItem(forgotten)
  return { credentials: recall(), channel: given.channel, session: given.session, play: given.play, problem }
}

/** Puts the channel and the session, and nothing else, into the address bar. */
export function address(channel?: string, session?: string) {
  const parts = [channel && `channel=${encodeURI(channel)}`, session && `session=${encodeURI(session)}`].filter(Boolean)
  history.replaceState(null, '', channel ? `#${parts.join('&')}` : location.pathname)
}

/** Kept for this tab only. */
export function remember(credentials: Credentials) {
  sessionStorage.setItem(remembered, JSON.stringify(credentials))
}

/** Forgets the credentials; the next page says why. */
export function forget(why: string) {
  sessionStorage.removeItem(remembered)
  if (why) sessionStorage.setItem(forgotten, why)
}

function recall(): Credentials | undefined {
  const text = sessionStorage.getItem(remembered)
  return text ? (JSON.parse(text) as Credentials) : undefined
}

/** The fragment's values. Unlike in a query, "+" is itself: secrets hold it. */
function fragment(): Record<string, string | undefined> {
  const pairs = location.hash.slice(1).split('&').map((pair): [string, string] => {
    const [name = '', ...value] = pair.split('=')
    return [name, decode(value.join('='))]
  })
  return Object.fromEntries(pairs)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // a stray "%"
  }
}
