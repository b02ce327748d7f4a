// Where and how streams are recorded, and ad configurations.

import { useState } from 'preact/hooks'
import { openTags, TagsLine } from './access'
import { changedTags, parseTags, tagLines } from './channel-form'
import { label } from './ivs'
import { lines } from './keys'
import type { Site } from './pages'
import { newRecording, recordingFacts, recordingSettings, type RecordingForm } from './recording-form'
import type { AdConfiguration, RecordingConfiguration, Resources } from './resources'
import { Card, Check, Choice, Confirm, Dialog, Field, FormButtons, Lines, NameField, open, TagsField, useLoad, useTask } from './ui'
import { usedBy, UsedBy } from './used-by'

const refreshMs = 3000 // a configuration that is being created is ready soon

export function RecordingPage(site: Site) {
  const recordings = useLoad(() => site.resources.recordings(), refreshMs)
  const ads = useLoad(() => site.resources.ivs.adConfigurations(), 5 * refreshMs)
  return <div class="cards wide">
    <Recordings {...site} list={recordings.data} problem={recordings.problem} changed={recordings.again} />
    <Ads {...site} list={ads.data} problem={ads.problem} changed={ads.again} />
  </div>
}

interface Listing<T> { list?: T[]; problem: string; changed: () => void }

const states: Record<string, string> = { CREATING: 'creating', ACTIVE: 'active', CREATE_FAILED: 'failed' }

function Recordings(props: Site & Listing<RecordingConfiguration>) {
  const { resources, channels, list, problem, changed } = props
  return <Card id="recording-configurations" title="Recording configurations" buttons={<button type="button" class="plain" id="new-recording"
    onClick={() => open((close) => <RecordingDialog resources={resources} close={close} saved={changed} />)}>New recording configuration…</button>}>
    <p class="quiet">Streams of a channel with a recording configuration are recorded to its bucket. A configuration cannot be changed. Attaching one takes effect with the next stream.</p>
    <p role="alert" class="wrong">{problem}</p>
    {list?.length === 0 && <p class="quiet">None yet.</p>}
    <ul class="items">
      {list?.map((configuration) => {
        const { arn = '', state = '', tags, destinationConfiguration: to } = configuration
        const name = label(configuration)
        return <li key={arn} data-state={state}>
          <span><b>{name}</b> <span class="badge" data-state={state}>{states[state] ?? state}</span></span>
          <span class="quiet">Bucket <code>{to?.s3?.bucketName}</code></span>
          <span class="quiet">{recordingFacts(configuration)}</span>
          {state === 'CREATE_FAILED' && <WhyFailed {...props} bucket={to?.s3?.bucketName ?? ''} />}
          <TagsLine tags={tags} />
          {state === 'ACTIVE' && <UsedBy {...props} arn={arn} setting="recordingConfigurationArn" name={name} />}
          <span class="item-buttons">
            <button type="button" class="plain" aria-label={`Tags of ${name}`} onClick={() => openTags(resources, configuration, changed)}>Tags…</button>
            <button type="button" class="plain danger" aria-label={`Delete ${name}`} disabled={usedBy(channels, 'recordingConfigurationArn', arn).length > 0}
              onClick={() => open((close) => <Confirm close={close} title={`Delete the recording configuration ${name}?`} act="Delete the configuration"
                run={() => resources.deleteRecording(arn).then(changed)}>Its recordings stay in the bucket.</Confirm>)}>Delete…</button>
          </span>
        </li>
      })}
    </ul>
  </Card>
}

/** Why a bucket cannot be recorded to. The state has no reason, so the bucket is tried again. */
function WhyFailed({ millrace, bucket }: Site & { bucket: string }) {
  const { data, problem } = useLoad(() => millrace.bucket(bucket), 30_000)
  if (problem) return <span class="wrong">{problem}</span>
  if (!data) return <span class="quiet">Checking the bucket…</span>
  return <span class="wrong">{data.usable ? 'The bucket is usable now. Delete this configuration and create it again.' : `The bucket is not usable: ${data.reason}`}</span>
}

