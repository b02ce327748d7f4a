import { afterEach, expect, test, vi } from 'vitest'
import { ingestHost, playable } from './reach'

afterEach(() => vi.unstubAllGlobals())

test('addresses of the server’s own machine become those that reached it', () => {
  vi.stubGlobal('location', new URL('http://192.168.1.5:9000/console/'))
  for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
    expect(playable(`http://${host}:8080/api/video/v1/a.m3u8?x=1`)).toBe('http://192.168.1.5:9000/api/video/v1/a.m3u8?x=1')
  }
  for (const host of ['127.0.0.1', 'localhost', '::1']) expect(ingestHost(host)).toBe('192.168.1.5')
})

test('public addresses stay', () => {
  vi.stubGlobal('location', new URL('http://127.0.0.1:8080/console/'))
  expect(playable('https://live.example.com/api/video/v1/a.m3u8')).toBe('https://live.example.com/api/video/v1/a.m3u8')
  expect(ingestHost('live.example.com')).toBe('live.example.com')
})
