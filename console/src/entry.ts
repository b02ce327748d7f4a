// How a user signs in: by a token in the URL's fragment, by the credentials that
// this browser tab remembers, or by the sign-in form.

export interface Credentials {
  key: string
  secret: string
  region: string
}

/** What the server tells everyone of itself: /console/config.json. */
export interface Config {
  region: string
  rtmpPort: number
  rtmpsPort: number
  faults?: boolean // they can be injected
}

/** What the console shows. */
export interface Where {
  channel?: string // ARN
  session?: string // stream id of a past session of the channel
  view?: string // where it is not that of the channels
}

export interface Entry extends Where { // to show first
  credentials?: Credentials
  play?: string // playback URL to show without signing in
  problem?: string // why the page before this one forgot its credentials
}

const remembered = 'millrace.credentials'
const forgotten = 'millrace.problem'

/**
 * Reads `#sign-in=…&channel=…&session=…` or `#play=…`. The token is exchanged for
 * credentials, which works once, so a token in the browser's history is useless.
 */
export async function enter(): Promise<Entry> {
  const given = fragment()
  let problem = sessionStorage.getItem(forgotten) ?? undefined
  sessionStorage.removeItem(forgotten)
  if (given['sign-in']) {
    address({ channel: given.channel, session: given.session })
    problem = await exchange(given['sign-in'])
  }
  return { credentials: recall(), channel: given.channel, session: given.session, play: given.play, view: given.view, problem }
}

/** Exchanges a sign-in token for credentials and remembers them; returns the reason if that fails. */
async function exchange(token: string): Promise<string | undefined> {
  try {
    const answer = await fetch('/_millrace/sign-in', { method: 'POST', body: JSON.stringify({ token }) })
    const answered = (await answer.json()) as { accessKeyId: string; secretAccessKey: string; region: string; message?: string }
    if (!answer.ok) return answered.message ?? `The server answers ${answer.status}.`
    remember({ key: answered.accessKeyId, secret: answered.secretAccessKey, region: answered.region })
    return undefined
  } catch {
    return 'The server does not answer.'
  }
}

/** Where the address bar leads, without exchanging a token: undefined if it asks for more than another view. */
export function wanted(): Where | undefined {
  const { 'sign-in': token, play, channel, session, view } = fragment()
  return token || play ? undefined : { channel, session, view }
}

/** Puts the address that the user has gone to back into the address bar, where the page's own may have replaced it before the page heard of that. */
export function arrived({ newURL }: Pick<HashChangeEvent, 'newURL'>) {
  if (location.href !== newURL) history.replaceState(null, '', newURL)
}

/** Puts the view, or else the channel and the session, and nothing else, into the address bar. */
export function address({ channel, session, view }: Where) {
  const parts = view ? [`view=${view}`] : [channel && `channel=${encodeURI(channel)}`, session && `session=${encodeURI(session)}`].filter(Boolean)
  history.replaceState(null, '', view || channel ? `#${parts.join('&')}` : location.pathname)
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
  try {
    return JSON.parse(sessionStorage.getItem(remembered) ?? '') as Credentials
  } catch {
    return undefined // there are none
  }
}

/** The fragment's values. Unlike in a form, "+" is itself. */
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
