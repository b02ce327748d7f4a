// Who may watch: key pairs and tokens of private channels, revocation of viewers,
// and restriction policies.

import { useState } from 'preact/hooks'
import { parseTags, tagLines, changedTags } from './channel-form'
import { countryName, findCountries } from './countries'
import { label, type Listed } from './ivs'
import { canMakeKeys, claims, lines, makePair, maxShortMinutes, newToken, readPrivateKey, sign, tokenProblem, type MadePair, type TokenForm } from './keys'
import type { Site } from './pages'
import { playable } from './reach'
import { watchUrl } from './publish'
import type { PlaybackKeyPair, PlaybackRestrictionPolicy, Resources } from './resources'
import { Card, Check, Confirm, Copyable, Dialog, Field, FormButtons, Lines, NameField, open, saveFile, TagsField, useLoad, useTask } from './ui'
import { usedBy, UsedBy } from './used-by'

/** The private keys that this tab can sign with, by the ARN of their pair; gone with the page. */
const signing = new Map<string, CryptoKey>()

const refreshMs = 15_000

export function AccessPage(site: Site) {
  const { resources } = site
  const pairs = useLoad(() => resources.keyPairs(), refreshMs)
  const policies = useLoad(() => resources.ivs.restrictionPolicies(), refreshMs)
  return <div class="cards wide">
    <KeyPairs resources={resources} pairs={pairs.data} problem={pairs.problem} changed={pairs.again} />
    <TokenMaker {...site} pairs={pairs.data ?? []} />
    <Revocation {...site} />
    <Policies {...site} policies={policies.data} problem={policies.problem} changed={policies.again} />
  </div>
}

function KeyPairs({ resources, pairs, problem, changed }: { resources: Resources; pairs?: PlaybackKeyPair[]; problem: string; changed: () => void }) {
  return <Card id="key-pairs" title="Playback key pairs" buttons={<>
    {canMakeKeys() && <button type="button" class="plain" id="make-key" onClick={() => open((close) => <MakeKey resources={resources} close={close} made={changed} />)}>Create a key pair…</button>}
    <button type="button" class="plain" id="import-key" onClick={() => open((close) => <ImportKey resources={resources} close={close} imported={changed} />)}>Import a public key…</button>
  </>}>
    <p class="quiet">Viewers of private channels need a token signed with the private key of one of these pairs. The server stores only the public keys.</p>
    {!canMakeKeys() && <p class="quiet">Browsers generate keys only on pages served over HTTPS or from localhost. Generate a key pair with <code>millrace keygen</code> and import its public key.</p>}
    <p role="alert" class="wrong">{problem}</p>
    {pairs?.length === 0 && <p class="quiet">None yet.</p>}
    <ul class="items">
      {pairs?.map((pair) => <li key={pair.arn}>
        <b>{label(pair)}</b>
        <span class="quiet">Fingerprint <code>{pair.fingerprint}</code></span>
        <TagsLine tags={pair.tags} />
        <span class="item-buttons">
          <button type="button" class="plain" aria-label={`Tags of ${label(pair)}`} onClick={() => openTags(resources, pair, changed)}>Tags…</button>
          <button type="button" class="plain danger" aria-label={`Delete ${label(pair)}`} onClick={() => open((close) => <Confirm close={close} title={`Delete the key pair ${label(pair)}?`} act="Delete the key pair"
            run={() => resources.deleteKeyPair(pair.arn ?? '').then(changed)}>
            Tokens signed with its private key can no longer start playback.
          </Confirm>)}>Delete…</button>
        </span>
      </li>)}
    </ul>
  </Card>
}

