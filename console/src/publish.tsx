// How to publish to the chosen channel, and where to play it.

import type { Ref } from 'preact'
import { useState } from 'preact/hooks'
import { CopyButton } from './copy'
import { openReplaceKey } from './dialogs'
import type { Config } from './entry'
import { explain, type Channel, type Ivs } from './ivs'
import { openPhone } from './phone'
import { ingestHost, playable } from './reach'
import { embedCode } from './watch-url'

const hidden = '••••••••••••'

/** What is shown of the stream key after it was fetched, '' if there is none: a key that was not shown is not, either. */
export function shownAfter(fetched: string, shown: string | undefined): string | undefined {
  return shown || !fetched ? fetched : undefined
}

/** The stream key is fetched each time that it is asked for, as it may have been replaced elsewhere. */
export function PublishCard({ config, ivs, channel, card }: { config: Config; ivs: Ivs; channel: Channel; card: Ref<HTMLElement> }) {
  const [shown, setShown] = useState<string>() // '' if the channel has no key
  const [problem, setProblem] = useState('')
  const key = shown || undefined
  const server = serverOf(config, channel)
  const refused = server ? '' : nowhere(config)
  const playback = channel.playbackUrl ? playable(channel.playbackUrl) : ''
  const watch = playback && watchUrl(playback)
  const embed = embedCode(watch, channel.authorized)

  /** The key, or '' where there is none or it cannot be fetched. */
  async function theKey(): Promise<string> {
    setProblem('')
    try {
      const fetched = await ivs.streamKey(channel.arn ?? '')
      setShown((now) => shownAfter(fetched, now))
      return fetched
    } catch (err) {
      setProblem(explain(err).text)
      return ''
    }
  }

  const show = () => theKey().then((it) => it && setShown(it))
  const forget = () => setShown(undefined)

  return <section class="card" id="publish" ref={card} aria-labelledby="publish-title" tabindex={-1}>
    <h2 id="publish-title">Publish to this channel</h2>
    {refused ? <p id="no-ingest" class="wrong">{refused}</p>
      : <p class="field"><span>Server</span><code id="ingest-url">{server}</code> <CopyButton text={server} data-copy="ingest-url" aria-label="Copy server" /></p>}
    <p class="field"><span>Stream key</span><code id="stream-key">{shown === '' ? 'none: create one with “Replace the key…”' : key ?? hidden}</code>
      <span><button id="show-key" type="button" class="plain" aria-label={key ? 'Hide stream key' : 'Show stream key'} onClick={() => key ? forget() : void show()}>{key ? 'Hide' : 'Show'}</button>{' '}
        <CopyButton id="copy-key" text={theKey} aria-label="Copy stream key" /></span></p>
    <p role="alert" class="wrong">{problem}</p>
    {server && <p id="publish-hint" class="quiet">{hint(config, channel)}</p>}
    <button id="replace-key" type="button" class="plain" onClick={() => openReplaceKey(ivs, channel, forget)}>Replace the key…</button>{' '}
    {server && <>
      <button id="phone" type="button" class="plain" onClick={() => openPhone(server, theKey)}>Publish from a phone…</button>
      <h3>Test video from ffmpeg</h3>
      <pre id="ffmpeg" tabindex={0} aria-label="ffmpeg command">{ffmpeg(server + (key ?? hidden))}</pre>
      <CopyButton id="copy-ffmpeg" text={() => theKey().then((it) => it && ffmpeg(server + it))} aria-label="Copy with key: the ffmpeg command">Copy with key</CopyButton>
    </>}
    <h3>Watch</h3>
    <p class="field"><span>Watch page</span><a id="watch-url" href={watch} target="_blank" rel="noopener">{watch}</a> <CopyButton text={watch} data-copy="watch-url" aria-label="Copy the address of the watch page" /></p>
    <p class="field"><span>Embed code</span><code id="embed">{embed}</code> <CopyButton text={embed} data-copy="embed" aria-label="Copy the embed code" /></p>
    {channel.authorized && <p class="quiet hint">The channel is private: viewers need these addresses with <code>?token=</code> and a playback token, which you can create under <a href="#view=access">Access</a>.</p>}
    <p class="field"><span>Playback URL</span><code id="playback-url">{playback}</code> <CopyButton text={playback} data-copy="playback-url" aria-label="Copy playback URL" /></p>
  </section>
}

function isPlain(config: Config, channel: Channel): boolean {
  return !!channel.insecureIngest && config.rtmpPort > 0
}

/**
 * Where encoders publish to; '' if the server does not listen for what the channel allows.
 * Plain RTMP where the channel allows it, as OBS trusts no certificate that the server made itself.
 */
export function serverOf(config: Config, channel: Channel): string {
  const host = ingestHost(channel.ingestEndpoint ?? '')
  if (isPlain(config, channel)) return `rtmp://${host}${port(config.rtmpPort, 1935)}/app/`
  return config.rtmpsPort ? `rtmps://${host}${port(config.rtmpsPort, 443)}/app/` : ''
}

function nowhere(config: Config): string {
  return config.rtmpPort > 0 ? 'This server does not accept RTMPS. Allow plain RTMP in the channel’s settings.' : 'This server does not accept encoders: neither RTMP nor RTMPS is on.'
}

function hint(config: Config, channel: Channel): string {
  const obs = 'In OBS: Settings, Stream, Service “Custom…”, then these two fields.'
  return isPlain(config, channel) ? obs : `${obs} OBS accepts only a certificate that its system trusts; `
    + 'otherwise, allow plain RTMP in the channel’s settings (insecureIngest).'
}

function ffmpeg(url: string): string {
  return [
    'ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000',
    '  -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -b:v 2500k -g 30',
    `  -c:a aac -b:a 128k -f flv ${shellQuote(url)}`,
  ].join(' \\\n')
}

/** The viewers' page of the channel that a playback URL plays. */
export function watchUrl(playback: string): string {
  const url = new URL(playback)
  return `${url.origin}/watch/${url.pathname.split('/').pop()?.replace(/\.m3u8$/, '')}`
}

function port(actual: number, usual: number): string {
  return actual === usual || !actual ? '' : `:${actual}`
}

/** Server and key come from the API: a shell must not interpret them. */
function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
