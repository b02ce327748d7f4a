// The views beside that of the channels. The address names the one that is shown:
// #view=access.

import type { ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import { AccessPage } from './access'
import { EventsPage } from './events-page'
import type { Feed } from './follow'
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
  feed: Feed
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

export function Page({ name, site }: { name: string; site: Site }) {
  const [title, page] = pages[name]!
  useEffect(() => {
    document.title = `${title} – Millrace`
  }, [title])
  return <main id="page">
    <h1 id="page-title" tabindex={-1}>{title}</h1>
    {page(site)}
  </main>
}

/** The links to all views, of which page is shown, or that of the channels. */
export function Views({ page }: { page?: string }) {
  const link = (title: string, name?: string) => <a key={name} href={name ? `#view=${name}` : '#'} aria-current={name === page ? 'page' : undefined}>{title}</a>
  return <nav id="views" aria-label="Views">
    {link('Channels')}
    {Object.entries(pages).map(([name, [title]]) => link(title, name))}
  </nav>
}
