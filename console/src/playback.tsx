// The video of a stream, with a notice over it while there is none, and the figures
// of its playback.

import { useEffect, useRef, useState } from 'preact/hooks'
import { seconds } from './format'
import { Player, type Figures, type Playback } from './player'

export interface Notice {
  title: string
  text?: string
  howTo?: boolean // offer the card on how to publish
}

/** What can be played. */
export interface Stream {
  id: string
  url: string
  token?: () => Promise<string> // a new one for each try
}

const figuresMs = 250

/** How loud the video is, also when another view has been shown meanwhile. */
const audio = { muted: true, volume: 1 }

/**
 * Plays a stream. One that ends is played to its end, unless it is no longer wanted: of
 * names what is shown, and nothing is played any longer when that changes.
 */
export function Screen({ of, stream, notice, changed, howTo }: { of: string; stream?: Stream; notice?: Notice; changed: (playback: Playback) => void; howTo?: () => void }) {
  const video = useRef<HTMLVideoElement>(null)
  const player = useRef<Player>(null)
  const [figures, setFigures] = useState<Figures>({ muted: false, late: false })
  useEffect(() => {
    const made = player.current = new Player(video.current!, changed)
    const timer = setInterval(() => setFigures(made.figures()), figuresMs)
    return () => {
      clearInterval(timer)
      made.delete()
    }
  }, [])
  useEffect(() => () => player.current?.stop(), [of])
  useEffect(() => {
    if (stream) player.current?.play(stream.url, stream.token)
    else player.current?.drain()
  }, [stream?.id])

  function unmute() {
    video.current!.muted = false
    video.current!.focus()
  }

  return <section id="playback" aria-label="Video">
    <div class="screen">
      <video id="video" ref={video} muted={audio.muted} volume={audio.volume} autoplay playsinline controls={!notice}
        onVolumeChange={({ currentTarget: { muted, volume } }) => Object.assign(audio, { muted, volume })} />
      <div id="notice" hidden={!notice}>
        <p id="notice-title">{notice?.title}</p>
        <p id="notice-text">{notice?.text}</p>
        <button id="how-to" type="button" hidden={!notice?.howTo} onClick={howTo}>How to go live</button>
      </div>
      <button id="unmute" type="button" hidden={!figures.muted} onClick={unmute}>Unmute</button>
      <button id="catch-up" type="button" hidden={!figures.late} onClick={() => player.current?.seekToLive()}>Jump to live</button>
    </div>
    <dl class="meters">
      <div class="main-meter"><dt title="From the arrival of this frame at the server until now">Latency</dt><Seconds id="latency" value={figures.latency} /></div>
      <div><dt title="hls.js: distance of the playhead from the end of the playlist">Behind the live edge</dt><Seconds id="edge-latency" value={figures.edgeLatency} /></div>
      <div><dt>Buffer</dt><Seconds id="buffer" value={figures.buffer} /></div>
      <div><dt>Rendition</dt><dd id="rendition">{figures.rendition ?? '–'}</dd></div>
      <div><dt>Dropped frames</dt><dd id="dropped">{figures.dropped ?? '–'}</dd></div>
    </dl>
  </section>
}

/** A length of time, which tests read from data-seconds. */
function Seconds({ id, value }: { id: string; value?: number }) {
  return <dd id={id} data-seconds={value?.toFixed(3)}>{value === undefined ? '–' : seconds(value)}</dd>
}
