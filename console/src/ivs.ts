// The IVS API as the console uses it: an ordinary SDK client against the
// origin that served the page.

import {
  CreateChannelCommand, CreateStreamKeyCommand, DeleteChannelCommand, DeleteStreamKeyCommand, GetChannelCommand, GetStreamKeyCommand, GetStreamSessionCommand, InsertAdBreakCommand, IvsClient, ListChannelsCommand, ListStreamKeysCommand,
  ListStreamSessionsCommand, paginateListAdConfigurations, paginateListChannels, paginateListPlaybackRestrictionPolicies, paginateListRecordingConfigurations,
  paginateListStreams, paginateListStreamSessions, PutMetadataCommand, StopStreamCommand, TagResourceCommand, UntagResourceCommand, UpdateChannelCommand,
  type AdConfiguration, type Channel, type ChannelSummary, type CreateChannelRequest, type PlaybackRestrictionPolicy, type RecordingConfigurationSummary, type StreamEvent, type StreamSession, type StreamSessionSummary, type StreamSummary,
} from '@aws-sdk/client-ivs'
import type { Credentials } from './entry'
import { inOrder } from './order'

export type { Channel, StreamEvent, StreamSession, StreamSessionSummary }

/** What a channel can be created with and updated to. */
export type ChannelSettings = Omit<CreateChannelRequest, 'tags'>

/** A resource that a channel refers to. */
export interface Named {
  arn?: string
  name?: string
}

/** A channel of the list, with its live stream if it has one. */
export interface Listed {
  arn: string
  channel: ChannelSummary
  stream?: StreamSummary
}

/** Some sessions of a channel, newest first; older ones follow where next is given. */
export interface Sessions {
  sessions: StreamSessionSummary[]
  next?: string
}

/** With this many channels or more, their list is fetched less often. */
const manyChannels = 100
const manyChannelsMs = 15_000

export class Ivs {
  readonly client: IvsClient
  private known: ChannelSummary[] = []
  private knownAt = 0 // ms
  private changes = 0 // of channels, made here

  constructor({ key, secret, region }: Credentials) {
    this.client = new IvsClient({
      endpoint: location.origin,
      region,
      credentials: { accessKeyId: key, secretAccessKey: secret },
      maxAttempts: 2, // the second one with the clock that the first answer corrected
      requestHandler: { requestTimeout: 8000 },
    })
  }

  /** The server's time, as derived from its answers. */
  now(): Date {
    return new Date(Date.now() + this.client.config.systemClockOffset)
  }

  /** The hash function for signatures. */
  get sha256() {
    return this.client.config.sha256
  }

  /** Fails if the server does not accept the credentials. */
  async check(): Promise<void> {
    await this.client.send(new ListChannelsCommand({ maxResults: 1 }))
  }

  /** All channels. The first time, some gets the first page of many, while the others are awaited. */
  async list(some: (page: Listed[]) => void): Promise<Listed[]> {
    const streams = this.streams()
    const first = (page: ChannelSummary[]) => void streams.then((live) => some(listedOf(page, live)), () => {}) // the caller gets the error
    const [channels, live] = await Promise.all([this.channels(first), streams])
    return listedOf(channels, live)
  }

  private async channels(first: (page: ChannelSummary[]) => void): Promise<ChannelSummary[]> {
    if (this.known.length >= manyChannels && Date.now() - this.knownAt < manyChannelsMs) return this.known
    const before = this.changes
    const all: ChannelSummary[] = []
    for await (const { channels = [], nextToken } of paginateListChannels({ client: this.client, pageSize: 100 }, {})) {
      if (!this.known.length && !all.length && nextToken) first(channels)
      all.push(...channels)
    }
    if (this.changes !== before) return this.channels(first) // pages from before the change
    this.known = all
    this.knownAt = Date.now()
    return all
  }

  /** Follows each change of channels: what is known of them is old, and so is a list that is being read. */
  private changed() {
    this.changes++
    this.knownAt = 0
  }

  /** All live streams, by the ARN of their channel. */
  async streams(): Promise<Map<string, StreamSummary>> {
    const all = new Map<string, StreamSummary>()
    for await (const page of paginateListStreams({ client: this.client, pageSize: 100 }, {})) {
      for (const stream of page.streams ?? []) all.set(stream.channelArn ?? '', stream)
    }
    return all
  }

  async channel(arn: string): Promise<Channel> {
    return (await this.client.send(new GetChannelCommand({ arn }))).channel ?? {}
  }

  /** One session, without streamId the latest one; undefined if there is none. */
  async session(channelArn: string, streamId?: string): Promise<StreamSession | undefined> {
    try {
      return (await this.client.send(new GetStreamSessionCommand({ channelArn, streamId }))).streamSession
    } catch (err) {
      if (errorName(err) === 'ResourceNotFoundException') return undefined
      throw err
    }
  }

  /** The newest sessions, or those from next on. */
  async sessions(channelArn: string, next?: string, maxResults = 20): Promise<Sessions> {
    const page = await this.client.send(new ListStreamSessionsCommand({ channelArn, maxResults, nextToken: next }))
    return { sessions: page.streamSessions ?? [], next: page.nextToken }
  }

  /** All sessions that the server keeps, newest first. */
  async allSessions(channelArn: string, stop: AbortSignal): Promise<StreamSessionSummary[]> {
    const all: StreamSessionSummary[] = []
    for await (const page of paginateListStreamSessions({ client: this.client, pageSize: 100 }, { channelArn })) {
      stop.throwIfAborted()
      all.push(...(page.streamSessions ?? []))
    }
    return all
  }

