import { encode } from 'uqr'
import { expect, test } from 'vitest'
import { codeOf, squares } from './phone'

test('a QR code is drawn square by square', () => {
  expect(squares([[true, false], [false, true]])).toBe('M0 0h1v1h-1zM1 1h1v1h-1z')
  const { data, size } = encode('rtmps://live.example.com:443/app/sk_us-west-2_abcdefghijkl_abcdefghijklmnopqrstuvwxyz1234', { ecc: 'M', border: 4 })
  expect(squares(data).match(/M/g)?.length).toBe(data.flat().filter(Boolean).length)
  expect(data).toHaveLength(size)
})

test('a QR code that cannot be made is none', async () => {
  expect(await codeOf('rtmps://live.example.com:443/app/sk')).toMatchObject({ path: expect.stringMatching(/^M/), size: expect.any(Number) })
  expect(await codeOf('rtmps://live.example.com:443/app/sk', () => Promise.reject(new Error('no answer')))).toBe(undefined)
})
