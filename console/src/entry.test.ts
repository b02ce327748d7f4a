import { expect, test, vi } from 'vitest'
import { address, arrived, wanted } from './entry'

test('a link that the page hears of late leads to where it points', () => {
  const location = new URL('https://host/console/#view=overview')
  vi.stubGlobal('location', location)
  vi.stubGlobal('history', { replaceState: (_: unknown, __: string, url: string) => { location.href = new URL(url, location).href } })
  location.hash = '#view=server'
  const newURL = location.href
  address({ view: 'overview' }) // of the view before, which is drawn meanwhile
  arrived({ newURL })
  expect(wanted()).toEqual({ view: 'server' })
  vi.unstubAllGlobals()
})
