// The views beside that of the channels. The address names the one that is shown:
// #view=access.

import { render, type ComponentChildren } from 'preact'
import { AccessPage } from './access'
import { byId } from './dom'
import { EventsPage } from './events-page'
import type { Happened } from './follow'
import type { Listed } from './ivs'
import type { Millrace } from './millrace'
import { OverviewPage } from './overview'
import { RecordingPage } from './recording-page'
import type { Resources } from './resources'
import { ServerPage } from './server-page'

/** What the views work with. */
export interface Site {
  resources: Resources
  millrace: Millrace
  channels: Listed[]
  happened: Happened[] // the latest events, newest first
  notice?: string
  openChannel: (arn: string) => void
  refresh: () => void
}

const pages: Record<string, [title: string, page: (site: Site) => ComponentChildren]> = {
  overview: ['Overview', (site) => <OverviewPage {...site} />],
  access: ['Access', (site) => <AccessPage {...site} />],
  recording: ['Recording and ads', (site) => <RecordingPage {...site} />],
  events: ['Events', (site) => <EventsPage {...site} />],
  server: ['Server', (site) => <ServerPage {...site} />],
}

/** Whether there is a view of this name. */
export function isPage(name: string | undefined): name is string {
  return name !== undefined && name in pages
}

/** Shows a view, or none; its link in the bar says so. */
export function showPage(name: string | undefined, site: Site) {
  for (const link of byId('views').querySelectorAll('a')) {
    if (link.hash === (name ? `#view=${name}` : '')) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  const [title, page] = (name && pages[name]) || []
  if (title) document.title = `${title} – Millrace`
  render(page ? <Shell key={name} title={title ?? ''}>{page(site)}</Shell> : null, byId('page'))
}

function Shell({ title, children }: { title: string; children: ComponentChildren }) {
  return <><h1 id="page-title" tabindex={-1}>{title}</h1>{children}</>
}
