// The viewers' page: /watch/<region>.<account>.channel.<id>, alone or in a frame
// of another page, to which it posts events and from which it takes commands.

import workerPath from 'hls.js/dist/hls.worker.js?url'
import { ErrorType, Player, PlayerEventType, PlayerState, type PlayerError } from 'millrace-player'
import { farBehind, tooManyViewers } from '../../player/src/rules'
import { commandOf, playbackUrl, posterUrl, settings } from './watch-url'

const figuresMs = 250
const idleMs = 3000
const automatic = 'auto'

const root = find('player')
const video = find<HTMLVideoElement>('video')
const url = playbackUrl(new URL(location.href))
const wishes = settings(new URLSearchParams(location.search))
const player = new Player(video, { workerPath, startBehind: wishes.behind, autoplay: wishes.autoplay })

function find<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T
}

function notice(title = '', text = '', final = false) {
  const el = find('notice')
  el.hidden = !title
  el.toggleAttribute('data-final', final)
  if (find('notice-title').textContent !== title) find('notice-title').textContent = title
  find('notice-text').textContent = text
  root.toggleAttribute('data-offline', !!title)
}

/** The message that viewers see for an error. */
function explain({ type, code }: PlayerError): [title: string, text: string, final?: boolean] {
  switch (type) {
    case ErrorType.NOT_AVAILABLE:
      if (code === tooManyViewers) return ['The stream is full', 'The maximum number of viewers has been reached. This page keeps trying.']
      return player.hasPlayed ? ['The stream has ended', 'Playback resumes automatically if it returns.'] : ['Not live yet', 'Playback starts automatically.']
    case ErrorType.AUTHORIZATION:
      return ['You cannot watch this stream', 'The link has expired, or the stream is not available in your location. Ask the person who gave you the link.', true]
    case ErrorType.NOT_SUPPORTED:
      return ['This browser cannot play the video', 'Use a current version of Chrome, Edge, Firefox or Safari.', true]
    case ErrorType.INVALID_DATA:
      return ['This browser cannot decode the video', 'This page keeps trying.']
    default:
      return ['Connecting…', code >= 500 ? 'The server is busy. This page keeps trying.' : 'The server does not answer. This page keeps trying.']
  }
}

function showState(state: PlayerState) {
  root.dataset.state = state
  find('stall').hidden = state !== PlayerState.BUFFERING || !find('notice').hidden
  if (state === PlayerState.PLAYING || state === PlayerState.READY) notice()
  if (state === PlayerState.ENDED) notice('The stream has ended', 'Playback resumes automatically if it returns.')
  showControls()
  showFigures()
}

function showControls() {
  const paused = player.isPaused()
  root.toggleAttribute('data-paused', paused)
  root.toggleAttribute('data-muted', video.muted || video.volume === 0)
  describe('play', paused ? 'Play' : 'Pause', 'k')
  describe('mute', video.muted ? 'Unmute' : 'Mute', 'm')
  find('unmute').hidden = !video.muted || player.getState() !== PlayerState.PLAYING || unmuteDismissed
  find('start').hidden = !paused || !find('notice').hidden || player.getState() === PlayerState.BUFFERING
  find<HTMLInputElement>('volume').value = String(video.muted ? 0 : video.volume)
}

function describe(id: string, what: string, key: string) {
  find(id).setAttribute('aria-label', what)
  find(id).title = `${what} (${key})`
}

let unmuteDismissed = false // the viewer has chosen to watch without audio

function unmute() {
  video.muted = false
  if (video.volume === 0) video.volume = 1
}

/** The menu of qualities; what is chosen in it stays chosen in later streams, if they have it. */
function showQualities() {
  const select = find<HTMLSelectElement>('quality')
  const chosen = select.value
  const qualities = [...player.getQualities()].sort((a, b) => b.height - a.height || b.bitrate - a.bitrate)
  find('quality-label').hidden = qualities.length < 2
  select.replaceChildren(new Option('Auto', automatic), ...qualities.map(({ name }) => new Option(name, name)))
  chooseQuality(chosen)
}

function chooseQuality(name: string) {
  const quality = player.getQualities().find((q) => q.name === name)
  if (quality) player.setQuality(quality)
  else player.setAutoQualityMode(true)
  find<HTMLSelectElement>('quality').value = quality?.name ?? automatic
  showQuality()
}

function showQuality() {
  const [first] = find<HTMLSelectElement>('quality').options
  const now = player.isAutoQualityMode() ? player.getQuality() : undefined
  if (first) first.textContent = now ? `Auto (${now.name})` : 'Auto'
}

function captionTracks(): TextTrack[] {
  return [...video.textTracks].filter(({ kind }) => kind === 'captions' || kind === 'subtitles')
}

function toggleCaptions() {
  const on = find('captions').getAttribute('aria-pressed') !== 'true'
  find('captions').setAttribute('aria-pressed', String(on))
  showCaptions()
}

/** Each stream brings a track of its own, which shows what the button says. */
function showCaptions() {
  const on = find('captions').getAttribute('aria-pressed') === 'true'
  captionTracks().forEach((track, i) => track.mode = on && i === 0 ? 'showing' : 'hidden')
}

