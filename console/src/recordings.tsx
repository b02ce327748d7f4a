// The recordings of a channel: a list, and a player with thumbnails over its
// seek bar.

import type Hls from 'hls.js'
import workerPath from 'hls.js/dist/hls.worker.js?url'
import { useEffect, useRef, useState } from 'preact/hooks'
import { bytes, day, duration } from './format'
import type { Recording } from './millrace'
import { thumbnailAt, timecode } from './seek'

/** An upload that is later than this is said to be. A file of ten seconds is late by itself. */
const lateMs = 20_000

/** Arrow keys move by so many seconds. */
const stepSeconds = 5

/** The recordings of a channel, newest first. */
export function Recordings({ recordings }: { recordings: Recording[] }) {
  const [playing, setPlaying] = useState<string>()
  const played = recordings.find(({ id }) => id === playing)
  return <section class="card" id="recordings" aria-labelledby="recordings-title">
    <h2 id="recordings-title">Recordings</h2>
    {recordings.length === 0 && <p class="quiet">None yet: the next stream is recorded.</p>}
    <ul class="recordings">
      {recordings.map((recording) => <Row key={recording.id} recording={recording} play={() => setPlaying(recording.id)} />)}
    </ul>
    {played && <RecordingDialog recording={played} close={() => setPlaying(undefined)} />}
  </section>
}

const states: Record<Recording['state'], string> = { STARTING: 'starting', RECORDING: 'recording', WAITING: 'finishing', ENDED: '', FAILED: 'failed' }

function Row({ recording, play }: { recording: Recording; play: () => void }) {
  const { state, startTime, failure, uploadLagMs } = recording
  const when = startTime ? day(new Date(startTime)) : 'Not started'
  return <li data-state={state.toLowerCase()}>
    <span><time dateTime={startTime}>{when}</time> {states[state] && <b class="recording-state">{states[state]}</b>}</span>
    <span class="quiet">{[duration(recording.durationMs), bytes(recording.bytes), recording.renditions.map(({ path }) => path).join(', ')].filter(Boolean).join(' · ')}</span>
    {uploadLagMs > lateMs && <span class="wrong">The upload is {duration(uploadLagMs)} behind: the bucket is slow or does not answer.</span>}
    {failure && <span class="wrong">{failure}</span>}
    <span class="recording-buttons">
      {recording.playlistUrl && <button type="button" class="plain" onClick={play} aria-label={`Play the recording of ${when}`}>Play</button>}
      {recording.downloadUrl && <a class="plain" href={recording.downloadUrl} download aria-label={`Download the recording of ${when} as MP4`}>MP4</a>}
    </span>
  </li>
}

