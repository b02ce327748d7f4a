// The server's own API beside that of IVS, below /_millrace/: measurements,
// health, and events as they happen. Its requests are signed as IVS calls are.

import { SignatureV4 } from '@smithy/signature-v4'
import type { Credentials } from './entry'
import { readEvents, type Happened } from './follow'
import { Said, type Ivs } from './ivs'
import type { Server } from './machine'
import type { ClusterNode } from './nodes'

/** One measurement. The time is in Unix seconds, the start of its period. */
export type Point = [time: number, value: number]

/** The names are those of the metrics of Amazon CloudWatch under AWS/IVS, where it has them. */
export type Metric = 'IngestVideoBitrate' | 'IngestAudioBitrate' | 'IngestFramerate' | 'KeyframeInterval' | 'ConcurrentViews' | 'StalledViewers' | 'StartupTime'

export type Metrics = Partial<Record<Metric, Point[]>>

/** The server's assessment of the live stream, in words. */
export interface Report {
  health?: string
  sentence?: string
  renditions?: Rendition[] // that viewers are offered
  playback?: Playback
  /** Why the stream that was asked for was refused or ended by the server; undefined if it was not. */
  refused?: { streamId: string, reason: string }
}

/** A rendition of a live stream. Bit rates are in bit/s. */
export interface Rendition {
  name: string
  label: string
  width?: number
  height?: number
  framerate?: number
  codecs: string
  averageBandwidth: number
  playing: boolean
}

/** How playback is for those viewers whose players report it, over the last minute. */
export interface Playback {
  reporting: number
  stalled: number
  bitrate: number // bit/s
  buffer: number // s
  startup?: number // s
  latency?: number // s
}

/** The live streams of all nodes. */
export interface LiveStreams {
  streams: LiveStream[]
  unreachable?: { node: string; host: string }[] // nodes whose streams are missing
}

export interface LiveStream {
  channelArn: string
  streamId: string
  health: string
  viewerCount: number
  bitrate: number // bit/s, from the encoder
  framerate: number
  playback?: Playback
}

/** The viewer sessions of a channel: the newest of them, and how many there are in all. */
export interface Viewers {
  viewers: Viewer[]
  total: number
  unreachable?: { node: string; host: string }[] // nodes whose viewers are missing
}

/** A viewer session. */
export interface Viewer {
  id: string
  viewerId?: string // of the playback token
  viewerSessionVersion?: number
  since: string
  rendition?: string
  addressClass: string
  country?: string
  /** What its player reported in the last minute: bit/s and seconds. */
  playback?: { stalls: number; stalled: boolean; bitrate?: number; buffer?: number; startup?: number; latency?: number }
}

/** A target of events. */
export interface Target {
  name: string
  kind: string
  pending: number
  lagSeconds: number
  lastError?: string
  dead: number
  deadLetters: { event: Happened; attempts: number; time: string; error: string }[] // the newest
}

/** A recording, as the server lists it. Its addresses are relative to the server's root, and work for hours. */
export interface Recording {
  id: string
  state: 'STARTING' | 'RECORDING' | 'WAITING' | 'ENDED' | 'FAILED'
  failure?: string
  startTime?: string
  durationMs: number
  bytes: number
  uploadLagMs: number // how long the oldest media has waited for the bucket
  renditions: { path: string }[]
  thumbnails: number // how many are numbered from 0 on
  thumbnailIntervalMs?: number
  playlistUrl?: string
  downloadUrl?: string
  thumbnailsUrl?: string
}

export class Millrace {
  private signer: SignatureV4

  constructor({ key, secret, region }: Credentials, private ivs: Ivs) {
    this.signer = new SignatureV4({
      service: 'ivs', region, credentials: { accessKeyId: key, secretAccessKey: secret }, sha256: ivs.sha256,
    })
  }

  /** Measurements of a session from start until end, both in Unix seconds; undefined if the server has none. */
  async metrics(arn: string, streamId: string, start: number, end: number, period: 1 | 60): Promise<Metrics | undefined> {
    const query = { streamId, start: String(Math.floor(start)), end: String(Math.ceil(end)), period: String(period) }
    return (await this.json<{ metrics?: Metrics }>(`${channelPath(arn)}/metrics`, query))?.metrics
  }

  /** The health of the live stream of a channel, and how that stream ended; undefined if the server does not know the channel. */
  async health(arn: string, streamId: string): Promise<Report | undefined> {
    return this.json<Report>(`${channelPath(arn)}/health`, { streamId })
  }

  /** The newest recordings of a channel, newest first. */
  async recordings(arn: string): Promise<Recording[]> {
    return (await this.json<{ recordings: Recording[] }>(`${channelPath(arn)}/recordings`))?.recordings ?? []
  }

  /** The latest thumbnail of the live stream of a channel; undefined if there is none. */
  async thumbnail(arn: string): Promise<ImageBitmap | undefined> {
    const response = await this.get(`${channelPath(arn)}/thumbnail`, {}, { signal: AbortSignal.timeout(8000) })
    return response.status === 200 ? createImageBitmap(await response.blob()) : undefined
  }

