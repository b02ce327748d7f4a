// The dialogs for a channel: its settings, its deletion, and the replacement of its stream key.

import { useState } from 'preact/hooks'
import { changedSettings, changedTags, formOf, hasMultitrack, isAdvanced, newChannel, parseTags, settingsOf, type ChannelForm } from './channel-form'
import { label, type Channel, type Ivs } from './ivs'
import { Check, Choice, Confirm, Dialog, NameField, open, Pick, TagsField, useLoad, useTask } from './ui'

const refreshMs = 10_000

/** Asks for the settings of a new channel; created is called with its ARN. */
export function openNewChannel(ivs: Ivs, created: (arn: string) => void) {
  open((close) => <ChannelDialog ivs={ivs} close={close} saved={created} />)
}

export function openChannel(ivs: Ivs, channel: Channel, saved: () => void, deleted: () => void) {
  open((close) => <ChannelDialog ivs={ivs} channel={channel} close={close} saved={saved}
    remove={() => open((closeIt) => <Confirm close={closeIt} title={`Delete ${label(channel)}?`} act="Delete the channel"
      run={() => ivs.remove(channel.arn ?? '').then(deleted)}>
      Its stream key and its session history are deleted too; recordings stay in their bucket. Stop a live channel first.
    </Confirm>)} />)
}

export function openReplaceKey(ivs: Ivs, channel: Channel, replaced: () => void) {
  open((close) => <Confirm close={close} title={`Replace the stream key of ${label(channel)}?`} act="Replace the key"
    run={() => ivs.replaceKey(channel.arn ?? '').then(replaced)}>
    The old key stops working immediately: encoders that use it can no longer publish. A live stream continues.
  </Confirm>)
}

const types = [
  ['STANDARD', 'Standard', 'Transcoded into a ladder of renditions up to full HD, so that each viewer gets the best quality their network allows.'],
  ['BASIC', 'Basic', 'All viewers get exactly what the encoder sends. Costs the server almost nothing.'],
  ['ADVANCED_HD', 'Advanced HD', 'Transcoded up to 720p, whatever the encoder sends.'],
  ['ADVANCED_SD', 'Advanced SD', 'Transcoded up to 480p, whatever the encoder sends.'],
] as const

const latencies = [
  ['LOW', 'Low', 'A few seconds: for chats, auctions, anything that viewers react to.'],
  ['NORMAL', 'Normal', 'Ten seconds or more: steadier on poor networks.'],
] as const

const containers = [
  ['TS', 'MPEG-TS', 'Works in every player.'],
  ['FRAGMENTED_MP4', 'Fragmented MP4', 'Smaller on the wire.'],
] as const

const multitracks = [
  ['OFF', 'Off', 'The encoder sends one video, from which the server makes the renditions.'],
  ['ALLOW', 'Allowed', 'Encoders may send several. This version of the server takes one: those that send more are refused.'],
  ['REQUIRE', 'Required', 'Encoders that send one video are refused too, so that with this version nobody can publish.'],
] as const

const multitrackResolutions = [
  ['FULL_HD', 'Full HD', 'Up to 1080p.'],
  ['HD', 'HD', 'Up to 720p.'],
  ['SD', 'SD', 'Up to 480p.'],
] as const

const presets = [
  ['HIGHER_BANDWIDTH_DELIVERY', 'Higher bandwidth', 'Better quality for each rendition.'],
  ['CONSTRAINED_BANDWIDTH_DELIVERY', 'Constrained bandwidth', 'Lower bit rates for slow networks.'],
] as const

function ChannelDialog({ ivs, channel, close, saved, remove }: { ivs: Ivs; channel?: Channel; close: () => void; saved: (arn: string) => void; remove?: () => void }) {
  const [form, setForm] = useState<ChannelForm>(channel ? formOf(channel) : newChannel)
  const recordings = useLoad(() => ivs.recordingConfigurations(), refreshMs)
  const policies = useLoad(() => ivs.restrictionPolicies(), refreshMs)
  const ads = useLoad(() => ivs.adConfigurations(), refreshMs)
  const task = useTask(close)
  const set = <K extends keyof ChannelForm>(name: K) => (value: ChannelForm[K]) => setForm({ ...form, [name]: value })

  async function save() {
    const tags = parseTags(form.tags, channel?.tags)
    if (!channel) {
      saved(await ivs.create({ ...settingsOf(form), tags }))
      return
    }
    await ivs.update(channel.arn ?? '', changedSettings(channel, form))
    await ivs.retag(channel.arn ?? '', changedTags(channel.tags ?? {}, tags))
    saved(channel.arn ?? '')
  }

  function submit(event: Event) {
    event.preventDefault()
    void task.run(save)
  }

  return <Dialog close={close} title={channel ? `Settings of ${label(channel)}` : 'New channel'}>
    <form class="settings" onSubmit={submit}>
      <NameField value={form.name} change={set('name')} />
      <Choice legend="Type" name="type" choices={types} value={form.type} choose={set('type')} />
      {isAdvanced(form.type) && <Choice legend="Preset" name="preset" choices={presets} value={form.preset || 'HIGHER_BANDWIDTH_DELIVERY'} choose={set('preset')} />}
      <Choice legend="Latency" name="latencyMode" choices={latencies} value={form.latencyMode} choose={set('latencyMode')} />
      <Choice legend="Container" name="containerFormat" choices={containers} value={form.containerFormat} choose={set('containerFormat')} />
      {hasMultitrack(form) && <Choice legend="Multitrack video" name="multitrack" choices={multitracks} value={form.multitrack} choose={set('multitrack')} />}
      {hasMultitrack(form) && form.multitrack !== 'OFF' && <Choice legend="Highest resolution of multitrack video" name="multitrackResolution" choices={multitrackResolutions} value={form.multitrackResolution} choose={set('multitrackResolution')} />}
      <fieldset>
        <legend>Access</legend>
        <Check name="insecureIngest" label="Allow plain RTMP" meaning="In addition to RTMPS. The stream key is then sent unencrypted." value={form.insecureIngest} change={set('insecureIngest')} />
        <Check name="authorized" label="Private" meaning="Viewers need a token that your own server signs." value={form.authorized} change={set('authorized')} />
        <Pick label="Playback restriction policy" name="policy" none="None: every country and site" from={policies} value={form.playbackRestrictionPolicyArn} choose={set('playbackRestrictionPolicyArn')} />
      </fieldset>
      <Pick label="Recording" name="recording" none="Not recorded" from={recordings} value={form.recordingConfigurationArn} choose={set('recordingConfigurationArn')} />
      {(ads.data?.length || ads.problem || form.adConfigurationArn) && <Pick label="Ad configuration" name="ads" none="None" from={ads} value={form.adConfigurationArn} choose={set('adConfigurationArn')} />}
      <TagsField value={form.tags} change={set('tags')} />
      {channel && <p class="quiet">A live channel cannot be changed: stop its stream first.</p>}
      <p role="alert" class="wrong">{task.problem}</p>
      <div class="dialog-buttons">
        {remove && <button type="button" class="plain danger" id="delete-channel" onClick={remove}>Delete…</button>}
        <span class="space" />
        <button type="button" class="plain" onClick={close}>Cancel</button>
        <button type="submit" id="save-channel" aria-disabled={task.busy}>{channel ? 'Save' : 'Create'}</button>
      </div>
    </form>
  </Dialog>
}
