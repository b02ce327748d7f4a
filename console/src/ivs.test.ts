import { DeleteChannelCommand, ListChannelsCommand, type IvsClient } from '@aws-sdk/client-ivs'
import { expect, test, vi } from 'vitest'
import { explain, Ivs } from './ivs'

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

test('only who polls says that it tries again', () => {
  const failed = (name: string, httpStatusCode?: number) => Object.assign(new Error('why'), { name, $metadata: { httpStatusCode } })
  expect(explain(failed('TypeError'))).toEqual({ text: 'The server does not answer.', refused: false, passing: true })
  expect(explain(failed('ThrottlingException', 429))).toEqual({ text: 'The server is busy.', refused: false, passing: true })
  expect(explain(failed('ConflictException', 409))).toEqual({ text: 'why', refused: false, passing: false })
  expect(explain(failed('AccessDeniedException', 403))).toMatchObject({ refused: true, passing: false })
})