/** Makes a pair, imports its public key, and shows its private key, once. */
function MakeKey({ resources, close, made }: { resources: Resources; close: () => void; made: () => void }) {
  const [name, setName] = useState('')
  const [pair, setPair] = useState<MadePair>()
  const [saved, setSaved] = useState(false)
  const task = useTask(() => {}) // stays open: the private key is still to be shown
  const file = `${name || 'playback-key'}.pem`
  async function make() {
    const fresh = await makePair()
    const { arn = '' } = await resources.importKeyPair(name, fresh.publicPem, {})
    signing.set(arn, fresh.signing)
    setPair(fresh)
    made()
  }
  if (!pair) {
    return <Dialog close={close} title="Create a key pair">
      <form class="settings" onSubmit={(event) => {
        event.preventDefault()
        void task.run(make)
      }}>
        <NameField value={name} change={setName} />
        <p class="quiet">The key pair is generated in this browser (ECDSA, P-384). Only its public key is sent to the server.</p>
        <p role="alert" class="wrong">{task.problem}</p>
        <FormButtons act="Create the key pair" busy={task.busy} cancel={close} />
      </form>
    </Dialog>
  }
  return <Dialog close={close} title="Save the private key now">
    <p>It is shown only once, and the server does not have it: your own backend signs tokens with it. This tab can sign tokens with it until it is closed or reloaded.</p>
    <Copyable name="private key" text={pair.privatePem} secret />
    <div class="dialog-buttons">
      <button type="button" id="save-key" onClick={() => {
        saveFile(file, pair.privatePem, 'application/x-pem-file')
        setSaved(true)
      }}>Save as {file}</button>
      <button type="button" class="plain" id="key-done" onClick={close}>{saved ? 'Done' : 'Close without saving'}</button>
    </div>
  </Dialog>
}

function ImportKey({ resources, close, imported }: { resources: Resources; close: () => void; imported: () => void }) {
  const [name, setName] = useState('')
  const [material, setMaterial] = useState('')
  const [tags, setTags] = useState('')
  const task = useTask(close)
  return <Dialog close={close} title="Import a public key">
    <form class="settings" onSubmit={(event) => {
      event.preventDefault()
      if (material.includes('PRIVATE KEY')) return task.setProblem('This is a private key. Keep it where tokens are signed, and paste the public key here.')
      void task.run(() => resources.importKeyPair(name, material, parseTags(tags)).then(imported))
    }}>
      <NameField value={name} change={setName} />
      <Lines name="material" label="Public key" hint="PEM (-----BEGIN PUBLIC KEY-----), ECDSA on curve P-384" rows={6} value={material} change={setMaterial} />
      <TagsField value={tags} change={setTags} />
      <p role="alert" class="wrong">{task.problem}</p>
      <FormButtons act="Import" busy={task.busy} incomplete={!material} cancel={close} />
    </form>
  </Dialog>
}

