import { expect, test } from 'vitest'
import { claims, makePair, newToken, readPrivateKey, sign, tokenProblem } from './keys'

/** What base64, or base64url, stands for. */
const bytes = (text: string) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))

const arn = 'arn:aws:ivs:us-west-2:123456789012:channel/abcd'

test('a token made with a pair verifies with its public key, and says what was asked for', async () => {
  const pair = await makePair()
  const form = { ...newToken, viewerId: 'v', viewerVersion: '3', origins: ' https://a.example \n\nhttps://*.b.example', strictOrigin: true, maximumResolution: 'SD' }
  const signed = await sign(pair.signing, claims(arn, form, 1_000_000))
  const [header = '', payload = '', signature = ''] = signed.split('.')
  const der = bytes(pair.publicPem.replace(/-----[^-]*-----|\s/g, ''))
  const key = await crypto.subtle.importKey('spki', der, { name: 'ECDSA', namedCurve: 'P-384' }, false, ['verify'])
  expect(await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-384' }, key, bytes(signature), new TextEncoder().encode(`${header}.${payload}`))).toBe(true)
  expect(JSON.parse(new TextDecoder().decode(bytes(header)))).toEqual({ alg: 'ES384', typ: 'JWT' })
  expect(JSON.parse(new TextDecoder().decode(bytes(payload)))).toEqual({
    'aws:channel-arn': arn, exp: 1300, 'aws:viewer-id': 'v', 'aws:viewer-session-version': 3,
    'aws:access-control-allow-origin': 'https://a.example,https://*.b.example', 'aws:strict-origin-enforcement': true, 'aws:maximum-resolution': 'SD',
  })
})

test('a private key is read again, and cannot be read out', async () => {
  const pair = await makePair()
  const again = await readPrivateKey(`a note\n${pair.privatePem}`)
  expect(again.extractable).toBe(false)
  expect(pair.signing.extractable).toBe(false)
  await expect(readPrivateKey(pair.publicPem)).rejects.toThrow('not a private key')
  await expect(readPrivateKey('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----')).rejects.toThrow('damaged')
  await expect(readPrivateKey('-----BEGIN EC PRIVATE KEY-----')).rejects.toThrow('openssl')
})

test('what a token cannot say is refused before it is signed', () => {
  expect(tokenProblem(newToken)).toBe('')
  expect(tokenProblem({ ...newToken, minutes: 60 })).toBe('')
  expect(tokenProblem({ ...newToken, minutes: 60, viewerId: 'v' })).toMatch('10 minutes')
  expect(tokenProblem({ ...newToken, minutes: 0 })).not.toBe('')
  expect(tokenProblem({ ...newToken, viewerVersion: '1' })).toMatch('viewer ID')
  expect(tokenProblem({ ...newToken, strictOrigin: true })).toMatch('origin')
})
