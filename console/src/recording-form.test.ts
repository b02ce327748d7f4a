import { expect, test } from 'vitest'
import { newRecording, recordingFacts, recordingSettings } from './recording-form'

test('a recording configuration has only settings that go together', () => {
  expect(recordingSettings({ ...newRecording, name: 'n', bucket: ' b-1 ' }, { a: '1' })).toEqual({
    name: 'n', tags: { a: '1' }, destinationConfiguration: { s3: { bucketName: 'b-1' } }, recordingReconnectWindowSeconds: 0,
    renditionConfiguration: { renditionSelection: 'ALL' },
    thumbnailConfiguration: { recordingMode: 'INTERVAL', targetIntervalSeconds: 60, storage: ['SEQUENTIAL'] },
  })
  expect(recordingSettings({ ...newRecording, selection: 'CUSTOM', renditions: ['SD'], thumbnails: 'DISABLED' }, {})).toMatchObject({
    renditionConfiguration: { renditionSelection: 'CUSTOM', renditions: ['SD'] }, thumbnailConfiguration: { recordingMode: 'DISABLED' },
  })
  expect(recordingSettings({ ...newRecording, thumbnails: 'DISABLED' }, {}).thumbnailConfiguration).toEqual({ recordingMode: 'DISABLED' })
})

test('a configuration is put into words', () => {
  const base = { arn: 'a', destinationConfiguration: {}, state: 'ACTIVE' as const }
  expect(recordingFacts({ ...base, recordingReconnectWindowSeconds: 90, renditionConfiguration: { renditionSelection: 'CUSTOM', renditions: ['SD', 'HD'] }, thumbnailConfiguration: { recordingMode: 'DISABLED' } }))
    .toBe('SD, HD · no thumbnails · streams within 1 min 30 s are merged')
  expect(recordingFacts(base)).toBe('all renditions · a thumbnail every 1 min · a recording for each stream')
})
