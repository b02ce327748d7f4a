import { expect, test } from 'vitest'
import { Reports, reportUrl, sessionOf, stalled } from './reports.js'

const channel = 'https://h/api/video/v1/us-west-2.1.channel.a'

test('what is known is reported once it plays, now and then', () => {
  const reports = new Reports(1000)
  expect(reports.next(1500, { latency: 2 })).toBeUndefined()
  reports.wish(1200)
  reports.playing(1900)
  reports.wish(5000) // after a pause
  reports.playing(6000)
  expect(reports.next(6000, { latency: 2.3456, buffer: 1 })).toMatch(/^bl=1000,e=t,ltc=2346,msd=700,sta=p,ts=\d+,v=2\n$/)
  expect(reports.next(15_000, {})).toBeUndefined()
  expect(reports.next(16_000, {})).toMatch(/^e=t,msd=700,sta=p,ts=\d+,v=2\n$/)
  expect(stalled()).toMatch(/^e=ps,sta=r,ts=\d+,v=2\n$/)
})

test('reports go to the server of the stream, if it takes them', () => {
  expect(reportUrl(`${channel}/v1/st-1/720p30/playlist.m3u8?_HLS_msn=3`)).toBe(`${channel}/v1/st-1/cmcd`)
  expect(reportUrl('https://cdn.example/live/720p/index.m3u8')).toBeUndefined()
})

test('who has read the multivariant playlist plays as the same viewer', () => {
  const list = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nus-west-2.1.channel.a/v1/st-1/source/playlist.m3u8\n'
  expect(sessionOf(`${channel}.m3u8?token=t`, list)).toEqual({ url: `${channel}.m3u8?viewer=v1`, reportUrl: `${channel}/v1/st-1/cmcd` })
  expect(sessionOf('https://cdn.example/a.m3u8?x=1', '#EXTM3U\n#EXTINF:2,\n0.ts\n')).toEqual({ url: 'https://cdn.example/a.m3u8?x=1' })
  expect(sessionOf('https://cdn.example/a.m3u8', '')).toEqual({ url: 'https://cdn.example/a.m3u8' })
})
