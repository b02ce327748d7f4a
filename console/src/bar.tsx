import { useLayoutEffect } from 'preact/hooks'
import { arrived } from './entry'
import { Views } from './pages'

/** What is at the top of each view. Without leave nobody is signed in. */
export function Bar({ region, page, leave, problem = '' }: { region?: string; page?: string; leave?: () => void; problem?: string }) {
  return <>
    <header class="bar">
      <img src={`${import.meta.env.BASE_URL}favicon.svg`} alt="" width="24" height="24" />
      <strong>Millrace</strong>
      {leave && <>
        <Views page={page} />
        <span id="region" class="quiet">{region}</span>
        <button id="sign-out" type="button" class="plain" onClick={() => leave()}>Sign out</button>
      </>}
    </header>
    <p id="problem" role="alert" hidden={!problem}>{problem}</p>
  </>
}

/** Calls arrive when the address bar asks for something else: a link was followed, or pasted into this tab. */
export function useArrival(arrive: () => void) {
  useLayoutEffect(() => { // before a link can be pressed
    const heard = (event: HashChangeEvent) => {
      arrived(event)
      arrive()
    }
    addEventListener('hashchange', heard)
    return () => removeEventListener('hashchange', heard)
  })
}
