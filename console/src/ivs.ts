// The IVS API as the console uses it: an ordinary SDK client against the
// origin that served the page.

import {
  GetChannelCommand, GetStreamKeyCommand, GetStreamSessionCommand, IvsClient, ListStreamKeysCommand,
  ListStreamSessionsCommand, paginateListChannels, paginateListStreams,
  type Channel, type ChannelSummary, type StreamSession, type StreamSessionSummary, type StreamSummary,
} from '@aws-sdk/client-ivs'
import type { Credentials } from './entry'

export type { Channel, StreamSession, StreamSessionSummary }

/** A channel of the list, with its live stream if it has one. */
export interface Listed {
  arn: string
  channel: ChannelSummary
  stream?: StreamSummary
}

export class Ivs {
  private client: IvsClient

  constructor({ key, secret, region }: Credentials) {
    this.client = new IvsClient({
      endpoint: location.origin,
      region,
      credentials: { accessKeyId: key, secretAccessKey: secret },
      maxAttempts: 2, // the second one with the clock that the first answer corrected
      requestHandler: { requestTimeout: 8000 },
    })
  }

  /** All channels: live ones first, then by name. */
  async list(): Promise<Listed[]> {
    const [streams, channels] = await Promise.all([this.streams(), this.channels()])
    return channels
      .map((channel) => ({ arn: channel.arn ?? '', channel, stream: streams.get(channel.arn ?? '') }))
      .sort((a, b) => Number(!!b.stream) - Number(!!a.stream) || label(a.channel).localeCompare(label(b.channel)))
  }

  private async channels(): Promise<ChannelSummary[]> {
    const all: ChannelSummary[] = []
    for await (const page of paginateListChannels({ client: this.client, pageSize: 100 }, {})) all.push(...(page.channels ?? []))
    return all
  }

  private async streams(): Promise<Map<string, StreamSummary>> {
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

  /** The newest sessions, at most 50. */
  async sessions(channelArn: string): Promise<StreamSessionSummary[]> {
    return (await this.client.send(new ListStreamSessionsCommand({ channelArn, maxResults: 50 }))).streamSessions ?? []
  }

  /** The value of the channel's stream key; "" if it has none. */
  async streamKey(channelArn: string): Promise<string> {
    const keys = (await this.client.send(new ListStreamKeysCommand({ channelArn }))).streamKeys
    const arn = keys?.[0]?.arn
    if (!arn) return ''
    return (await this.client.send(new GetStreamKeyCommand({ arn }))).streamKey?.value ?? ''
  }
}

/** A channel's name, or the end of its ARN where it has none. */
export function label(channel: { name?: string; arn?: string }): string {
  return channel.name || (channel.arn ?? '').split('/').pop() || 'unnamed'
}

/** What went wrong, for a person; refused means that other credentials are needed. */
export interface Trouble {
  text: string
  refused: boolean
}

const refusals = new Set([
  'AccessDeniedException', 'ExpiredTokenException', 'IncompleteSignature', 'IncompleteSignatureException', 'InvalidAccessKeyId',
  'InvalidClientTokenId', 'InvalidSignatureException', 'MissingAuthenticationTokenException', 'NotAuthorized',
  'SignatureDoesNotMatch', 'UnrecognizedClientException',
])

export function explain(err: unknown): Trouble {
  const name = errorName(err)
  const status = (err as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
  const said = (err as { exceptionMessage?: string }).exceptionMessage || (err as Error).message || name
  if (refusals.has(name)) return { text: `The server refuses these credentials: ${said}`, refused: true }
  if (name === 'ResourceNotFoundException') return { text: 'This channel no longer exists.', refused: false }
  if (name === 'ThrottlingException') return { text: 'The server is busy. Trying again.', refused: false }
  if (!status) return { text: 'The server does not answer. Trying again every 2 seconds.', refused: false }
  return { text: `The server reports an error (${name}): ${said}`, refused: false }
}

function errorName(err: unknown): string {
  return err instanceof Error ? err.name : String(err)
}
