// How to publish to the chosen channel, and where to play it.

import { copy, byId, setText } from './dom'
import type { Config } from './entry'
import { openPhone } from './phone'
import { playable } from './player'
import type { Channel } from './ivs'
import { embedCode } from './watch-url'

const hidden = '••••••••••••'

export class PublishCard {
  private channel: Channel = {}
  private key?: string // fetched when it is first asked for
  private shown = false

  /** fetchKey returns the value of a channel's stream key, "" if it has none, or undefined after it has reported the error to the user. */
  constructor(private config: Config, private fetchKey: (arn: string) => Promise<string | undefined>) {
    byId('show-key').addEventListener('click', () => void this.toggle())
    byId('phone').addEventListener('click', () => openPhone(this.server(), () => this.theKey()))
    byId('copy-key').addEventListener('click', () => void this.copyWithKey((key) => key))
    byId('copy-ffmpeg').addEventListener('click', () => void this.copyWithKey((key) => this.ffmpeg(key)))
  }

  show(channel: Channel) {
    if (channel.arn !== this.channel.arn) {
      this.key = undefined
      this.shown = false
    }
    this.channel = channel
    this.render()
  }

  /** Forgets the key, which has been replaced. */
  forget() {
    this.key = undefined
    this.shown = false
    this.render()
  }

  private render() {
    const key = this.shown && this.key ? this.key : undefined
    setText(byId('ingest-url'), this.server())
    setText(byId('publish-hint'), this.hint())
    setText(byId('stream-key'), this.key === '' ? 'none: create one with “Replace the key…”' : key ?? hidden)
    setText(byId('show-key'), key ? 'Hide' : 'Show')
    byId('show-key').setAttribute('aria-pressed', String(!!key))
    setText(byId('ffmpeg'), this.ffmpeg(key ?? hidden))
    const watch = this.channel.playbackUrl ? watchUrl(playable(this.channel.playbackUrl)) : ''
    byId<HTMLAnchorElement>('watch-url').href = watch
    setText(byId('watch-url'), watch)
    setText(byId('embed'), embedCode(watch, this.channel.authorized))
    byId('token-hint').hidden = !this.channel.authorized
    setText(byId('playback-url'), this.channel.playbackUrl ? playable(this.channel.playbackUrl) : '')
  }

  private async toggle() {
    this.shown = !this.shown && !!(await this.theKey())
    this.render()
  }

  private async copyWithKey(text: (key: string) => string) {
    const key = await this.theKey()
    if (key) await copy(text(key))
    this.render()
  }

  /** The channel's key, "" if it has none, or undefined if it cannot be fetched. */
  private async theKey(): Promise<string | undefined> {
    const { arn = '' } = this.channel
    const key = this.key || (await this.fetchKey(arn))
    if (arn === this.channel.arn) this.key = key // else another channel was chosen meanwhile
    return this.key
  }

  /** Plain RTMP where the channel allows it, as OBS trusts no certificate that the server made itself. */
  private server(): string {
    const host = this.channel.ingestEndpoint ?? ''
    if (this.plain()) return `rtmp://${host}${port(this.config.rtmpPort, 1935)}/app/`
    return `rtmps://${host}${port(this.config.rtmpsPort, 443)}/app/`
  }

  private plain(): boolean {
    return !!this.channel.insecureIngest && this.config.rtmpPort > 0
  }

  private hint(): string {
    const obs = 'In OBS: Settings, Stream, Service “Custom…”, then these two fields.'
    return this.plain() ? obs : `${obs} OBS accepts only a certificate that its system trusts; `
      + 'otherwise, allow plain RTMP in the channel’s settings (insecureIngest).'
  }

  private ffmpeg(key: string): string {
    return [
      'ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000',
      '  -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -b:v 2500k -g 30',
      `  -c:a aac -b:a 128k -f flv ${shellQuote(this.server() + key)}`,
    ].join(' \\\n')
  }
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
