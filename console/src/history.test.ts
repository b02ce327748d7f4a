import { expect, test } from 'vitest'
import { filterSessions, noFilter, sessionsCsv, sessionsJson } from './history'

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

test('a table is CSV that no spreadsheet runs', () => {
  const [head, first, second] = sessionsCsv([short, { streamId: '=1,"x"' }]).split('\r\n')
  expect(head).toBe('streamId,startTime,endTime,durationSeconds,hasErrorEvent')
  expect(first).toBe(`st-2,${short.startTime.toISOString()},${short.endTime.toISOString()},10,true`)
  expect(second).toBe(`"'=1,""x""",,,,false`)
  expect(JSON.parse(sessionsJson('arn', [never]))).toEqual({ channelArn: 'arn', streamSessions: [{ streamId: 'st-3', endTime: never.endTime.toISOString() }] })
})
