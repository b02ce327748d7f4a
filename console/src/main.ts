// The console: signs in, refreshes the page every two seconds and after each
// event, and lets the user choose a channel. index.html is the page; these
// files fill it.

import { showActions } from './actions'
import { absences, ChannelView, showNotice, showState, type Parts } from './channel'
import { showChannels, showThumbnails } from './channels'
import { openChannel, openNewChannel, openReplaceKey } from './dialogs'
import { byId, setText, wireCopyButtons } from './dom'
import { address, enter, forget, remember, wanted, type Config, type Credentials, type Entry } from './entry'
import { follow } from './follow'
import { HealthCard } from './health'
import { explain, Ivs, type Listed } from './ivs'
import { Millrace } from './millrace'
import { isPage, showPage } from './pages'
import { Player } from './player'
import { poll } from './poll'
import { PublishCard } from './publish'
import { Resources } from './resources'
import { StopButton } from './stop'

const pollMs = 2000
const thumbnailsMs = 5000

/** What a change of the address bar does. */
let arrive = () => location.reload()

/** Shows one of the page's views: signin, console (of a channel), page (another), play. */
function view(name: string) {
  document.body.dataset.view = name
}

function showProblem(text: string) {
  setText(byId('problem'), text)
  byId('problem').hidden = !text
}

async function loadConfig(): Promise<Config> {
  const fallback = { region: 'us-west-2', rtmpPort: 1935, rtmpsPort: 443 }
  try {
    return { ...fallback, ...(await (await fetch('config.json')).json()) }
  } catch {
    return fallback // the server has gone since it sent the page; polling will say so
  }
}

/** Plays one URL without signing in: only the player knows the state. */
function playOnly(url: string) {
  view('play')
  const name = /([^/]*?)(\.m3u8)?(\?.*)?$/.exec(url)?.[1] || url
  setText(byId('channel-name'), name)
  document.title = `${name} – Millrace`
  const player = new Player((playback) => {
    showState(playback === 'live' ? 'live' : playback === 'ended' ? 'ended' : 'offline')
    showNotice(playback === 'live' ? undefined : {
      waiting: { title: 'Offline', text: 'Playback starts automatically when the stream is live.' },
      ended: { title: 'The stream ended', text: 'Playback resumes automatically with the next one.' },
      unsupported: absences.unsupported,
    }[playback])
  })
  showState('offline')
  showNotice(absences.waiting)
  player.play(url)
}

function signIn(config: Config, problem = '') {
  view('signin')
  showProblem(problem)
  byId<HTMLInputElement>('signin-region').value ||= config.region
  byId('key').focus()
}

function wireSignIn(config: Config) {
  byId('signin-form').addEventListener('submit', (event) => {
    event.preventDefault()
    void tryCredentials(config, { key: value('key'), secret: value('secret'), region: value('signin-region') })
  })
}

/** Signs in with what was typed, which stays where the server refuses it. */
async function tryCredentials(config: Config, credentials: Credentials) {
  try {
    await new Ivs(credentials).check()
  } catch (err) {
    showProblem(explain(err).text)
    byId('key').focus()
    return
  }
  showProblem('')
  remember(credentials)
  run(config, credentials, wanted() ?? {})
}

function value(id: string): string {
  return byId<HTMLInputElement>(id).value.trim()
}