  /** A token that starts playback of a private channel, within a minute. */
  async playbackToken(arn: string): Promise<string> {
    const response = await this.send('POST', `${channelPath(arn)}/playback-token`, {}, { signal: AbortSignal.timeout(8000) })
    if (!response.ok) throw await refusal(response)
    return (await response.json() as { token: string }).token
  }

  /** Injects a fault into the live stream of a channel, if the server was started with --faults. */
  async fault(channelArn: string, fault: string, seconds: number): Promise<void> {
    const body = JSON.stringify({ channelArn, fault, duration: `${seconds}s` })
    const response = await this.send('POST', '/_millrace/faults', {}, { body, signal: AbortSignal.timeout(8000) })
    if (!response.ok) throw await refusal(response)
  }

  /**
   * Calls happened with the events as they happen, in their order, until the connection ends; after the event
   * of an id it begins with the next. connected is called before. Returns false if the server has no such event, or no feed at all.
   */
  async follow(happened: (events: Happened[]) => void, signal: AbortSignal, after: string | undefined, connected: () => void): Promise<boolean> {
    const response = await this.get('/_millrace/events', after ? { from: after } : {}, { signal, headers: { accept: 'text/event-stream' } })
    if (response.status === 404) return false
    if (!response.ok) throw await refusal(response)
    connected()
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    let left = ''
    for (let chunk = await reader?.read(); chunk && !chunk.done; chunk = await reader?.read()) {
      const { events, rest } = readEvents(left + chunk.value)
      left = rest
      if (events.length) happened(events)
    }
    return true
  }

  /** Figures of all live streams. */
  async streams(): Promise<LiveStreams> {
    return (await this.json<LiveStreams>('/_millrace/streams')) ?? { streams: [] }
  }

  /** The viewer sessions of a channel on all nodes. */
  async viewers(arn: string): Promise<Viewers> {
    return (await this.json<Viewers>(`${channelPath(arn)}/viewers`)) ?? { viewers: [], total: 0 }
  }

  /** What a node reports of its machine: the one that answers, unless another is named. */
  async server(node?: string): Promise<Server> {
    const server = await this.json<Server>('/_millrace/server', node ? { node } : {})
    if (!server) throw new Said('The server does not report its machine.')
    return server
  }

  /** The nodes of the cluster; none where the server is alone. */
  async nodes(): Promise<ClusterNode[]> {
    return (await this.json<{ nodes: ClusterNode[] }>('/_millrace/nodes'))?.nodes ?? []
  }

  /** Has a node take no new encoders. */
  async drain(node: string): Promise<void> {
    await this.post('/_millrace/drain', { node })
  }

  /** Whether a bucket can be recorded to, and why not. */
  async bucket(name: string): Promise<{ usable: boolean; reason?: string } | undefined> {
    return this.json(`/_millrace/buckets/${encodeURIComponent(name)}`)
  }

  /** Where events go. */
  async targets(): Promise<Target[]> {
    return (await this.json<{ targets: Target[] }>('/_millrace/events/targets'))?.targets ?? []
  }

  /** Sends an event to a target again. */
  async redeliver(id: string, target: string): Promise<void> {
    await this.post(`/_millrace/events/${encodeURIComponent(id)}/redeliver`, { target })
  }

  /** Sends all dead letters of a target again. */
  async redeliverDead(target: string): Promise<void> {
    await this.post(`/_millrace/events/targets/${encodeURIComponent(target)}/redeliver`)
  }

  private async post(path: string, query: Record<string, string> = {}): Promise<void> {
    const response = await this.send('POST', path, query, { signal: AbortSignal.timeout(8000) })
    if (!response.ok) throw await refusal(response)
  }

  private async json<T>(path: string, query: Record<string, string> = {}): Promise<T | undefined> {
    const response = await this.get(path, query, { signal: AbortSignal.timeout(8000) })
    if (response.status === 404) return undefined
    if (!response.ok) throw await refusal(response)
    return response.json()
  }

  private get(path: string, query: Record<string, string>, init: Omit<RequestInit, 'body'>): Promise<Response> {
    return this.send('GET', path, query, init)
  }

  private async send(method: string, path: string, query: Record<string, string>, init: RequestInit & { body?: string | null }): Promise<Response> {
    const signed = await this.signer.sign({
      method, protocol: location.protocol, hostname: location.hostname, path, query, headers: { host: location.host }, body: init.body,
    }, { signingDate: this.ivs.now() })
    const { host: _, ...headers } = signed.headers // the browser sets it itself
    const search = new URLSearchParams(query).toString()
    return fetch(search ? `${path}?${search}` : path, { ...init, method, headers: { ...init.headers, ...headers } })
  }
}

function channelPath(arn: string): string {
  return `/_millrace/channels/${encodeURIComponent(arn.split('/').pop() ?? '')}`
}

/** The error of an answer, in the shape of the SDK's errors. */
async function refusal(response: Response): Promise<Error> {
  const body = await response.json().catch(() => ({})) as { message?: string }
  return Object.assign(new Error(body.message ?? response.statusText), {
    name: response.headers.get('x-amzn-errortype')?.split(':')[0] ?? 'UnknownError',
    $metadata: { httpStatusCode: response.status },
  })
}