function TokenMaker({ channels, resources, pairs }: Site & { pairs: PlaybackKeyPair[] }) {
  const privates = channels.filter(({ channel }) => channel.authorized)
  const [chosenArn, setArn] = useState('')
  const [chosenPair, setPair] = useState('')
  const [form, setForm] = useState(newToken)
  const [made, setMade] = useState<{ of: string; token: string; url: string }>()
  const [problem, setProblem] = useState('')
  const arn = chosenArn || privates[0]?.arn || ''
  const pairArn = chosenPair || pairs.find((pair) => signing.has(pair.arn ?? ''))?.arn || pairs[0]?.arn || ''
  const key = signing.get(pairArn)
  const of = `${arn} ${pairArn}`
  const set = <K extends keyof TokenForm>(name: K) => (value: TokenForm[K]) => setForm({ ...form, [name]: value })

  async function make(event: Event) {
    event.preventDefault()
    setMade(undefined)
    const wrong = key ? tokenProblem(form) : 'This tab does not have the private key of this pair. Choose its file.'
    setProblem(wrong)
    if (wrong || !key) return
    try {
      const token = await sign(key, claims(arn, form, Date.now()))
      const { playbackUrl = '' } = await resources.ivs.channel(arn)
      setMade({ of, token, url: `${watchUrl(playable(playbackUrl))}?token=${token}` })
    } catch (err) {
      setProblem((err as Error).message)
    }
  }

  async function read(file?: File) {
    setProblem('')
    try {
      if (file) signing.set(pairArn, await readPrivateKey(await file.text()))
      setForm({ ...form })
    } catch (err) {
      setProblem((err as Error).message)
    }
  }

  return <Card id="tokens" title="Create a playback token">
    {!privates.length && <p class="quiet">No channel is private. Make one private in its settings.</p>}
    {!pairs.length && <p class="quiet">Tokens need a key pair. Create one first.</p>}
    {privates.length > 0 && pairs.length > 0 && canMakeKeys() && <form class="settings" onSubmit={(event) => void make(event)}>
      <ChannelPick channels={privates} value={arn} choose={setArn} />
      <label>Key pair
        <select name="pair" value={pairArn} onChange={(event) => setPair(event.currentTarget.value)}>
          {pairs.map((pair) => <option key={pair.arn} value={pair.arn}>{label(pair)}{signing.has(pair.arn ?? '') ? ' (private key in this tab)' : ''}</option>)}
        </select></label>
      {!key && <label>Private key <small class="quiet">a PEM file, which is read in this tab and never sent</small>
        <input type="file" name="private" accept=".pem,.key,.txt" onChange={(event) => void read(event.currentTarget.files?.[0])} /></label>}
      <Field name="minutes" label="Valid for" hint={`minutes in which playback can be started; at most ${maxShortMinutes} with a viewer ID or for single use`} type="number" min={1} value={String(form.minutes)} change={(value) => set('minutes')(Number(value))} />
      <Field name="viewerId" label="Viewer ID" hint="required to revoke the viewer later" maxLength={40} value={form.viewerId} change={set('viewerId')} />
      <Field name="viewerVersion" label="Viewer session version" hint="a revocation ends sessions up to a given version" type="number" min={0} value={form.viewerVersion} change={set('viewerVersion')} />
      <Lines name="origins" label="Origins" hint={`websites that may play the stream, one per line (the watch page is on ${location.origin}); leave empty to allow all`} value={form.origins} change={set('origins')} />
      <Check name="strictOrigin" label="Enforce origins strictly" meaning="Also for media requests, and for players that are not browsers." value={form.strictOrigin} change={set('strictOrigin')} />
      <Check name="singleUse" label="Single use" meaning="The token can start playback only once." value={form.singleUse} change={set('singleUse')} />
      <label>Highest resolution
        <select name="maximumResolution" value={form.maximumResolution} onChange={(event) => set('maximumResolution')(event.currentTarget.value)}>
          <option value="">All renditions</option><option value="SD">SD (480p)</option><option value="HD">HD (720p)</option><option value="FULL_HD">Full HD (1080p)</option>
        </select></label>
      <p role="alert" class="wrong">{problem}</p>
      <div class="dialog-buttons"><button type="submit" id="sign-token">Create the token</button></div>
    </form>}
    {made?.of === of && <div role="status" id="made-token">
      <h3>Token</h3><Copyable name="token" text={made.token} />
      <h3>Watch page</h3><p><a href={made.url} target="_blank" rel="noopener">{made.url}</a></p>
    </div>}
  </Card>
}

function ChannelPick({ channels, value, choose }: { channels: Listed[]; value: string; choose: (arn: string) => void }) {
  return <label>Channel
    <select name="channel" value={value} onChange={(event) => choose(event.currentTarget.value)}>
      {channels.map(({ arn, channel }) => <option key={arn} value={arn}>{label(channel)}</option>)}
    </select></label>
}

/** The most viewers in one call of the API. */
const maxRevoked = 20