const selections = [
  ['ALL', 'All renditions', 'Everything that viewers can choose from.'],
  ['NONE', 'No renditions', 'Thumbnails only.'],
  ['CUSTOM', 'Some renditions', 'Those chosen below.'],
] as const

const thumbnailModes = [
  ['INTERVAL', 'At an interval', 'Images for previews and for the seek bar of players.'],
  ['DISABLED', 'None', 'Only media and playlists are stored.'],
] as const

const resolutions = [['FULL_HD', 'Full HD (1080p)'], ['HD', 'HD (720p)'], ['SD', 'SD (480p)'], ['LOWEST_RESOLUTION', 'Lowest (160p)']] as const

const storages = [
  ['SEQUENTIAL', 'Sequential', 'Every thumbnail is kept, numbered.'],
  ['LATEST', 'Latest', 'One more thumbnail, always overwritten with the current image.'],
] as const

function RecordingDialog({ resources, close, saved }: { resources: Resources; close: () => void; saved: () => void }) {
  const [form, setForm] = useState(newRecording)
  const task = useTask(close)
  const set = <K extends keyof RecordingForm>(name: K) => (value: RecordingForm[K]) => setForm({ ...form, [name]: value })
  const toggle = (name: 'renditions' | 'storage', value: string) => (on: boolean) => set(name)(on ? [...form[name], value] : form[name].filter((v) => v !== value))
  return <Dialog close={close} title="New recording configuration">
    <form class="settings" onSubmit={(event) => {
      event.preventDefault()
      if (form.selection === 'CUSTOM' && !form.renditions.length) task.setProblem('Choose at least one rendition.')
      else if (form.thumbnails === 'INTERVAL' && !form.storage.length) task.setProblem('Choose how thumbnails are stored.')
      else void task.run(() => resources.createRecording(recordingSettings(form, parseTags(form.tags))).then(saved))
    }}>
      <NameField value={form.name} change={set('name')} />
      <Field name="bucket" label="Bucket" hint="an S3 bucket, or a folder below --buckets, which is created" value={form.bucket} change={set('bucket')} required maxLength={63} />
      <Field name="reconnectSeconds" label="Reconnect window" hint="seconds, 0 to 300: a stream that starts within this time of the previous one continues its recording" type="number" min={0} max={300}
        value={form.reconnectSeconds} change={set('reconnectSeconds')} />
      <Choice legend="Renditions" name="selection" choices={selections} value={form.selection} choose={set('selection')} />
      {form.selection === 'CUSTOM' && <fieldset><legend>Renditions to record</legend>
        {resolutions.map(([value, title]) => <Check key={value} name={`rendition-${value}`} label={title} meaning="" value={form.renditions.includes(value)} change={toggle('renditions', value)} />)}
      </fieldset>}
      <Choice legend="Thumbnails" name="thumbnails" choices={thumbnailModes} value={form.thumbnails} choose={set('thumbnails')} />
      {form.thumbnails === 'INTERVAL' && <>
        <Field name="intervalSeconds" label="Interval" hint="seconds, 1 to 60" type="number" min={1} max={60} value={form.intervalSeconds} change={set('intervalSeconds')} />
        <label>Resolution
          <select name="resolution" value={form.resolution} onChange={(event) => set('resolution')(event.currentTarget.value)}>
            <option value="">Same as the stream</option>
            {resolutions.map(([value, title]) => <option key={value} value={value}>{title}</option>)}
          </select></label>
        <fieldset><legend>Storage</legend>
          {storages.map(([value, title, meaning]) => <Check key={value} name={`storage-${value}`} label={title} meaning={meaning} value={form.storage.includes(value)} change={toggle('storage', value)} />)}
        </fieldset>
      </>}
      <TagsField value={form.tags} change={set('tags')} />
      <p role="alert" class="wrong">{task.problem}</p>
      <FormButtons act="Create" busy={task.busy} cancel={close} />
    </form>
  </Dialog>
}

