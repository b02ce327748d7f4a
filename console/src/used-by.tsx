// Which channels use a resource, and how one more comes to.

import { useState } from 'preact/hooks'
import { label, type Listed } from './ivs'
import type { Site } from './pages'
import { useTask } from './ui'

type Setting = 'recordingConfigurationArn' | 'playbackRestrictionPolicyArn' | 'adConfigurationArn'

/** The channels that refer to a resource by a setting. */
export function usedBy(channels: Listed[], setting: Setting, arn: string): Listed[] {
  return channels.filter(({ channel }) => channel[setting] === arn)
}

export function UsedBy({ channels, resources, openChannel, refresh, arn, setting, name }: Site & { arn: string; setting: Setting; name: string }) {
  const [chosen, choose] = useState('')
  const task = useTask(() => {})
  const users = usedBy(channels, setting, arn)
  const others = channels.filter(({ channel }) => channel[setting] !== arn)
  return <>
    {users.length > 0 && <span class="quiet">Used by {users.slice(0, 20).map(({ arn: user, channel }, i) => <>
      {i > 0 && ', '}<button type="button" class="link" onClick={() => openChannel(user)}>{label(channel)}</button></>)}{users.length > 20 && ` and ${users.length - 20} more`}.</span>}
    {others.length > 0 && <form class="inline attach" onSubmit={(event) => {
      event.preventDefault()
      if (chosen) void task.run(async () => {
        await resources.ivs.update(chosen, { [setting]: arn })
        choose('')
        refresh()
      })
    }}>
      <select aria-label={`Use ${name} for a channel`} value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
        <option value="">Use it for a channel…</option>
        {others.map(({ arn: other, channel }) => <option key={other} value={other}>{label(channel)}</option>)}
      </select>
      <button type="submit" class="plain" aria-disabled={!chosen || task.busy}>Use</button>
    </form>}
    <span role="alert" class="wrong">{task.problem}</span>
  </>
}