function Revocation({ channels, resources }: Site) {
  const privates = channels.filter(({ channel }) => channel.authorized)
  const [chosen, setArn] = useState('')
  const [viewers, setViewers] = useState('')
  const [version, setVersion] = useState('')
  const [done, setDone] = useState('')
  const task = useTask(() => {})
  const arn = chosen || privates[0]?.arn || ''
  const ids = lines(viewers)
  const revocable = ids.length > 0 && ids.length <= maxRevoked
  async function revoke() {
    const failed = await resources.revoke(arn, ids, Number(version) || 0)
    if (failed.length) return task.setProblem(failed.map(({ viewerId, message }) => `${viewerId}: ${message}`).join('; '))
    setDone(`Revoked: ${ids.join(', ')}.`)
    setViewers('')
  }
  return <Card id="revocation" title="Revoke viewers">
    <p class="quiet">Immediately ends the sessions of viewers whose tokens have a viewer ID, on every node, and refuses new sessions with those tokens.</p>
    {!privates.length && <p class="quiet">No channel is private.</p>}
    {privates.length > 0 && <form class="settings" onSubmit={(event) => {
      event.preventDefault()
      setDone('')
      if (revocable) void task.run(revoke)
    }}>
      <ChannelPick channels={privates} value={arn} choose={setArn} />
      <Lines name="viewers" label="Viewer IDs" hint={`one per line, at most ${maxRevoked}`} value={viewers} change={setViewers} />
      <Field name="version" label="Up to version" hint="of their sessions; leave empty for version 0 and sessions without a version" type="number" min={0} value={version} change={setVersion} />
      <p role="alert" class="wrong">{task.problem}</p>
      <div class="dialog-buttons"><button type="submit" class="danger" id="revoke" aria-disabled={!revocable || task.busy}>Revoke</button></div>
      <p role="status" class="quiet">{done}</p>
    </form>}
  </Card>
}

function Policies(props: Site & { policies?: PlaybackRestrictionPolicy[]; problem: string; changed: () => void }) {
  const { resources, channels, policies, problem, changed } = props
  const edit = (policy?: PlaybackRestrictionPolicy) => open((close) => <PolicyDialog resources={resources} policy={policy} close={close} saved={changed} />)
  return <Card id="policies" title="Playback restriction policies" buttons={<button type="button" class="plain" id="new-policy" onClick={() => edit()}>New policy…</button>}>
    <p class="quiet">For public channels: the countries and websites from which they can be watched. Countries need a GeoIP database (<code>--geoip</code>).</p>
    <p role="alert" class="wrong">{problem}</p>
    {policies?.length === 0 && <p class="quiet">None yet.</p>}
    <ul class="items">
      {policies?.map((policy) => <li key={policy.arn}>
        <b>{label(policy)}</b>
        <span class="quiet">Countries: {policy.allowedCountries?.map(countryName).join(', ') || 'all'}</span>
        <span class="quiet">Origins: {policy.allowedOrigins?.join(', ') || 'all'}{policy.enableStrictOriginEnforcement ? ', strictly enforced' : ''}</span>
        <TagsLine tags={policy.tags} />
        <UsedBy {...props} arn={policy.arn ?? ''} setting="playbackRestrictionPolicyArn" name={label(policy)} />
        <span class="item-buttons">
          <button type="button" class="plain" aria-label={`Edit ${label(policy)}`} onClick={() => edit(policy)}>Edit…</button>
          <button type="button" class="plain danger" aria-label={`Delete ${label(policy)}`} disabled={usedBy(channels, 'playbackRestrictionPolicyArn', policy.arn ?? '').length > 0}
            onClick={() => open((close) => <Confirm close={close} title={`Delete the policy ${label(policy)}?`} act="Delete the policy"
              run={() => resources.deletePolicy(policy.arn ?? '').then(changed)}>This cannot be undone.</Confirm>)}>Delete…</button>
        </span>
      </li>)}
    </ul>
  </Card>
}

/** The most origins that a policy has. */
const maxOrigins = 5