function Ads(props: Site & Listing<AdConfiguration>) {
  const { resources, channels, list, problem, changed } = props
  const edit = (ads?: AdConfiguration) => open((close) => <AdDialog resources={resources} ads={ads} close={close} saved={changed} />)
  return <Card id="ad-configurations" title="Ad configurations" buttons={<button type="button" class="plain" id="new-ads" onClick={() => edit()}>New ad configuration…</button>}>
    <p class="quiet">The MediaTailor configurations that supply the ads of a channel’s ad breaks. Only MPEG-TS channels support ads.</p>
    <p role="alert" class="wrong">{problem}</p>
    {list?.length === 0 && <p class="quiet">None yet.</p>}
    <ul class="items">
      {list?.map((ads) => <li key={ads.arn}>
        <b>{label(ads)}</b>
        {ads.mediaTailorPlaybackConfigurations?.map(({ playbackConfigurationArn: arn }) => <code key={arn}>{arn}</code>)}
        <span class="quiet">{ads.postRollConfiguration?.enabled ? `${ads.postRollConfiguration.durationSeconds} s of ads after the stream` : 'No ads after the stream'}</span>
        <TagsLine tags={ads.tags} />
        <UsedBy {...props} arn={ads.arn ?? ''} setting="adConfigurationArn" name={label(ads)} />
        <span class="item-buttons">
          <button type="button" class="plain" aria-label={`Edit ${label(ads)}`} onClick={() => edit(ads)}>Edit…</button>
          <button type="button" class="plain danger" aria-label={`Delete ${label(ads)}`} disabled={usedBy(channels, 'adConfigurationArn', ads.arn ?? '').length > 0}
            onClick={() => open((close) => <Confirm close={close} title={`Delete the ad configuration ${label(ads)}?`} act="Delete the configuration"
              run={() => resources.deleteAds(ads.arn ?? '').then(changed)}>This cannot be undone.</Confirm>)}>Delete…</button>
        </span>
      </li>)}
    </ul>
  </Card>
}

function AdDialog({ resources, ads, close, saved }: { resources: Resources; ads?: AdConfiguration; close: () => void; saved: () => void }) {
  const [name, setName] = useState(ads?.name ?? '')
  const [arns, setArns] = useState(ads?.mediaTailorPlaybackConfigurations?.map(({ playbackConfigurationArn: arn }) => arn).join('\n') ?? '')
  const [postRoll, setPostRoll] = useState(!!ads?.postRollConfiguration?.enabled)
  const [seconds, setSeconds] = useState(String(ads?.postRollConfiguration?.durationSeconds ?? 30))
  const [tags, setTags] = useState(tagLines(ads?.tags))
  const task = useTask(close)
  async function save() {
    const after = parseTags(tags, ads?.tags)
    const settings = {
      name, mediaTailorPlaybackConfigurations: lines(arns).map((playbackConfigurationArn) => ({ playbackConfigurationArn })),
      postRollConfiguration: { enabled: postRoll, durationSeconds: Number(seconds) },
    }
    if (ads?.arn) {
      await resources.updateAds(ads.arn, settings)
      await resources.ivs.retag(ads.arn, changedTags(ads.tags ?? {}, after))
    } else await resources.createAds({ ...settings, tags: after })
    saved()
  }
  return <Dialog close={close} title={ads ? `Ad configuration ${label(ads)}` : 'New ad configuration'}>
    <form class="settings" onSubmit={(event) => {
      event.preventDefault()
      void task.run(save)
    }}>
      <NameField value={name} change={setName} />
      <Lines name="arns" label="MediaTailor playback configurations" hint="their ARNs, one per line, 1 to 3" value={arns} change={setArns} />
      <Check name="postRoll" label="Ads after the stream" meaning="Viewers who are still there see ads when the stream has ended." value={postRoll} change={setPostRoll} />
      <Field name="seconds" label="Duration of these ads" hint="seconds, 1 to 300" type="number" min={1} max={300} value={seconds} change={setSeconds} />
      <TagsField value={tags} change={setTags} />
      <p role="alert" class="wrong">{task.problem}</p>
      <FormButtons act={ads ? 'Save' : 'Create'} busy={task.busy} cancel={close} />
    </form>
  </Dialog>
}
