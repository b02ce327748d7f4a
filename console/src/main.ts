// The console: signs in, keeps the page true every two seconds, and lets the
// user choose a channel. index.html is the page; these files fill it.

import { absences, ChannelView, showNotice, showState } from './channel'
import { showChannels } from './channels'
import { byId, setText, wireCopyButtons } from './dom'
import { address, enter, forget, remember, type Config, type Credentials } from './entry'
import { explain, Ivs, type Listed } from './ivs'
import { Player } from './player'
import { poll } from './poll'
import { PublishCard } from './publish'

const pollMs = 2000

/** Shows one of the page's views: signin, console, play. */
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
function playOnly(url: string, player: Player) {
  view('play')
  const name = /([^/]*?)(\.m3u8)?(\?.*)?$/.exec(url)?.[1] || url
  setText(byId('channel-name'), name)
  document.title = `${name} – Millrace`
  player.onPicture = (picture) => {
    showState(picture === 'live' ? 'live' : picture === 'ended' ? 'ended' : 'offline')
    showNotice(picture === 'live' ? undefined : {
      waiting: { title: 'Offline', text: 'The picture appears by itself when the stream is live.' },
      ended: { title: 'The stream ended', text: 'The picture comes back by itself with the next one.' },
      unsupported: absences.unsupported,
    }[picture])
  }
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

function wireSignIn(page: Page) {
  byId('signin-form').addEventListener('submit', (event) => {
    event.preventDefault()
    const credentials = { key: value('key'), secret: value('secret'), region: value('signin-region') }
    byId<HTMLInputElement>('secret').value = ''
    remember(credentials)
    run(page, credentials)
  })
}

function value(id: string): string {
  return byId<HTMLInputElement>(id).value.trim()
}

/** The parts of the page that live as long as it, whoever is signed in. */
interface Page {
  config: Config
  player: Player
  publish: PublishCard
}

/** Runs the console with credentials until they are refused or the user signs out. */
function run(page: Page, credentials: Credentials, wanted?: string) {
  const ivs = new Ivs(credentials)
  let listed: Listed[] = []
  let chosen: ChannelView | undefined

  function leave(problem = '') {
    polling.stop()
    page.player.stop()
    forget()
    address()
    signIn(page.config, problem)
  }

  function fail(err: unknown): undefined {
    const trouble = explain(err)
    if (trouble.refused) leave(trouble.text)
    else showProblem(trouble.text)
  }

  function choose(arn: string) {
    if (arn === chosen?.arn) return
    page.player.stop()
    chosen = new ChannelView(arn, ivs, page.player, page.publish, fail)
    address(arn)
    polling.now()
  }

  function render() {
    showChannels(listed, chosen?.arn, (arn) => {
      choose(arn)
      render()
      byId('channel-name').focus()
    })
    byId('channel').hidden = !chosen
  }

  async function refresh() {
    try {
      listed = await ivs.list()
      const first = wanted ?? listed[0]?.arn
      if (!chosen && first) choose(first)
      render()
      const now = chosen
      await now?.refresh(listed.find((item) => item.arn === now.arn), () => now === chosen)
      showProblem('')
    } catch (err) {
      fail(err)
    }
  }

  page.player.onPicture = (picture) => chosen?.showPicture(picture)
  page.publish.fetchKey = (arn) => ivs.streamKey(arn).catch(fail)
  byId('sign-out').onclick = () => leave()
  setText(byId('region'), credentials.region)
  view('console')
  render()
  const polling = poll(pollMs, refresh)
}

async function main() {
  wireCopyButtons()
  byId('how-to').addEventListener('click', () => byId('publish').focus())
  addEventListener('hashchange', () => location.reload()) // a link was pasted into this tab
  const config = await loadConfig()
  const page = { config, player: new Player(), publish: new PublishCard(config) }
  wireSignIn(page)
  const entry = enter(config)
  if (entry.play) playOnly(entry.play, page.player)
  else if (entry.credentials) run(page, entry.credentials, entry.channel)
  else signIn(config)
}

void main()
