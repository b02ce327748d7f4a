// The settings of a recording configuration as the form holds them, and what is
// sent to the API.

import type { CreateRecordingConfigurationRequest } from '@aws-sdk/client-ivs'
import type { RecordingConfiguration } from './resources'
import { duration } from './format'

export interface RecordingForm {
  name: string
  bucket: string
  reconnectSeconds: string
  selection: string
  renditions: string[]
  thumbnails: string
  intervalSeconds: string
  resolution: string // '' is that of the stream
  storage: string[]
  tags: string
}

export const newRecording: RecordingForm = {
  name: '', bucket: '', reconnectSeconds: '0', selection: 'ALL', renditions: ['HD'], thumbnails: 'INTERVAL', intervalSeconds: '60', resolution: '', storage: ['SEQUENTIAL'], tags: '',
}

/** The settings to create a configuration with. */
export function recordingSettings(form: RecordingForm, tags: Record<string, string>): CreateRecordingConfigurationRequest {
  return {
    name: form.name, tags, destinationConfiguration: { s3: { bucketName: form.bucket.trim() } },
    recordingReconnectWindowSeconds: Number(form.reconnectSeconds) || 0,
    renditionConfiguration: { renditionSelection: form.selection, ...(form.selection === 'CUSTOM' && { renditions: form.renditions }) },
    thumbnailConfiguration: form.thumbnails === 'DISABLED' ? { recordingMode: 'DISABLED' } : {
      recordingMode: 'INTERVAL', targetIntervalSeconds: Number(form.intervalSeconds) || 60, storage: form.storage,
      ...(form.resolution && { resolution: form.resolution }),
    },
  } as CreateRecordingConfigurationRequest
}

/** A configuration in words. */
export function recordingFacts({ recordingReconnectWindowSeconds: wait = 0, renditionConfiguration: r, thumbnailConfiguration: t }: RecordingConfiguration): string {
  const renditions = { ALL: 'all renditions', NONE: 'no renditions', CUSTOM: (r?.renditions ?? []).join(', ') }[r?.renditionSelection ?? 'ALL']
  const thumbnails = t?.recordingMode === 'DISABLED' ? 'no thumbnails'
    : `a thumbnail every ${duration((t?.targetIntervalSeconds ?? 60) * 1000)}${t?.resolution ? ` in ${t.resolution}` : ''}`
  return [renditions, thumbnails, wait ? `streams within ${duration(wait * 1000)} are merged` : 'a recording for each stream'].join(' · ')
}
