// A channel's settings as the form holds them, and what is sent to the API.

import type { Channel, ChannelSettings } from './ivs'

export interface ChannelForm {
  name: string
  type: string
  preset: string
  latencyMode: string
  containerFormat: string
  insecureIngest: boolean
  authorized: boolean
  recordingConfigurationArn: string // '' is none
  playbackRestrictionPolicyArn: string // '' is none
  adConfigurationArn: string // '' is none
  tags: string // key=value, one per line
}

/** The defaults of a new channel. Plain RTMP works in OBS without a certificate. */
export const newChannel: ChannelForm = {
  name: '', type: 'STANDARD', preset: '', latencyMode: 'LOW', containerFormat: 'TS', insecureIngest: true, authorized: false,
  recordingConfigurationArn: '', playbackRestrictionPolicyArn: '', adConfigurationArn: '', tags: '',
}

export function formOf(channel: Channel): ChannelForm {
  return {
    name: channel.name ?? '', type: channel.type ?? 'STANDARD', preset: channel.preset ?? '', latencyMode: channel.latencyMode ?? 'LOW',
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
    ...(isAdvanced(type) && { preset: form.preset || 'HIGHER_BANDWIDTH_DELIVERY' }),
  } as ChannelSettings
}

/** Those settings that differ from the channel's. */
export function changedSettings(channel: Channel, form: ChannelForm): ChannelSettings {
  const before = settingsOf(formOf(channel))
  return Object.fromEntries(Object.entries(settingsOf(form)).filter(([name, value]) => before[name as keyof ChannelSettings] !== value))
}

/** Only these types have a preset. */
export function isAdvanced(type: string): boolean {
  return type.startsWith('ADVANCED')
}

/** Tags as lines of key=value. */
export function tagLines(tags: Record<string, string> = {}): string {
  return Object.entries(tags).map((pair) => pair.join('=')).join('\n')
}

/** Reads lines of key=value. wrong is the first line that is not one. */
export function parseTags(text: string): { tags: Record<string, string>; wrong?: string } {
  const tags: Record<string, string> = {}
  for (const line of text.split('\n').map((l) => l.trim()).filter(Boolean)) {
    const [key = '', ...value] = line.split('=')
    if (!key.trim() || !value.length) return { tags, wrong: line }
    tags[key.trim()] = value.join('=').trim()
  }
  return { tags }
}

/** The difference between two sets of tags: those to set, and the keys to remove. */
export function changedTags(before: Record<string, string>, after: Record<string, string>): { set: Record<string, string>; remove: string[] } {
  return {
    set: Object.fromEntries(Object.entries(after).filter(([key, value]) => before[key] !== value)),
    remove: Object.keys(before).filter((key) => !(key in after)),
  }
}