function toggleFullScreen() {
  const phone = video as HTMLVideoElement & { webkitEnterFullscreen?(): void }
  if (document.fullscreenElement) void document.exitFullscreen()
  else if (root.requestFullscreen) void root.requestFullscreen().catch(() => {}) // a frame may not be allowed to
  else phone.webkitEnterFullscreen?.()
}

function showFigures() {
  const playing = player.getState() === PlayerState.PLAYING
  const latency = player.getLiveLatency()
  const behind = player.getDistanceFromEdge()
  const late = behind !== undefined && behind > (player.getTargetLatency() ?? Infinity) + farBehind
  if (playing && latency !== undefined) find('latency').textContent = `${Math.max(0, latency).toFixed(1)} s`
  root.toggleAttribute('data-edge', playing && !late && !wishes.behind)
  find('captions').hidden = captionTracks().length === 0
}

function togglePlay() {
  if (player.isPaused()) player.play()
  else player.pause()
  showControls()
}

const keys: Record<string, () => void> = {
  k: togglePlay, ' ': togglePlay, m: toggleMute, f: toggleFullScreen, l: goLive,
  c: () => { if (!find('captions').hidden) toggleCaptions() },
}

function toggleMute() {
  if (video.muted) unmute()
  else video.muted = true
  unmuteDismissed = true
}

function goLive() {
  wishes.behind = 0
  player.seekToLive()
}

function wireControls() {
  find('play').addEventListener('click', togglePlay)
  find('start').addEventListener('click', togglePlay)
  video.addEventListener('click', () => (matchMedia('(hover: hover)').matches ? togglePlay() : wake()))
  find('unmute').addEventListener('click', unmute)
  find('mute').addEventListener('click', toggleMute)
  find('live').addEventListener('click', goLive)
  find('full').addEventListener('click', toggleFullScreen)
  find('captions').addEventListener('click', toggleCaptions)
  video.textTracks.addEventListener('addtrack', showCaptions)
  find<HTMLSelectElement>('quality').addEventListener('change', (event) => chooseQuality((event.target as HTMLSelectElement).value))
  find<HTMLInputElement>('volume').addEventListener('input', (event) => {
    video.volume = Number((event.target as HTMLInputElement).value)
    video.muted = video.volume === 0
  })
  addEventListener('keydown', (event) => {
    const element = event.target as HTMLElement
    if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT)$/.test(element.tagName)) return
    if (event.key === ' ' && element.tagName === 'BUTTON') return // it presses the button
    const act = keys[event.key.toLowerCase()]
    if (!act) return
    event.preventDefault()
    act()
    wake()
  })
}

/** Hides the controls when nothing moves. */
let sleep = 0
function wake() {
  root.classList.remove('idle')
  clearTimeout(sleep)
  sleep = window.setTimeout(() => root.classList.toggle('idle', player.getState() === PlayerState.PLAYING), idleMs)
}

/** Posts an event to the embedding page. Nothing here is secret: that page provided the URL. */
function post(type: string, detail?: unknown) {
  if (parent !== window) parent.postMessage({ source: 'millrace-player', type, detail }, '*')
}

function wireFrame() {
  for (const type of [...Object.values(PlayerState), ...Object.values(PlayerEventType)]) {
    player.addEventListener(type, ({ detail }) => post(type, detail))
  }
  addEventListener('message', ({ source, data }) => {
    const command = source === parent && parent !== window ? commandOf(data) : undefined
    switch (command?.command) {
      case 'play': return player.play()
      case 'pause': return player.pause()
      case 'seekToLive': return goLive()
      case 'setMuted': return player.setMuted(command.value === true)
      case 'setVolume': return player.setVolume(Math.min(1, Math.max(0, Number(command.value) || 0)))
      case 'setQuality': return chooseQuality(String(command.value))
      case 'getState': return post('PlayerInfo', { state: player.getState(), quality: player.getQuality(), qualities: player.getQualities(), latency: player.getLiveLatency(), muted: video.muted, paused: player.isPaused() })
    }
  })
}

function wirePlayer() {
  player.addEventListener('PlayerStateChanged', ({ detail }) => showState(detail))
  player.addEventListener('PlayerError', ({ detail }) => {
    notice(...explain(detail))
    find('stall').hidden = true
    showControls()
  })
  player.addEventListener('Ready', () => {
    video.poster = posterUrl(url) // until the first frame, which a viewer may have to ask for
    showQualities()
  })
  player.addEventListener('PlayerQualityChanged', showQuality)
  player.addEventListener('PlayerMutedChanged', showControls)
  player.addEventListener('PlayerPlaybackBlocked', showControls)
}

wireControls()
wirePlayer()
wireFrame()
for (const type of ['pointermove', 'pointerdown', 'focusin']) addEventListener(type, wake)
video.muted = wishes.muted
video.defaultMuted = wishes.muted
setInterval(showFigures, figuresMs)
notice('Connecting…')
showControls()
post('PlayerInitialized')
player.load(url)
wake()


