import { expect, test } from 'vitest'
import documentation from '../../docs/player.md?raw'
import * as player from './index'

/** Those of the Amazon IVS player for the web (amazon-ivs-player 1.51): what both have must keep these. */
const ivs = {
  methods: ['addEventListener', 'attachHTMLVideoElement', 'delete', 'getBufferDuration', 'getBuffered', 'getDisplayHeight', 'getDisplayWidth', 'getDuration',
    'getHTMLVideoElement', 'getLiveLatency', 'getPlaybackRate', 'getPosition', 'getQualities', 'getQuality', 'getSessionId', 'getState', 'getVersion', 'getVolume',
    'isAutoQualityMode', 'isAutoplay', 'isLiveLowLatency', 'isMuted', 'isPaused', 'load', 'pause', 'play', 'removeEventListener', 'seekTo', 'setAutoMaxBitrate',
    'setAutoMaxQuality', 'setAutoMaxVideoSize', 'setAutoQualityMode', 'setAutoplay', 'setLogLevel', 'setMuted', 'setPlaybackRate', 'setQuality', 'setRebufferToLive', 'setVolume'],
  errors: ['Error', 'ErrorAuthorization', 'ErrorInvalidData', 'ErrorInvalidParameter', 'ErrorInvalidState', 'ErrorNetwork', 'ErrorNetworkIO', 'ErrorNoSource',
    'ErrorNotAvailable', 'ErrorNotSupported', 'ErrorTimeout'],
}

/** What TypeScript keeps private, and hasPlayed, which is for Millrace's own page. */
const internal = ['constructor', 'hasPlayed', 'emit', 'set', 'tick', 'report', 'start', 'open', 'close', 'ready', 'begin', 'playing', 'waiting', 'paused', 'metadata', 'finish',
  'failed', 'later']

/** Methods without a counterpart. */
const own = ['stop', 'drain', 'seekToLive', 'getDistanceFromEdge', 'getTargetLatency']

test('errors are those of the IVS player', () => {
  expect(ivs.errors).toEqual(expect.arrayContaining(Object.values(player.ErrorType)))
})

test('the documentation names every method, and says which the IVS player does not have', () => {
  const methods = Object.getOwnPropertyNames(player.Player.prototype).filter((name) => !internal.includes(name))
  expect(methods).toEqual(expect.arrayContaining(own))
  const [, shared = '', , without = ''] = /same feature: (.*?)\. (Without a counterpart there are) (.*?)\. Differences/.exec(documentation) ?? []
  for (const name of methods) {
    expect((own.includes(name) ? without : shared).includes(`\`${name}\``), name).toBe(true)
  }
  for (const [, name = ''] of shared.matchAll(/`(\w+)`/g)) {
    expect(name in player || ivs.methods.includes(name) && name in player.Player.prototype, name).toBe(true)
  }
})
