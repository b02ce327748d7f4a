import { expect, test } from 'vitest'
import { changedSettings, changedTags, formOf, newChannel, parseTags, settingsOf, tagLines } from './channel-form'

test('a new channel has no preset unless its type has presets', () => {
  expect(settingsOf({ ...newChannel, name: ' stage ' })).toEqual({
    name: 'stage', type: 'STANDARD', latencyMode: 'LOW', containerFormat: 'TS', insecureIngest: true, authorized: false,
    recordingConfigurationArn: '', playbackRestrictionPolicyArn: '', adConfigurationArn: '', multitrackInputConfiguration: { enabled: false },
  })
  expect(settingsOf({ ...newChannel, type: 'ADVANCED_HD' })).toHaveProperty('preset', 'HIGHER_BANDWIDTH_DELIVERY')
})

test('only what was changed is sent', () => {
  const channel = { arn: 'a', name: 'stage', type: 'BASIC' as const, authorized: true, tags: { a: '1' } }
  const form = formOf(channel)
  expect(changedSettings(channel, form)).toEqual({})
  expect(changedSettings(channel, { ...form, name: 'hall', authorized: false })).toEqual({ name: 'hall', authorized: false })
})

test('multitrack input is of STANDARD channels with fragmented MP4 only', () => {
  const form = { ...newChannel, multitrack: 'REQUIRE', multitrackResolution: 'HD' }
  const multitrack = { enabled: true, policy: 'REQUIRE', maximumResolution: 'HD' } as const
  expect(settingsOf({ ...form, containerFormat: 'FRAGMENTED_MP4' })).toHaveProperty('multitrackInputConfiguration', multitrack)
  expect(settingsOf(form)).toHaveProperty('multitrackInputConfiguration', { enabled: false })
  const channel = { type: 'STANDARD' as const, containerFormat: 'FRAGMENTED_MP4' as const, multitrackInputConfiguration: multitrack }
  expect(changedSettings(channel, formOf(channel))).toEqual({})
  expect(changedSettings(channel, { ...formOf(channel), multitrack: 'OFF' })).toEqual({ multitrackInputConfiguration: { enabled: false } })
})

test('tags are lines', () => {
  expect(parseTags('team = live\n\n  url=a=b \nempty=')).toEqual({ team: 'live', url: 'a=b', empty: '' })
  expect(() => parseTags('a=1\nnothing\nb=2')).toThrow('“nothing” is not key=value')
  expect(() => parseTags('=x')).toThrow('“=x” is not key=value')
  expect(() => parseTags('a=1\n a =2')).toThrow('“a” is there twice')
})

test('lines that have not changed are the tags they were', () => {
  const before = { 'a=b': 'c', padded: ' x ', e: '1' }
  expect(parseTags(tagLines(before), before)).toEqual(before)
  expect(parseTags(tagLines(before).replace('e=1', 'e=2'), before)).toEqual({ ...before, e: '2' })
  expect(() => parseTags('e=2\ne=1', before)).toThrow('“e” is there twice')
})

test('tags are set and removed', () => {
  expect(changedTags({ a: '1', b: '2', c: '3' }, { a: '1', b: 'x', d: '4' })).toEqual({ set: { b: 'x', d: '4' }, remove: ['c'] })
})
