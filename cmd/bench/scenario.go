//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/wiretest"
)

const mega = 1e6

// benchStart measures the way from the start of the process to its first
// answer, with a database that exists, and what it holds when idle.
func benchStart(ctx context.Context, b *bench) (err error) {
	data, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	address, err := wiretest.FindAddress()
	if err != nil {
		return err
	}
	if err := pinSelf(serverCore, loadCore); err != nil { // the server's core is another than that of who asks
		return err
	}
	defer func() { err = errors.Join(err, pinSelf(loadCore)) }()
	var times []time.Duration
	var rss int64
	for range 6 {
		s := &server{bench: b, data: data}
		began := time.Now()
		s.process = exec.Command(b.binary, "serve", "--data", data, "--http", address, "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0", "--auth", "off", "--transcode", "off")
		if err := s.process.Start(); err != nil {
			return err
		}
		s.api = "http://" + address
		var out struct{ Channels []any }
		for s.call("ListChannels", map[string]any{}, &out) != nil {
			if time.Since(began) > 10*time.Second {
				return errors.New("the server did not answer within 10 s")
			}
			if err := sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		times = append(times, time.Since(began))
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
		u, err := s.usage()
		if err != nil {
			return err
		}
		rss = u.rss
		s.process.Process.Kill()
		s.process.Wait()
	}
	times = times[1:] // the first one made the database
	slices.Sort(times)
	report("process start → first API answer, median of 5", "%v", times[len(times)/2].Round(100*time.Microsecond))
	report("idle RSS", "%.1f MB", float64(rss)/mega)
	return nil
}

// benchFirstPart measures the way from the first frame handed over by the
// publisher to the first part held by a viewer.
func benchFirstPart(ctx context.Context, b *bench) error {
	s, err := startServer(b)
	if err != nil {
		return err
	}
	defer s.stop()
	var times []time.Duration
	for n := range 5 {
		name := fmt.Sprintf("first-%d", n)
		ch, err := s.createChannel(name, "LOW", "TS")
		if err != nil {
			return err
		}
		stop, err := s.publish("--bitrate", "2500", name)
		if err != nil {
			return err
		}
		v := &viewer{server: s, channel: ch, keep: true}
		body, err := v.firstPart(ctx)
		held := time.Now()
		stop()
		v.close()
		if err != nil {
			return err
		}
		first, _, ok := media.NextStamp(withoutTSHeaders(body))
		if !ok {
			return errors.New("the first part has no stamp")
		}
		times = append(times, held.Sub(first))
	}
	slices.Sort(times)
	report("first frame published → first part held, median of 5 (worst)", "%v (%v)", times[2].Round(time.Millisecond), times[4].Round(time.Millisecond))
	return nil
}

const ingests = 100

// benchIngest measures 100 publishers without a viewer, recorded into a place or
// not.
func benchIngest(ctx context.Context, b *bench, container, place string) error {
	s, stopServer, err := startRecorder(ctx, b, place)
	if err != nil {
		return err
	}
	defer stopServer()
	what, recording := container, ""
	if place != notRecorded {
		what += ", " + place
		if recording, err = s.createRecordingConfiguration(ctx); err != nil {
			return err
		}
	}
	var first channel
	for n := range ingests {
		ch, err := s.createRecordedChannel("bench-"+strconv.Itoa(n+1), "LOW", container, recording)
		if err != nil {
			return err
		}
		if n == 0 {
			first = ch
		}
	}
	idle, err := s.usage()
	if err != nil {
		return err
	}
	stop, err := s.publish("--count", strconv.Itoa(ingests), "--size", "854x480", "--bitrate", "1100", "bench-{n}")
	if err != nil {
		return err
	}
	defer stop()
	if err := s.waitLive(ctx, ingests); err != nil {
		return err
	}
	if err := sleep(ctx, 35*time.Second); err != nil { // until the windows are full
		return err
	}
	from, err := s.usage()
	if err != nil {
		return err
	}
	if err := sleep(ctx, b.duration); err != nil {
		return err
	}
	to, err := s.usage()
	if err != nil {
		return err
	}
	report(fmt.Sprintf("%d publishers of 1.2 Mbit/s, %s: CPU", ingests, what), "%.3f core", cores(from, to))
	window, err := s.listedMedia(ctx, first)
	if err != nil {
		return err
	}
	report(fmt.Sprintf("%d publishers of 1.2 Mbit/s, %s: memory", ingests, what), "process %.0f MB (%.0f idle) + media %.0f MB = %.0f MB; playlists list %.0f MB",
		float64(to.rss)/mega, float64(idle.rss)/mega, float64(to.held)/mega, float64(to.rss+to.held)/mega, float64(ingests*window)/mega)
	return b.profile(ctx, s.process.Process.Pid, "ingest "+what)
}

// benchViewers measures viewers of one stream of 6 Mbit/s.
func benchViewers(ctx context.Context, b *bench, latency string, count int) error {
	s, ch, stop, err := startBroadcast(ctx, b, latency, "TS", "1280x720", "5900")
	if err != nil {
		return err
	}
	defer stop()
	w, err := s.watched(ctx, latency, count, func(int) (channel, error) { return ch, nil })
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d viewers, %s, 6 Mbit/s", count, map[string]string{"LOW": "LL-HLS", "NORMAL": "plain HLS"}[latency])
	w.report(name)
	w.reportAges(name)
	return nil
}

func (w watching) reportAges(name string) {
	ages := w.ages
	if len(ages) == 0 {
		return
	}
	slices.Sort(ages)
	report(name+": newest frame handed over → part held", "p50 %v, p99 %v (%d parts)", ages[len(ages)/2].Round(100*time.Microsecond), ages[len(ages)*99/100].Round(100*time.Microsecond), len(ages))
}

// watching holds the figures of the viewers, and what the server used meanwhile.
type watching struct {
	figures
	viewers  int
	from, to usage
}

// warmUp is how long viewers watch before they are measured.
const warmUp = 10 * time.Second

// watched has viewers watch, the first of which keeps what it gets, and measures after
// warmUp. of is the channel of each.
func (s *server) watched(ctx context.Context, latency string, count int, of func(i int) (channel, error)) (w watching, err error) {
	playing, leave := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer leave()
	viewers := make([]*viewer, count)
	for i := range viewers {
		ch, err := of(i)
		if err != nil {
			return w, err
		}
		v := &viewer{server: s, channel: ch, lowLatency: latency == "LOW", keep: i == 0}
		viewers[i] = v
		running.Go(func() { v.watch(playing, time.Duration(i)*3*time.Second/time.Duration(count)) })
	}
	if err := sleep(ctx, warmUp); err != nil {
		return w, err
	}
	for _, v := range viewers {
		v.resetFigures()
	}
	w.viewers = count
	if w.from, err = s.usage(); err != nil {
		return w, err
	}
	if err := sleep(ctx, s.bench.duration); err != nil {
		return w, err
	}
	if w.to, err = s.usage(); err != nil {
		return w, err
	}
	for _, v := range viewers {
		w.add(v.figures())
	}
	return w, s.bench.profile(ctx, s.process.Process.Pid, fmt.Sprint(latency, "-", count))
}

func (w watching) report(name string) {
	busy, seconds := cores(w.from, w.to), w.to.at.Sub(w.from.at).Seconds()
	report(name, "%.2f core, %.2f millicore a viewer, %.1f Gbit/s, %.0f requests/s, RSS %.0f MB; stalls %d, errors %d %s",
		busy, 1000*busy/float64(w.viewers), float64(w.bytes)*8/1e9/seconds, float64(w.requests)/seconds,
		float64(w.to.rss)/mega, w.stalls, w.errors, w.lastError)
}

// perRequest is how long the server's core was busy for each request.
func (w watching) perRequest() time.Duration {
	return (w.to.cpu - w.from.cpu) / time.Duration(max(w.requests, 1))
}

// withoutTSHeaders returns the payloads of the video packets of TS media, so
// that what a packet boundary cuts is whole again. Other media comes back as it
// is.
func withoutTSHeaders(b []byte) []byte {
	const size, videoPID = 188, 0x100
	if len(b) < size || b[0] != 0x47 {
		return b
	}
	var out []byte
	for ; len(b) >= size; b = b[size:] {
		if pid := int(b[1]&0x1f)<<8 | int(b[2]); pid != videoPID {
			continue
		}
		payload := 4
		if b[3]&0x20 != 0 {
			payload += 1 + int(b[4])
		}
		if payload < size {
			out = append(out, b[payload:size]...)
		}
	}
	return out
}

// newestStamp is when the publisher handed over the newest frame in media.
func newestStamp(b []byte) (newest time.Time, ok bool) {
	for rest := withoutTSHeaders(b); ; {
		t, r, found := media.NextStamp(rest)
		if !found {
			return newest, ok
		}
		newest, rest, ok = t, r, true
	}
}

// lines of a playlist that do not begin with "#".
func uris(playlist string) (list []string) {
	for line := range strings.Lines(playlist) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list
}
