import { DeleteChannelCommand, ListChannelsCommand, type IvsClient } from '@aws-sdk/client-ivs'
import { expect, test, vi } from 'vitest'
import { Ivs } from './ivs'

test('a list that was being read while a channel was deleted is read again', async () => {
  vi.stubGlobal('location', { origin: 'http://127.0.0.1' })
  const ivs = new Ivs({ key: 'k', secret: 's', region: 'us-west-2' })
  let there = Array.from({ length: 120 }, (_, i) => ({ arn: `arn-${i}`, name: `n${i}` }))
  let reads = 0
  let answer = () => {}
  const asked = new Promise<void>((resolve) => { // of the first read
    vi.spyOn(ivs.client, 'send').mockImplementation((async (command: Parameters<IvsClient['send']>[0]) => {
      if (command instanceof DeleteChannelCommand) there = there.filter(({ arn }) => arn !== command.input.arn)
      if (!(command instanceof ListChannelsCommand)) return {}
      const channels = there
      if (!reads++) await new Promise<void>((go) => {
        answer = go
        resolve()
      })
      return { channels }
    }) as never)
  })
  const list = ivs.list(() => {})
  await asked
  await ivs.remove('arn-7')
  answer()
  expect([(await list).length, reads]).toEqual([119, 2])
  expect([(await ivs.list(() => {})).length, reads]).toEqual([119, 2]) // it is known
})
