import { expect, test } from 'vitest'
import documentation from '../../docs/player.md?raw'
import { commandOf, embedCode, playbackUrl, posterUrl, settings } from './watch-url'

test('the page of a channel plays its playback URL, with the token', () => {
  const page = 'https://live.example.com/watch/eu-west-1.000000000000.channel.abc'
  expect(playbackUrl(new URL(page))).toBe('https://live.example.com/api/video/v1/eu-west-1.000000000000.channel.abc.m3u8')
  expect(playbackUrl(new URL(`${page}?muted=false&token=a.b-c_d%2B`))).toBe(
    'https://live.example.com/api/video/v1/eu-west-1.000000000000.channel.abc.m3u8?token=a.b-c_d%2B')
})

test('public channels have a poster', () => {
  const playback = 'https://live.example.com/api/video/v1/eu-west-1.000000000000.channel.abc.m3u8'
  expect(posterUrl(playback)).toBe('https://live.example.com/api/video/v1/eu-west-1.000000000000.channel.abc.jpg')
  expect(posterUrl(`${playback}?token=a.b.c`)).toBe('')
})

test('the page is embedded as the documentation has it', () => {
  const page = 'https://HOST/watch/us-west-2.000000000000.channel.abcdEFGH1234'
  const documented = /<iframe[^]*?<\/iframe>/.exec(documentation)?.[0]
  expect(embedCode(page)).toBe(documented?.replace(/\s+/g, ' '))
  expect(embedCode(page, true)).toContain(` src="${page}?token=TOKEN" `)
})

test('settings have defaults and bounds', () => {
  const of = (query: string) => settings(new URLSearchParams(query))
  expect(of('')).toEqual({ autoplay: true, muted: true, behind: 0 })
  expect(of('autoplay=false&muted=0&t=12.5')).toEqual({ autoplay: false, muted: false, behind: 12.5 })
  expect(of('t=-4').behind).toBe(0)
  expect(of('t=1e99').behind).toBe(3600)
  expect(of('t=soon').behind).toBe(0)
})

test('only messages that are meant for the player are commands', () => {
  expect(commandOf({ target: 'millrace-player', command: 'setMuted', value: true })).toEqual({ command: 'setMuted', value: true })
  for (const other of [undefined, null, 'play', 3, {}, { command: 'play' }, { target: 'millrace-player', command: 7 }]) {
    expect(commandOf(other)).toBeUndefined()
  }
})