function PolicyDialog({ resources, policy, close, saved }: { resources: Resources; policy?: PlaybackRestrictionPolicy; close: () => void; saved: () => void }) {
  const [name, setName] = useState(policy?.name ?? '')
  const [chosen, setChosen] = useState(policy?.allowedCountries ?? [])
  const [origins, setOrigins] = useState(policy?.allowedOrigins?.join('\n') ?? '')
  const [strict, setStrict] = useState(!!policy?.enableStrictOriginEnforcement)
  const [tags, setTags] = useState(tagLines(policy?.tags))
  const task = useTask(close)
  async function save() {
    const after = parseTags(tags, policy?.tags)
    const settings = { name, allowedCountries: chosen, allowedOrigins: lines(origins), enableStrictOriginEnforcement: strict }
    if (policy?.arn) {
      await resources.updatePolicy(policy.arn, settings)
      await resources.ivs.retag(policy.arn, changedTags(policy.tags ?? {}, after))
    } else await resources.createPolicy({ ...settings, tags: after })
    saved()
  }
  return <Dialog close={close} title={policy ? `Policy ${label(policy)}` : 'New playback restriction policy'}>
    <form class="settings" onSubmit={(event) => {
      event.preventDefault()
      if (lines(origins).length > maxOrigins) task.setProblem(`At most ${maxOrigins} origins.`)
      else void task.run(save)
    }}>
      <NameField value={name} change={setName} />
      <Countries chosen={chosen} choose={setChosen} />
      <Lines name="origins" label="Origins" hint={`websites that may play the stream, such as https://example.com (the watch page and this console are on ${location.origin}), one per line, at most ${maxOrigins}; leave empty to allow all`} value={origins} change={setOrigins} />
      <Check name="strict" label="Enforce origins strictly" meaning="Also for media requests, and for players that are not browsers." value={strict} change={setStrict} />
      <TagsField value={tags} change={setTags} />
      <p role="alert" class="wrong">{task.problem}</p>
      <FormButtons act={policy ? 'Save' : 'Create'} busy={task.busy} cancel={close} />
    </form>
  </Dialog>
}

/** A list of countries that can be searched by name. */
function Countries({ chosen, choose }: { chosen: string[]; choose: (codes: string[]) => void }) {
  const [sought, setSought] = useState('')
  const found = findCountries(sought)
  const toggle = (code: string) => choose(chosen.includes(code) ? chosen.filter((c) => c !== code) : [...chosen, code].sort())
  return <fieldset>
    <legend>Countries <small class="quiet">from which channels can be watched; choose none to allow all</small></legend>
    <ul class="chips">{chosen.map((code) => <li key={code}><button type="button" class="plain" aria-label={`Remove ${countryName(code)}`} onClick={() => toggle(code)}>{countryName(code)} ×</button></li>)}</ul>
    <input name="country" type="search" aria-label="Search countries" placeholder="Search countries" autocomplete="off" value={sought} onInput={(event) => setSought(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key !== 'Enter') return
        event.preventDefault() // would send the form
        const only = found.length === 1 ? found[0] : undefined
        if (!only) return
        toggle(only.code)
        setSought('')
      }} />
    <div class="countries" tabindex={0} role="group" aria-label="Countries">
      {found.map(({ code, name }) => <label class="choice" key={code}>
        <input type="checkbox" value={code} checked={chosen.includes(code)} onChange={() => toggle(code)} /><span>{name} <small class="quiet">{code}</small></span>
      </label>)}
    </div>
    <p role="status" class="quiet">{sought && !found.length ? 'No country matches.' : ''}</p>
  </fieldset>
}

export function TagsLine({ tags }: { tags?: Record<string, string> }) {
  return tags && Object.keys(tags).length > 0 ? <span class="quiet">Tags: {Object.entries(tags).map((pair) => pair.join('=')).join(', ')}</span> : null
}

/** Shows and changes the tags of a resource. */
export function openTags(resources: Resources, resource: { arn?: string; name?: string; tags?: Record<string, string> }, changed: () => void) {
  open((close) => <TagsDialog resources={resources} resource={resource} close={close} changed={changed} />)
}

function TagsDialog({ resources, resource, close, changed }: { resources: Resources; resource: { arn?: string; name?: string; tags?: Record<string, string> }; close: () => void; changed: () => void }) {
  const [text, setText] = useState(tagLines(resource.tags))
  const task = useTask(close)
  return <Dialog close={close} title={`Tags of ${label(resource)}`}>
    <form class="settings" onSubmit={(event) => {
      event.preventDefault()
      void task.run(() => resources.ivs.retag(resource.arn ?? '', changedTags(resource.tags ?? {}, parseTags(text, resource.tags))).then(changed))
    }}>
      <TagsField value={text} change={setText} />
      <p role="alert" class="wrong">{task.problem}</p>
      <FormButtons act="Save" busy={task.busy} cancel={close} />
    </form>
  </Dialog>
}