function RecordingDialog({ recording, close }: { recording: Recording; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return <dialog ref={dialog} class="recording" onClose={close} aria-labelledby="recording-title">
    <div class="card-head">
      <h2 id="recording-title">{recording.startTime ? day(new Date(recording.startTime)) : 'Recording'}</h2>
      <button type="button" class="plain" onClick={() => dialog.current?.close()}>Close</button>
    </div>
    <RecordingPlayer recording={recording} />
    <p class="quiet">
      {recording.downloadUrl ? <span class="download-label">Download as MP4:</span> : 'It can be downloaded as MP4 when it has ended.'}
      {recording.downloadUrl && recording.renditions.map(({ path }) =>
        <a key={path} class="download" href={`${recording.downloadUrl}?rendition=${encodeURIComponent(path)}`} download>{path}</a>)}
    </p>
  </dialog>
}

/** The playback of one recording, whose playlist may still grow. */
function usePlayback(url: string) {
  const video = useRef<HTMLVideoElement>(null)
  const hls = useRef<Hls>(null)
  const [levels, setLevels] = useState<string[]>([])
  const [problem, setProblem] = useState('')
  useEffect(() => {
    const element = video.current!
    const closed = new AbortController()
    void import('hls.js').then(({ default: Hls }) => {
      if (closed.signal.aborted) return
      if (!Hls.isSupported()) {
        element.src = url // Safari on phones
        return
      }
      const engine = hls.current = new Hls({ workerPath, startPosition: 0 })
      closed.signal.addEventListener('abort', () => engine.destroy())
      engine.on(Hls.Events.MANIFEST_PARSED, (_, data) => setLevels(data.levels.map(({ url }) => url[0]?.split('/').at(-2) ?? '')))
      engine.on(Hls.Events.ERROR, (_, { fatal, details }) => {
        if (fatal) setProblem(`The recording cannot be played: ${details}.`)
      })
      engine.loadSource(url)
      engine.attachMedia(element)
    }, () => setProblem('The player cannot be loaded: the server does not answer.'))
    return () => closed.abort()
  }, [url])
  const choose = (level: number) => {
    if (hls.current) hls.current.currentLevel = level
  }
  return { video, levels, problem, choose }
}

/** What the video element says of itself. */
function useTime(video: { current: HTMLVideoElement | null }) {
  const [now, setNow] = useState({ position: 0, duration: 0, paused: true, muted: false })
  useEffect(() => {
    const element = video.current!
    const read = () => setNow({ position: element.currentTime, duration: Number.isFinite(element.duration) ? element.duration : 0, paused: element.paused, muted: element.muted })
    const events = ['timeupdate', 'durationchange', 'play', 'pause', 'volumechange', 'seeking']
    for (const type of events) element.addEventListener(type, read)
    return () => {
      for (const type of events) element.removeEventListener(type, read)
    }
  }, [])
  return now
}

function RecordingPlayer({ recording }: { recording: Recording }) {
  const [url] = useState(recording.playlistUrl ?? '') // its signature changes with each listing
  const { video, levels, problem, choose } = usePlayback(url)
  const now = useTime(video)
  const frame = useRef<HTMLDivElement>(null)
  const toggle = () => void (video.current?.paused ? video.current.play().catch(() => {}) : video.current?.pause())
  return <div class="recording-player" ref={frame}>
    <video ref={video} playsinline autoplay onClick={toggle} />
    {problem && <p role="alert" class="wrong">{problem}</p>}
    <SeekBar recording={recording} position={now.position} duration={now.duration} seek={(to) => {
      if (video.current) video.current.currentTime = to
    }} />
    <div class="player-buttons">
      <button type="button" class="plain" onClick={toggle}>{now.paused ? 'Play' : 'Pause'}</button>
      <span class="timecode">{timecode(now.position)} / {timecode(now.duration)}</span>
      <span class="space" />
      {levels.length > 1 && <select aria-label="Quality" onChange={(event) => choose(Number(event.currentTarget.value))}>
        <option value="-1">Auto</option>
        {levels.map((name, i) => <option key={name} value={i}>{name}</option>)}
      </select>}
      <button type="button" class="plain" onClick={() => {
        if (video.current) video.current.muted = !now.muted
      }}>{now.muted ? 'Unmute' : 'Mute'}</button>
      {document.fullscreenEnabled && <button type="button" class="plain" onClick={() => void frame.current?.requestFullscreen()}>Full screen</button>}
    </div>
  </div>
}

/** A slider, and over it the thumbnail of the position that is pointed at. */
function SeekBar({ recording, position, duration, seek }: { recording: Recording; position: number; duration: number; seek: (to: number) => void }) {
  const [pointed, setPointed] = useState<number>()
  const [thumbnailsUrl] = useState(recording.thumbnailsUrl ?? '') // so that a thumbnail is fetched once
  const point = ({ currentTarget, clientX }: PointerEvent & { currentTarget: HTMLElement }) => {
    const { left, width } = currentTarget.getBoundingClientRect()
    setPointed(Math.min(Math.max((clientX - left) / width, 0), 1) * duration)
  }
  const thumbnail = pointed === undefined ? undefined
    : thumbnailAt(pointed, duration, { count: recording.thumbnails, intervalSeconds: (recording.thumbnailIntervalMs ?? 0) / 1000 })
  return <div class="seek-bar">
    {pointed !== undefined && duration > 0 && <div class="seek-preview" style={{ '--at': `${(pointed / duration) * 100}%` }}>
      {thumbnail !== undefined && <img src={`${thumbnailsUrl}thumb${thumbnail}.jpg`} alt="" />}
      <span>{timecode(pointed)}</span>
    </div>}
    <input type="range" min="0" max={duration} step="any" value={position} aria-label="Position"
      aria-valuetext={`${timecode(position)} of ${timecode(duration)}`}
      onPointerMove={point} onPointerDown={point} onPointerLeave={() => setPointed(undefined)} onBlur={() => setPointed(undefined)}
      onKeyDown={(event) => {
        const step = { ArrowLeft: -stepSeconds, ArrowRight: stepSeconds }[event.key]
        if (!step) return
        event.preventDefault() // a range without steps moves by a hundredth
        const to = Math.min(Math.max(position + step, 0), duration)
        setPointed(to)
        seek(to)
      }}
      onInput={(event) => seek(Number(event.currentTarget.value))} />
  </div>
}