  /** Creates a channel, with a stream key, and returns its ARN. */
  async create(settings: CreateChannelRequest): Promise<string> {
    const { channel } = await this.client.send(new CreateChannelCommand(settings))
    this.changed()
    return channel?.arn ?? ''
  }

  async update(arn: string, settings: ChannelSettings): Promise<void> {
    if (Object.keys(settings).length) await this.client.send(new UpdateChannelCommand({ arn, ...settings }))
    this.changed()
  }

  async retag(resourceArn: string, { set, remove }: { set: Record<string, string>; remove: string[] }): Promise<void> {
    if (remove.length) await this.client.send(new UntagResourceCommand({ resourceArn, tagKeys: remove }))
    if (Object.keys(set).length) await this.client.send(new TagResourceCommand({ resourceArn, tags: set }))
  }

  async remove(arn: string): Promise<void> {
    await this.client.send(new DeleteChannelCommand({ arn }))
    this.changed()
  }

  /** Replaces the stream key of a channel, which can have one at most. */
  async replaceKey(channelArn: string): Promise<void> {
    const { streamKeys = [] } = await this.client.send(new ListStreamKeysCommand({ channelArn }))
    for (const { arn } of streamKeys) await this.client.send(new DeleteStreamKeyCommand({ arn }))
    await this.client.send(new CreateStreamKeyCommand({ channelArn }))
  }

  async recordingConfigurations(): Promise<RecordingConfigurationSummary[]> {
    const all: RecordingConfigurationSummary[] = []
    for await (const page of paginateListRecordingConfigurations({ client: this.client, pageSize: 100 }, {})) all.push(...(page.recordingConfigurations ?? []))
    return all
  }

  async adConfigurations(): Promise<AdConfiguration[]> {
    const all: AdConfiguration[] = []
    for await (const page of paginateListAdConfigurations({ client: this.client, pageSize: 100 }, {})) all.push(...(page.adConfigurations ?? []))
    return all
  }

  async restrictionPolicies(): Promise<PlaybackRestrictionPolicy[]> {
    const all: PlaybackRestrictionPolicy[] = []
    for await (const page of paginateListPlaybackRestrictionPolicies({ client: this.client, pageSize: 100 }, {})) all.push(...(page.playbackRestrictionPolicies ?? []))
    return all
  }

  /** Sends text to the players of the live stream. */
  async putMetadata(channelArn: string, metadata: string): Promise<void> {
    await this.client.send(new PutMetadataCommand({ channelArn, metadata }))
  }

  async insertAdBreak(channelArn: string, durationSeconds: number): Promise<void> {
    await this.client.send(new InsertAdBreakCommand({ channelArn, durationSeconds }))
  }

  /** Disconnects the encoder, if there is one. */
  async stop(channelArn: string): Promise<void> {
    try {
      await this.client.send(new StopStreamCommand({ channelArn }))
    } catch (err) {
      if (errorName(err) !== 'ChannelNotBroadcasting') throw err
    }
  }

  /** The value of the channel's stream key; "" if it has none. */
  async streamKey(channelArn: string): Promise<string> {
    const keys = (await this.client.send(new ListStreamKeysCommand({ channelArn }))).streamKeys
    const arn = keys?.[0]?.arn
    if (!arn) return ''
    return (await this.client.send(new GetStreamKeyCommand({ arn }))).streamKey?.value ?? ''
  }
}

/** Channels with their live streams: live ones first, then by name. */
function listedOf(channels: ChannelSummary[], streams: Map<string, StreamSummary>): Listed[] {
  return inOrder(channels.map((channel) => ({ arn: channel.arn ?? '', channel, stream: streams.get(channel.arn ?? '') })), 'live')
}

/** A channel's name, or the end of its ARN where it has none. */
export function label(channel: { name?: string; arn?: string }): string {
  return channel.name || (channel.arn ?? '').split('/').pop() || 'unnamed'
}

/** An error in words. */
export interface Trouble {
  text: string
  refused: boolean // other credentials are needed
  passing: boolean // the same request may succeed later
}

const refusals = new Set([
  'AccessDeniedException', 'ExpiredTokenException', 'IncompleteSignature', 'IncompleteSignatureException', 'InvalidAccessKeyId',
  'InvalidClientTokenId', 'InvalidSignatureException', 'MissingAuthenticationTokenException', 'NotAuthorized',
  'SignatureDoesNotMatch', 'UnrecognizedClientException',
])

/** An error of the console itself, whose message is written for the user. */
export class Said extends Error {}

export function explain(err: unknown): Trouble {
  const said = (text: string, { refused = false, passing = false } = {}): Trouble => ({ text, refused, passing })
  if (err instanceof Said) return said(err.message)
  const name = errorName(err)
  const status = (err as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
  const reason = (err as { exceptionMessage?: string }).exceptionMessage || (err as Error).message || name
  if (refusals.has(name)) return said(`The server refuses these credentials: ${reason}`, { refused: true })
  if (name === 'ResourceNotFoundException') return said('It no longer exists.')
  if (name === 'ThrottlingException') return said('The server is busy.', { passing: true })
  if (!status) return said('The server does not answer.', { passing: true })
  if (status < 500) return said(reason) // written for whoever made the request
  return said(`The server reports an error (${name}): ${reason}`)
}

function errorName(err: unknown): string {
  return err instanceof Error ? err.name : String(err)
}
