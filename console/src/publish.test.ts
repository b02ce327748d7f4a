import { expect, test, vi } from 'vitest'
import { serverOf, shownAfter } from './publish'

test('a key that is copied is not shown by that', () => {
  expect(shownAfter('new', undefined)).toBe(undefined)
  expect(shownAfter('new', '')).toBe(undefined) // there was none before
  expect(shownAfter('new', 'old')).toBe('new')
  expect(shownAfter('', undefined)).toBe('') // that there is none is no secret
  expect(shownAfter('', 'old')).toBe('')
})

test('encoders are told what the server listens for', () => {
  vi.stubGlobal('location', new URL('http://192.168.1.5:8080/console/'))
  const both = { region: '', rtmpPort: 1935, rtmpsPort: 1936 }
  const plain = { ingestEndpoint: '127.0.0.1', insecureIngest: true }
  expect(serverOf(both, plain)).toBe('rtmp://192.168.1.5/app/')
  expect(serverOf(both, { ...plain, insecureIngest: false })).toBe('rtmps://192.168.1.5:1936/app/')
  expect(serverOf({ ...both, rtmpPort: 0 }, plain)).toBe('rtmps://192.168.1.5:1936/app/')
  expect(serverOf({ ...both, rtmpsPort: 0 }, { ...plain, insecureIngest: false })).toBe('')
  expect(serverOf({ ...both, rtmpPort: 0, rtmpsPort: 0 }, plain)).toBe('')
  vi.unstubAllGlobals()
})
