// The resources that channels refer to, and calls on viewers: more of the IVS API.

import {
  BatchStartViewerSessionRevocationCommand, CreateAdConfigurationCommand, CreatePlaybackRestrictionPolicyCommand, CreateRecordingConfigurationCommand,
  DeleteAdConfigurationCommand, DeletePlaybackKeyPairCommand, DeletePlaybackRestrictionPolicyCommand, DeleteRecordingConfigurationCommand,
  GetPlaybackKeyPairCommand, GetRecordingConfigurationCommand, ImportPlaybackKeyPairCommand, ListTagsForResourceCommand, paginateListPlaybackKeyPairs,
  UpdateAdConfigurationCommand, UpdatePlaybackRestrictionPolicyCommand,
  type AdConfiguration, type BatchStartViewerSessionRevocationError, type CreateAdConfigurationRequest, type CreatePlaybackRestrictionPolicyRequest,
  type CreateRecordingConfigurationRequest, type PlaybackKeyPair, type PlaybackRestrictionPolicy, type RecordingConfiguration,
} from '@aws-sdk/client-ivs'
import type { Ivs } from './ivs'

export type { AdConfiguration, PlaybackKeyPair, PlaybackRestrictionPolicy, RecordingConfiguration }

type Tags = Record<string, string>

export class Resources {
  constructor(readonly ivs: Ivs) {}

  private get client() { return this.ivs.client }

  async keyPairs(): Promise<PlaybackKeyPair[]> {
    const all: PlaybackKeyPair[] = []
    for await (const page of paginateListPlaybackKeyPairs({ client: this.client, pageSize: 100 }, {})) {
      // The list has no public keys.
      all.push(...await Promise.all((page.keyPairs ?? []).map(async ({ arn }) => (await this.client.send(new GetPlaybackKeyPairCommand({ arn }))).keyPair ?? { arn })))
    }
    return all
  }

  async importKeyPair(name: string, publicKeyMaterial: string, tags: Tags): Promise<PlaybackKeyPair> {
    return (await this.client.send(new ImportPlaybackKeyPairCommand({ name, publicKeyMaterial, tags }))).keyPair ?? {}
  }

  async deleteKeyPair(arn: string): Promise<void> {
    await this.client.send(new DeletePlaybackKeyPairCommand({ arn }))
  }

  async createPolicy(settings: CreatePlaybackRestrictionPolicyRequest): Promise<void> {
    await this.client.send(new CreatePlaybackRestrictionPolicyCommand(settings))
  }

  async updatePolicy(arn: string, settings: CreatePlaybackRestrictionPolicyRequest): Promise<void> {
    await this.client.send(new UpdatePlaybackRestrictionPolicyCommand({ arn, ...settings }))
  }

  async deletePolicy(arn: string): Promise<void> {
    await this.client.send(new DeletePlaybackRestrictionPolicyCommand({ arn }))
  }

  /** Ends the sessions of viewers of a channel up to a version, and returns which could not be. At most 20 viewers. */
  async revoke(channelArn: string, viewerIds: string[], version: number): Promise<BatchStartViewerSessionRevocationError[]> {
    const viewerSessions = viewerIds.map((viewerId) => ({ channelArn, viewerId, viewerSessionVersionsLessThanOrEqualTo: version }))
    return (await this.client.send(new BatchStartViewerSessionRevocationCommand({ viewerSessions }))).errors ?? []
  }

  /** All recording configurations, with all their settings. */
  async recordings(): Promise<RecordingConfiguration[]> {
    const list = await this.ivs.recordingConfigurations()
    const all = await Promise.all(list.map(async ({ arn }) => (await this.client.send(new GetRecordingConfigurationCommand({ arn }))).recordingConfiguration))
    return all.filter((configuration) => configuration !== undefined)
  }

  async createRecording(settings: CreateRecordingConfigurationRequest): Promise<void> {
    await this.client.send(new CreateRecordingConfigurationCommand(settings))
  }

  async deleteRecording(arn: string): Promise<void> {
    await this.client.send(new DeleteRecordingConfigurationCommand({ arn }))
  }

  async createAds(settings: CreateAdConfigurationRequest): Promise<void> {
    await this.client.send(new CreateAdConfigurationCommand(settings))
  }

  async updateAds(arn: string, settings: CreateAdConfigurationRequest): Promise<void> {
    await this.client.send(new UpdateAdConfigurationCommand({ arn, ...settings }))
  }

  async deleteAds(arn: string): Promise<void> {
    await this.client.send(new DeleteAdConfigurationCommand({ arn }))
  }

  async tags(resourceArn: string): Promise<Tags> {
    return (await this.client.send(new ListTagsForResourceCommand({ resourceArn }))).tags ?? {}
  }
}
