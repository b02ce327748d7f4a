import { expect, test } from 'vitest'
import { pastVerdict } from './verdict'

const start = new Date('2026-05-01T08:00:00Z')
const after = (seconds: number) => new Date(+start + seconds * 1000)

test('all was well only where viewers could join', () => {
  expect(pastVerdict({ startTime: start, endTime: after(60) }, {})).toEqual({ tone: 'good', text: 'All was well: 1 min live, without starvation or error.' })
  expect(pastVerdict({ startTime: start, endTime: after(0.4) }, {})).toEqual({ tone: 'bad', text: 'This session ended after 0.4 s, before viewers could join.' })
  const keyframes = (interval: number) => ({ KeyframeInterval: [[+start / 1000, interval]] as [number, number][] })
  expect(pastVerdict({ startTime: start, endTime: after(4) }, {}).text).toBe('This session ended after 4.0 s, before viewers could join.')
  expect(pastVerdict({ startTime: start, endTime: after(6) }, keyframes(1)).tone).toBe('good')
  expect(pastVerdict({ startTime: start, endTime: after(6) }, keyframes(4)).tone).toBe('bad')
  expect(pastVerdict({ endTime: after(0) }, {}).text).toBe('This session never went live.')
})

test('what went wrong is said', () => {
  const truncatedEvents = [{ name: 'Stream Failure', type: 'IVS Stream State Change', eventTime: after(5) }]
  expect(pastVerdict({ startTime: start, endTime: after(60), truncatedEvents }, {}).text).toMatch(/^The server stopped making renditions/)
})
