// Where events go, what has not arrived there, and events as they happen.

import { useState } from 'preact/hooks'
import type { Happened } from './follow'
import { clock, day, duration } from './format'
import { explain, label, type Listed } from './ivs'
import type { Target } from './millrace'
import type { Site } from './pages'
import { Card, useLoad } from './ui'

const refreshMs = 5000

/** An undelivered event that is older than this is late. */
const lateSeconds = 60

export function EventsPage(site: Site) {
  const targets = useLoad(() => site.millrace.targets(), refreshMs)
  return <div class="cards wide">
    <Targets {...site} targets={targets.data} problem={targets.problem} changed={targets.again} />
    <Latest {...site} />
  </div>
}

function Targets({ millrace, channels, targets, problem, changed }: Site & { targets?: Target[]; problem: string; changed: () => void }) {
  const [said, setSaid] = useState('')
  const again = (what: string, call: () => Promise<unknown>) => void call().then(() => setSaid(`Sent again: ${what}.`), (err) => setSaid(explain(err).text)).then(changed)
  return <Card id="targets" title="Targets">
    <p class="quiet">Every event is delivered to each target of <code>--event-target</code>, in order per channel. An event that a target keeps refusing becomes a dead letter.</p>
    <p role="alert" class="wrong">{problem}</p>
    {targets?.length === 0 && <p class="quiet">There are no targets. Start the server with <code>--event-target NAME=PLACE</code>, where PLACE is a webhook, for example.</p>}
    <ul class="items">
      {targets?.map(({ name, kind, pending, lagSeconds, lastError, dead, deadLetters }) => <li key={name} data-late={lagSeconds > lateSeconds}>
        <span><b>{name}</b> <span class="quiet">{kind}</span></span>
        <span class={lagSeconds > lateSeconds ? 'wrong' : 'quiet'}>{pending ? `${pending} pending, the oldest for ${duration(lagSeconds * 1000)}` : 'No events pending'}</span>
        {lastError && <span class="wrong">{lastError}</span>}
        {dead > 0 && <span class="item-buttons"><button type="button" class="plain" aria-label={`Send all again: the dead letters of ${name}`}
          onClick={() => again(`${dead} dead letters of ${name}`, () => millrace.redeliverDead(name))}>Send all again</button></span>}
        {dead > 0 && <details>
          <summary>{dead} dead {dead === 1 ? 'letter' : 'letters'}</summary>
          <ul class="items">
            {deadLetters.map(({ event, attempts, time, error }) => <li key={event.id}>
              <span><b>{eventName(event) || event['detail-type']}</b> {channelName(channels, event)}</span>
              <span class="quiet">{event['detail-type']}, {day(new Date(event.time))}; given up after {attempts} {attempts === 1 ? 'attempt' : 'attempts'}, {day(new Date(time))}</span>
              <span class="wrong">{error}</span>
              <span class="item-buttons"><button type="button" class="plain" aria-label={`Send again: the event of ${day(new Date(event.time))}`}
                onClick={() => again('1 event', () => millrace.redeliver(event.id, name))}>Send again</button></span>
            </li>)}
          </ul>
          {dead > deadLetters.length && <p class="quiet">The newest {deadLetters.length} are listed.</p>}
        </details>}
      </li>)}
    </ul>
    <p role="status" class="quiet">{said}</p>
  </Card>
}

function Latest({ feed: { events: happened, problem }, channels }: Site) {
  const [sought, setSought] = useState('')
  const shown = happened.filter((event) => `${channelName(channels, event)} ${event['detail-type']} ${eventName(event)}`.toLowerCase().includes(sought.toLowerCase()))
  return <Card id="feed" title="As they happen">
    <input type="search" aria-label="Filter events" placeholder="Filter by channel, type or name" value={sought} onInput={(event) => setSought(event.currentTarget.value)} />
    <p role="alert" class="wrong">{problem && `Not connected, trying again: ${problem}`}</p>
    {!happened.length && !problem && <p class="quiet">No events since this page was opened.</p>}
    <ol class="events" tabindex={0} aria-label="Events as they happen, newest first" aria-live="off">
      {shown.map((event) => <li key={event.id}>
        <time dateTime={event.time}>{clock(new Date(event.time))}</time> <span class="event-name">{eventName(event) || event['detail-type']}</span> <b>{channelName(channels, event)}</b>
        <small class="quiet">{event['detail-type']}</small>
      </li>)}
    </ol>
  </Card>
}

/** The name of the channel that an event is about. */
function channelName(channels: Listed[], { resources: [arn = ''] = [] }: Happened): string {
  return label(channels.find((listed) => listed.arn === arn)?.channel ?? { arn })
}

/** The name of an event in its detail; other kinds have none. */
function eventName({ detail }: Happened): string {
  const name = detail?.event_name ?? detail?.limit_name ?? detail?.recording_status
  return typeof name === 'string' ? name : ''
}
