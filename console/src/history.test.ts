import { expect, test } from 'vitest'
import { filterSessions, noFilter, search, sessionsCsv, sessionsJson } from './history'
import type { Metrics } from './millrace'

const at = (text: string) => new Date(`2026-05-${text}`)
const long = { streamId: 'st-1', startTime: at('01T10:00:00'), endTime: at('01T11:00:00') }
const short = { streamId: 'st-2', startTime: at('02T10:00:00'), endTime: at('02T10:00:10'), hasErrorEvent: true }
const never = { streamId: 'st-3', endTime: at('03T23:59:59') }
const live = { streamId: 'st-4', startTime: at('04T00:00:00') }
const all = [live, never, short, long]

test('sessions are filtered by what became of them and by day', () => {
  const kept = (filter: Partial<typeof noFilter>) => filterSessions(all, { ...noFilter, ...filter }).map(({ streamId }) => streamId)
  expect(kept({})).toEqual(['st-4', 'st-3', 'st-2', 'st-1'])
  expect(kept({ kind: 'errors' })).toEqual(['st-2'])
  expect(kept({ kind: 'short' })).toEqual(['st-2'])
  expect(kept({ kind: 'never' })).toEqual(['st-3'])
  expect(kept({ from: '2026-05-02', until: '2026-05-03' })).toEqual(['st-3', 'st-2'])
})

test('a search reads older sessions until enough match, and says what it has read', async () => {
  const hour = 3_600_000
  const history = Array.from({ length: 2500 }, (_, i) => ({ streamId: `st-${i}`, startTime: new Date(+at('31T00:00:00') - i * hour), endTime: at('31T00:00:00'), hasErrorEvent: i % 400 === 399 }))
  let reads = 0
  const read = async (next = '0') => {
    reads++
    const end = Number(next) + 100
    return { sessions: history.slice(Number(next), end), next: end < history.length ? String(end) : undefined }
  }
  const errors = { ...noFilter, kind: 'errors' as const }
  const first = await search(read, errors)
  expect([first.sessions.length, first.complete, reads]).toEqual([1000, false, 10])
  const second = await search(read, errors, await search(read, errors, first))
  expect([second.sessions.length, second.complete, filterSessions(second.sessions, errors).length]).toEqual([2500, true, 6])
  expect((await search(read, noFilter)).sessions).toHaveLength(100)
  expect(await search(read, { ...errors, from: '2026-05-25' })).toMatchObject({ complete: true, next: '300' })
})

const recorded = {
  session: {
    ...short, hasErrorEvent: true, channel: { type: 'STANDARD', latencyMode: 'LOW' } as const,
    truncatedEvents: [{ name: 'Stream Failure', type: 'IVS Stream Health Change', code: 'Oops' }, { name: 'Stream Start' }],
    ingestConfiguration: {
      video: { encoder: 'OBS', codec: 'avc1', avcProfile: 'High', avcLevel: '4.2', videoWidth: 1920, videoHeight: 1080, targetFramerate: 30, targetBitrate: 6_000_000 },
      audio: { codec: 'mp4a', channels: 2, sampleRate: 48_000, targetBitrate: 160_000 },
    },
  },
  metrics: { ConcurrentViews: [[0, 3], [60, 7]], IngestVideoBitrate: [[0, 5e6], [60, 6e6]] } as Metrics,
}

test('a table is CSV that no spreadsheet runs', () => {
  const [head, first, second] = sessionsCsv([recorded, { session: { streamId: '=1,"x"' } }]).split('\r\n')
  const value = (name: string) => first?.split(',')[head!.split(',').indexOf(name)]
  expect([value('streamId'), value('startTime'), value('durationSeconds'), value('hasErrorEvent')]).toEqual(['st-2', short.startTime.toISOString(), '10', 'true'])
  expect([value('errorEvents'), value('events'), value('encoder'), value('videoCodec'), value('videoProfile'), value('resolution'), value('targetFramerate')])
    .toEqual(['Stream Failure Oops', '2', 'OBS', 'avc1', 'High@4.2', '1920x1080', '30'])
  expect([value('targetVideoBitrate'), value('audioCodec'), value('meanVideoBitrate'), value('maxViewers')]).toEqual(['6000000', 'mp4a', '5500000', '7'])
  expect(second).toMatch(/^"'=1,""x""",,,,false,/)
  expect(second?.match(/,/g)).toHaveLength(head!.match(/,/g)!.length + 1) // one is in the name
})

test('JSON has all that is known', () => {
  const { streamSessions: [session] } = JSON.parse(sessionsJson('arn', [recorded]))
  expect(session).toMatchObject({ streamId: 'st-2', ingestConfiguration: { video: { videoWidth: 1920 } }, metrics: { ConcurrentViews: [[0, 3], [60, 7]] } })
  expect(session.truncatedEvents).toHaveLength(2)
})
