// The console of a user who is signed in: loads the channels and the one that is shown
// every two seconds and after each event, and goes from view to view.

import { useEffect, useState } from 'preact/hooks'
import { Bar, useArrival } from './bar'
import { ChannelPage, useChannel } from './channel'
import { ChannelList, usualListing } from './channels'
import { openNewChannel } from './dialogs'
import { address, forget, wanted, type Config, type Credentials, type Where } from './entry'
import { follow, type Feed, type Happened } from './follow'
import { useHealth, usualRange } from './health'
import { Ivs, type Listed } from './ivs'
import { Millrace } from './millrace'
import { isPage, Page } from './pages'
import { Resources } from './resources'
import { focusHeading, useLoad } from './ui'

const refreshMs = 2000
const serverMs = 60_000

/** Forgets all that these credentials have shown, with the page. */
function leave(why = '') {
  forget(why)
  address({})
  location.reload()
}

export function Console({ config, credentials, first }: { config: Config; credentials: Credentials; first: Where }) {
  const [{ ivs, millrace, resources }] = useState(() => {
    const ivs = new Ivs(credentials)
    return { ivs, millrace: new Millrace(credentials, ivs), resources: new Resources(ivs) }
  })
  const [where, go] = useWhere(first)
  const [listing, setListing] = useState(usualListing)
  const [range, setRange] = useState(usualRange)
  const page = isPage(where.view) ? where.view : undefined
  const arn = page ? undefined : where.channel

  const [early, setEarly] = useState<Listed[]>([]) // the first of many channels
  const list = useLoad(async () => {
    const all = await ivs.list(setEarly)
    if (all[0]) go.unlessChosen(all[0].arn)
    return all
  }, refreshMs)
  const channels = list.data ?? early
  const listed = channels.find((item) => item.arn === arn)
  const found = useChannel(ivs, millrace, refreshMs, arn, where.session, () => go.to({ channel: arn }))
  const known = listed || list.data ? found.known : undefined
  const session = known && (known.past ?? known.latest)
  const live = !!session && session.streamId === listed?.stream?.streamId
  const health = useHealth(ivs, millrace, refreshMs, arn, session, live, range)

  function hurry() {
    for (const { again } of [list, found, health]) again()
  }
  const feed = useEvents(millrace, hurry)
  const { data: server } = useLoad(() => millrace.server(), serverMs)
  const noLadder = server?.transcode.reason
  useEffect(() => {
    if (list.refused) leave(list.problem)
  }, [list.refused])

  return <>
    <Bar region={credentials.region} page={page} leave={leave} problem={list.problem || found.problem || health.problem} />
    {noLadder && <p id="server-notice" role="status">This server does not transcode: viewers of every channel, whatever its type, get only the source. The reason: {noLadder}</p>}
    {page ? <Page key={page} name={page} site={{ resources, millrace, channels, feed, openChannel: (channel) => go.to({ channel }), refresh: list.again }} />
      : <div id="console">
        <ChannelList millrace={millrace} listed={channels} complete={!!list.data} chosen={arn} choose={(channel) => go.to({ channel })}
          create={() => openNewChannel(ivs, (channel) => {
            go.to({ channel })
            list.again()
          })} listing={listing} setListing={setListing} />
        {arn ? <ChannelPage ivs={ivs} millrace={millrace} config={config} arn={arn} listed={listed} known={known} chosen={where.session} health={health.health} range={range} setRange={setRange}
          choose={(session) => go.to({ channel: arn, session })} changed={hurry} deleted={() => {
            go.to({})
            list.again()
          }} /> : <main id="channel" hidden />}
      </div>}
  </>
}

/** What is shown, which the address bar has too. The heading gets the focus when the user goes elsewhere. */
function useWhere(first: Where) {
  const [where, setWhere] = useState(first)
  const [moves, setMoves] = useState(0) // of the user
  const go = {
    to(next: Where) {
      if (next.view || where.view) scrollTo(0, 0)
      setWhere(next)
      setMoves((n) => n + 1)
    },
    unlessChosen: (channel: string) => setWhere((now) => now.channel || isPage(now.view) ? now : { channel }),
  }
  useArrival(() => {
    const next = wanted()
    if (next) go.to({ ...next, channel: next.channel ?? where.channel })
    else location.reload()
  })
  useEffect(() => address(where), [where])
  useEffect(() => {
    if (moves) focusHeading()
  }, [moves])
  return [where, go] as const
}

/** Follows the events of the server; happened is called soon after each. */
function useEvents(millrace: Millrace, happened: () => void): Feed {
  const [events, setEvents] = useState<Happened[]>([])
  const [problem, setProblem] = useState('')
  useEffect(() => follow(millrace, (latest) => {
    setEvents(latest)
    happened()
  }, setProblem), [])
  return { events, problem }
}