/** Runs the console with credentials until the page goes: a new one forgets all that these have shown. */
function run(config: Config, credentials: Credentials, first: Pick<Entry, 'channel' | 'session' | 'view'>) {
  const ivs = new Ivs(credentials)
  const millrace = new Millrace(credentials, ivs)
  const resources = new Resources(ivs)
  const parts: Parts = {
    player: new Player((playback) => chosen?.showPlayback(playback)),
    publish: new PublishCard(config, (arn) => ivs.streamKey(arn).catch(fail)),
    health: new HealthCard(ivs, millrace, () => hurry()),
    stop: new StopButton(),
    actions: (arn) => showActions(ivs, millrace, arn, !!config.faults),
  }
  let now = first // what the address bar asks for
  let listed: Listed[] = []
  let complete = false // listed are all
  let chosen: ChannelView | undefined

  function leave(why = '') {
    forget(why)
    address()
    location.reload()
  }

  function fail(err: unknown): undefined {
    const trouble = explain(err)
    if (trouble.refused) leave(trouble.text)
    else showProblem(trouble.text)
  }

  function choose(arn: string, session?: string) {
    if (arn === chosen?.arn) return
    now = { channel: arn, session }
    parts.player.stop()
    chosen = new ChannelView(arn, ivs, millrace, parts, session, () => hurry(), fail)
    address(arn, session)
    hurry()
  }

  function render() {
    const page = isPage(now.view) ? now.view : undefined
    view(page ? 'page' : 'console')
    showPage(page, { resources, millrace, channels: listed, happened, openChannel: (arn) => go({ channel: arn }), refresh: () => hurry() })
    if (page) return
    showChannels(listed, complete, chosen?.arn, (arn) => {
      choose(arn)
      render()
      byId('channel-name').focus()
    })
    byId('channel').hidden = !chosen
    for (const id of ['edit-channel', 'replace-key']) byId<HTMLButtonElement>(id).disabled = !chosen?.described
  }

  async function refresh() {
    try {
      listed = await ivs.list((some) => {
        if (complete) return
        listed = some
        render()
      })
      complete = true
      const arn = now.channel ?? listed[0]?.arn
      if (!isPage(now.view) && !chosen && arn) choose(arn, now.session)
      render()
      const shown = chosen
      await shown?.refresh(listed.find((item) => item.arn === shown.arn), () => shown === chosen)
      render() // with what is known now
      showProblem('')
    } catch (err) {
      fail(err)
    }
  }

  function leaveChannel() {
    parts.player.stop()
    chosen = undefined
  }

  /** Goes to another view, or to a channel. */
  function go(to: typeof now) {
    leaveChannel()
    now = { channel: to.channel ?? now.channel, session: to.session, view: to.view }
    if (isPage(now.view)) history.replaceState(null, '', `#view=${now.view}`)
    render()
    byId(isPage(now.view) ? 'page-title' : 'channel-name').focus()
    scrollTo(0, 0)
    hurry()
  }

  /** Leaves a channel that has been deleted. */
  function deleted() {
    leaveChannel()
    now = {}
    address()
    hurry()
  }

  byId('new-channel').addEventListener('click', () => openNewChannel(ivs, (arn) => choose(arn)))
  byId('edit-channel').addEventListener('click', () => {
    if (chosen?.described) openChannel(ivs, chosen.described, () => hurry(), deleted)
  })
  byId('replace-key').addEventListener('click', () => {
    if (chosen?.described) openReplaceKey(ivs, chosen.described, () => parts.publish.forget())
  })
  byId('sign-out').addEventListener('click', () => leave())
  byId('back').addEventListener('click', () => {
    chosen?.choose()
    byId('channel-name').focus()
  })
  byId('filter').addEventListener('input', render)
  byId('order').addEventListener('change', render)
  setText(byId('region'), credentials.region)
  setText(byId('server-notice'), config.notice ?? '')
  byId('server-notice').hidden = !config.notice
  arrive = () => {
    const to = wanted()
    if (to) go(to)
    else location.reload()
  }
  const happened = follow(millrace, () => hurry())
  render()
  const { now: hurry } = poll(pollMs, refresh)
  poll(thumbnailsMs, async () => {
    if (!isPage(now.view)) await showThumbnails((arn) => millrace.thumbnail(arn))
  })
}

async function main() {
  wireCopyButtons()
  byId('how-to').addEventListener('click', () => byId('publish').focus())
  addEventListener('hashchange', () => arrive()) // a link was followed, or pasted into this tab
  const [config, entry] = await Promise.all([loadConfig(), enter()])
  wireSignIn(config)
  if (entry.play) playOnly(entry.play)
  else if (entry.credentials) run(config, entry.credentials, entry)
  else signIn(config, entry.problem)
}

void main()
