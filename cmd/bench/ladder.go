//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// benchLadder measures one STANDARD channel whose renditions are made on both
// cores: how long after its source part a transcoded part is there, and what
// ffmpeg and the server take.
func benchLadder(ctx context.Context, b *bench, f footage) error {
	file, err := f.file(ctx, b)
	if err != nil {
		return err
	}
	s, err := startServerOn(b, "0,1", "GOMAXPROCS=2", "--transcode", "required", "--transcode-capacity", "10")
	if err != nil {
		return err
	}
	defer s.stop()
	ch, err := s.createChannel("ladder", "LOW", "TS")
	if err != nil {
		return err
	}
	stop, err := s.publish("--file", file, "ladder")
	if err != nil {
		return err
	}
	defer stop()
	if err := s.waitLive(ctx, 1); err != nil {
		return err
	}
	if err := sleep(ctx, 8*time.Second); err != nil {
		return err
	}
	addresses, err := s.renditions(ctx, ch)
	if err != nil {
		return err
	}
	pid, err := childOf(s.process.Process.Pid)
	if err != nil {
		return err
	}

	watching, leave := context.WithCancel(ctx)
	defer leave()
	arrivals := make([]arrivals, len(addresses))
	var running sync.WaitGroup
	for i, address := range addresses {
		running.Go(func() { arrivals[i].watch(watching, address) })
	}
	from, child, err := s.usageWith(pid)
	if err != nil {
		return err
	}
	if err := sleep(ctx, b.loops()); err != nil {
		return err
	}
	to, childTo, err := s.usageWith(pid)
	if err != nil {
		return err
	}
	leave()
	running.Wait()

	own, ffmpeg := cores(from, to), cores(child, childTo)
	report("ladder of "+f.size+" at 30: CPU", "ffmpeg %.3f core, server %.3f core (%.1f %% of both, one player a playlist), RSS of ffmpeg %.0f MB",
		ffmpeg, own, 100*own/(own+ffmpeg), float64(childTo.rss)/mega)
	for i := 1; i < len(addresses); i++ {
		lags := arrivals[i].behind(&arrivals[0])
		if len(lags) == 0 {
			return fmt.Errorf("no part of %s was seen", addresses[i])
		}
		report("ladder of "+f.size+" at 30: part of "+rendition(addresses[i])+" behind its source part", "p50 %v, p99 %v (%d parts)",
			lags[len(lags)/2].Round(time.Millisecond), lags[len(lags)*99/100].Round(time.Millisecond), len(lags))
	}
	return nil
}

// rendition is the name in the address of a media playlist.
func rendition(address string) string { return path.Base(path.Dir(address)) }

// renditions are the addresses of media playlists: the source's first, listed
// or not.
func (s *server) renditions(ctx context.Context, ch channel) (addresses []string, err error) {
	text, err := fetch(ctx, s.api+ch.playback)
	if err != nil {
		return nil, err
	}
	base := s.api + path.Dir(ch.playback) + "/"
	for _, uri := range uris(text) {
		if rendition(uri) != "source" {
			addresses = append(addresses, base+uri)
		}
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("nothing is transcoded: %s", text)
	}
	stream := strings.TrimSuffix(addresses[0], rendition(addresses[0])+"/playlist.m3u8")
	return append([]string{stream + "source/playlist.m3u8"}, addresses...), nil
}

// arrivals are when the parts of a rendition were there, by media sequence
// number and part.
type arrivals map[[2]int]time.Time

// watch asks for one part after the other until ctx is done. The part that is
// there at the beginning does not count.
func (a *arrivals) watch(ctx context.Context, address string) {
	*a = arrivals{}
	text, err := fetch(ctx, address)
	for err == nil {
		msn, part := edge([]byte(text))
		text, err = fetch(ctx, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", address, msn, part+1))
		if err == nil {
			msn, part = edge([]byte(text))
			(*a)[[2]int{msn, part}] = time.Now()
		}
	}
}

// behind is how much later than in the source each part was there.
func (a arrivals) behind(source *arrivals) (lags []time.Duration) {
	for part, at := range a {
		if first, ok := (*source)[part]; ok {
			lags = append(lags, at.Sub(first))
		}
	}
	slices.Sort(lags)
	return lags
}

func fetch(ctx context.Context, address string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", address, r.Status)
	}
	return string(text), err
}

// childOf finds the ffmpeg that a server has started.
func childOf(parent int) (int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has gone
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(parent) {
			return strconv.Atoi(strings.Split(file, "/")[2])
		}
	}
	return 0, errors.New("the server has started no ffmpeg")
}

// usageWith returns the usage of the server and one of its child processes together.
func (s *server) usageWith(pid int) (own, child usage, err error) {
	if own, err = s.usage(); err != nil {
		return own, child, err
	}
	child, err = usageOf(pid)
	return own, child, err
}
