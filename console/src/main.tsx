// The page of the console: its views are for a user who is signed in, except that
// for signing in and that of one stream, which needs none.

import { render } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Bar, useArrival } from './bar'
import { absences, StateBadge } from './channel'
import { Console } from './console'
import { enter, remember, wanted, type Config, type Credentials, type Entry } from './entry'
import { explain, Ivs } from './ivs'
import { Screen, type Notice } from './playback'
import type { Playback } from './player'

async function loadConfig(): Promise<Config> {
  const answer = await fetch('config.json')
  if (!answer.ok) throw new Error(`config.json: ${answer.status} ${answer.statusText}`)
  return await answer.json() as Config
}

function App({ config, entry }: { config: Config; entry: Entry }) {
  const [credentials, setCredentials] = useState(entry.credentials)
  const [{ channel, session, view }, setFirst] = useState<Entry>(entry)
  if (entry.play) return <Play url={entry.play} />
  if (credentials) return <Console config={config} credentials={credentials} first={{ channel, session, view }} />
  return <SignIn region={config.region} why={entry.problem} accepted={(given) => {
    remember(given)
    setFirst(wanted() ?? {})
    setCredentials(given)
  }} />
}

/** What was typed stays where the server refuses it. */
function SignIn({ region, why = '', accepted }: { region: string; why?: string; accepted: (credentials: Credentials) => void }) {
  const [problem, setProblem] = useState(why)
  const first = useRef<HTMLInputElement>(null)
  useArrival(() => location.reload())
  useEffect(() => first.current?.focus(), [])

  async function submit(form: HTMLFormElement) {
    const typed = new FormData(form)
    const value = (name: string) => String(typed.get(name)).trim()
    const credentials = { key: value('key'), secret: value('secret'), region: value('region') }
    try {
      await new Ivs(credentials).check()
    } catch (err) {
      setProblem(explain(err).text)
      first.current?.focus()
      return
    }
    accepted(credentials)
  }

  return <>
    <Bar problem={problem} />
    <main id="signin">
      <form id="signin-form" onSubmit={(event) => {
        event.preventDefault()
        void submit(event.currentTarget)
      }}>
        <h1>Sign in</h1>
        <p class="quiet">Use the access key of this server, which <code>millrace env</code> prints. It stays in this browser tab.</p>
        <label>Access key ID <input id="key" name="key" ref={first} autocomplete="username" autocapitalize="off" spellcheck={false} required /></label>
        <label>Secret access key <input id="secret" name="secret" type="password" autocomplete="current-password" required /></label>
        <label>Region <input name="region" defaultValue={region} autocapitalize="off" spellcheck={false} required /></label>
        <button type="submit">Sign in</button>
      </form>
    </main>
  </>
}

const playNotices: Record<Exclude<Playback, 'live'>, Notice> = {
  waiting: { title: 'Offline', text: 'Playback starts automatically when the stream is live.' },
  ended: { title: 'The stream ended', text: 'Playback resumes automatically with the next one.' },
  unsupported: absences.unsupported,
}

/** Plays one URL without signing in: only the player knows the state. */
function Play({ url }: { url: string }) {
  const [playback, changed] = useState<Playback>()
  const name = /([^/]*?)(\.m3u8)?(\?.*)?$/.exec(url)?.[1] || url
  useArrival(() => location.reload())
  useEffect(() => {
    document.title = `${name} – Millrace`
  }, [])
  return <>
    <Bar />
    <div id="console" class="alone">
      <main id="channel">
        <div class="title"><h1>{name}</h1><StateBadge state={playback === 'live' || playback === 'ended' ? playback : 'offline'} /></div>
        <Screen of={url} stream={{ id: url, url }} changed={changed} notice={playback === 'live' ? undefined : playback ? playNotices[playback] : absences.waiting} />
      </main>
    </div>
  </>
}

function Failed({ reason }: { reason: string }) {
  return <>
    <Bar problem={`The console cannot start: ${reason}`} />
    <main id="signin"><button type="button" onClick={() => location.reload()}>Try again</button></main>
  </>
}

async function main() { // await outside of a function would split the bundle
  try {
    const [config, entry] = await Promise.all([loadConfig(), enter()])
    render(<App config={config} entry={entry} />, document.body)
  } catch (err) { // the server has gone since it sent the page, or the browser keeps nothing for this page
    render(<Failed reason={(err as Error).message} />, document.body)
  }
}

void main()
