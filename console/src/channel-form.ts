// A channel's settings as the form holds them, and what is sent to the API.

import { Said, type Channel, type ChannelSettings } from './ivs'

export interface ChannelForm {
  name: string
  type: string
  preset: string
  latencyMode: string
  containerFormat: string
  multitrack: string // OFF, or a policy
  multitrackResolution: string
  insecureIngest: boolean
  authorized: boolean
  recordingConfigurationArn: string // '' is none
  playbackRestrictionPolicyArn: string // '' is none
  adConfigurationArn: string // '' is none
  tags: string // key=value, one per line
}

/** The defaults of a new channel. Plain RTMP works in OBS without a certificate. */
export const newChannel: ChannelForm = {
  name: '', type: 'STANDARD', preset: '', latencyMode: 'LOW', containerFormat: 'TS', multitrack: 'OFF', multitrackResolution: 'FULL_HD', insecureIngest: true, authorized: false,
  recordingConfigurationArn: '', playbackRestrictionPolicyArn: '', adConfigurationArn: '', tags: '',
}

export function formOf(channel: Channel): ChannelForm {
  const multitrack = channel.multitrackInputConfiguration
  return {
    name: channel.name ?? '', type: channel.type ?? 'STANDARD', preset: channel.preset ?? '', latencyMode: channel.latencyMode ?? 'LOW',
    multitrack: multitrack?.enabled ? multitrack.policy ?? 'ALLOW' : 'OFF', multitrackResolution: multitrack?.maximumResolution ?? 'FULL_HD',
    containerFormat: channel.containerFormat ?? 'TS', insecureIngest: !!channel.insecureIngest, authorized: !!channel.authorized,
    recordingConfigurationArn: channel.recordingConfigurationArn ?? '', playbackRestrictionPolicyArn: channel.playbackRestrictionPolicyArn ?? '',
    adConfigurationArn: channel.adConfigurationArn ?? '',
    tags: tagLines(channel.tags),
  }
}

/** The settings to create a channel with, without its tags. */
export function settingsOf(form: ChannelForm): ChannelSettings {
  const { name, type, latencyMode, containerFormat, insecureIngest, authorized, recordingConfigurationArn, playbackRestrictionPolicyArn, adConfigurationArn } = form
  return {
    name: name.trim(), type, latencyMode, containerFormat, insecureIngest, authorized, recordingConfigurationArn, playbackRestrictionPolicyArn, adConfigurationArn,
    multitrackInputConfiguration: hasMultitrack(form) && form.multitrack !== 'OFF'
      ? { enabled: true, policy: form.multitrack, maximumResolution: form.multitrackResolution } : { enabled: false },
    ...(isAdvanced(type) && { preset: form.preset || 'HIGHER_BANDWIDTH_DELIVERY' }),
  } as ChannelSettings
}

/** Those settings that differ from the channel's. */
export function changedSettings(channel: Channel, form: ChannelForm): ChannelSettings {
  const before = settingsOf(formOf(channel))
  return Object.fromEntries(Object.entries(settingsOf(form)).filter(([name, value]) => JSON.stringify(before[name as keyof ChannelSettings]) !== JSON.stringify(value)))
}

/** Only such channels can have multitrack input. */
export function hasMultitrack({ type, containerFormat }: ChannelForm): boolean {
  return type === 'STANDARD' && containerFormat === 'FRAGMENTED_MP4'
}

/** Only these types have a preset. */
export function isAdvanced(type: string): boolean {
  return type.startsWith('ADVANCED')
}

/** Tags as lines of key=value. */
export function tagLines(tags: Record<string, string> = {}): string {
  return Object.entries(tags).map((pair) => pair.join('=')).join('\n')
}

/**
 * Reads lines of key=value. A line that tagLines has made of a tag in before is that tag: its key may
 * have an = in it. Throws what is wrong with a line: without it, its tag would be removed.
 */
export function parseTags(text: string, before: Record<string, string> = {}): Record<string, string> {
  const known = new Map(Object.entries(before).map((pair) => [pair.join('=').trim(), pair] as const))
  const tags: Record<string, string> = {}
  for (const line of text.split('\n').map((l) => l.trim()).filter(Boolean)) {
    const [key, value] = known.get(line) ?? parseTag(line)
    if (Object.hasOwn(tags, key)) throw new Said(`Tags: “${key}” is there twice.`)
    tags[key] = value
  }
  return tags
}

function parseTag(line: string): [key: string, value: string] {
  const [key = '', ...value] = line.split('=')
  if (!key.trim() || !value.length) throw new Said(`Tags: “${line}” is not key=value.`)
  return [key.trim(), value.join('=').trim()]
}

/** The difference between two sets of tags: those to set, and the keys to remove. */
export function changedTags(before: Record<string, string>, after: Record<string, string>): { set: Record<string, string>; remove: string[] } {
  return {
    set: Object.fromEntries(Object.entries(after).filter(([key, value]) => before[key] !== value)),
    remove: Object.keys(before).filter((key) => !(key in after)),
  }
}
