// Key pairs of playback tokens (ECDSA on P-384), and tokens (JWTs signed with
// ES384): made in the browser, so that a private key never leaves it.

const curve = { name: 'ECDSA', namedCurve: 'P-384' } as const

/** Only pages from HTTPS or from this machine have Web Crypto. */
export const canMakeKeys = () => globalThis.crypto?.subtle !== undefined

export interface MadePair {
  publicPem: string // SubjectPublicKeyInfo
  privatePem: string // PKCS #8
  signing: CryptoKey
}

export async function makePair(): Promise<MadePair> {
  const { publicKey, privateKey } = await crypto.subtle.generateKey(curve, true, ['sign', 'verify'])
  const privateBytes = await crypto.subtle.exportKey('pkcs8', privateKey)
  return {
    publicPem: pem('PUBLIC KEY', await crypto.subtle.exportKey('spki', publicKey)),
    privatePem: pem('PRIVATE KEY', privateBytes),
    signing: await crypto.subtle.importKey('pkcs8', privateBytes, curve, false, ['sign']),
  }
}

/** The signing key in a PEM file, for this tab alone. An error says what the file is instead. */
export async function readPrivateKey(text: string): Promise<CryptoKey> {
  if (text.includes('-----BEGIN EC PRIVATE KEY-----')) {
    throw new Error('This key is in the older format “EC PRIVATE KEY”, which browsers cannot read. Convert it: openssl pkcs8 -topk8 -nocrypt -in FILE')
  }
  const body = /-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]*)-----END PRIVATE KEY-----/.exec(text)?.[1]
  if (body === undefined) throw new Error('This is not a private key in PEM format, which begins with -----BEGIN PRIVATE KEY-----')
  try {
    const bytes = Uint8Array.from(atob(body.replace(/\s/g, '')), (c) => c.charCodeAt(0))
    return await crypto.subtle.importKey('pkcs8', bytes, curve, false, ['sign'])
  } catch {
    throw new Error('This private key is damaged, or is not an ECDSA key on curve P-384 (secp384r1).')
  }
}

function pem(kind: string, bytes: ArrayBuffer): string {
  const lines = btoa(String.fromCharCode(...new Uint8Array(bytes))).match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${kind}-----`, ...lines, `-----END ${kind}-----`, ''].join('\n')
}

/** What a token says, as the form holds it. '' and 0 leave a claim out. */
export interface TokenForm {
  minutes: number // how long playback can be started with it
  viewerId: string
  viewerVersion: string
  origins: string // one per line
  strictOrigin: boolean
  singleUse: boolean
  maximumResolution: string
}

export const newToken: TokenForm = { minutes: 5, viewerId: '', viewerVersion: '', origins: '', strictOrigin: false, singleUse: false, maximumResolution: '' }

/** The server remembers named and single-use tokens: they live for this long at most. */
export const maxShortMinutes = 10

/** What is wrong with a form, or ''. */
export function tokenProblem(form: TokenForm): string {
  if (!(form.minutes > 0)) return 'A token must be valid for at least a minute.'
  if ((form.viewerId || form.singleUse) && form.minutes > maxShortMinutes) return `A token with a viewer ID or for single use is valid for at most ${maxShortMinutes} minutes.`
  if (form.viewerVersion && !form.viewerId) return 'A version needs a viewer ID.'
  if (form.strictOrigin && !lines(form.origins).length) return 'Strict enforcement needs an origin.'
  return ''
}

/** The claims of a token for a channel. now is in ms. */
export function claims(channelArn: string, form: TokenForm, now: number): Record<string, unknown> {
  const origins = lines(form.origins)
  return {
    'aws:channel-arn': channelArn,
    exp: Math.floor(now / 1000) + Math.round(form.minutes * 60),
    ...(origins.length && { 'aws:access-control-allow-origin': origins.join(',') }),
    ...(form.strictOrigin && { 'aws:strict-origin-enforcement': true }),
    ...(form.singleUse && { 'aws:single-use-uuid': crypto.randomUUID() }),
    ...(form.viewerId && { 'aws:viewer-id': form.viewerId }),
    ...(form.viewerVersion && { 'aws:viewer-session-version': Number(form.viewerVersion) }),
    ...(form.maximumResolution && { 'aws:maximum-resolution': form.maximumResolution }),
  }
}

export async function sign(key: CryptoKey, payload: Record<string, unknown>): Promise<string> {
  const text = [{ alg: 'ES384', typ: 'JWT' }, payload].map((part) => base64url(new TextEncoder().encode(JSON.stringify(part)))).join('.')
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-384' }, key, new TextEncoder().encode(text))
  return `${text}.${base64url(new Uint8Array(signature))}`
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}

/** The lines of a text that are not empty. */
export function lines(text: string): string[] {
  return text.split(/\s*\n\s*/).map((line) => line.trim()).filter(Boolean)
}
