//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A viewer follows playlists as a player does: with low latency it asks for
// the playlist with the next part and then for that part; without, it reloads
// once a segment and fetches what is new. It keeps one connection, throws the
// media away, and counts when a player's buffer would have run dry.
type viewer struct {
	server     *server
	channel    channel
	lowLatency bool
	keep       bool // read the media and the stamps in it

	conn connection // nil before dial
	base string     // folder of the media playlist

	msn, part int    // the last part in the playlist
	fetched   string // the last URI fetched

	// A player's clock: started when it first had its hold-back.
	began    time.Time
	buffered time.Duration // media fetched since then
	holdBack time.Duration

	mu sync.Mutex
	f  figures // guarded by mu
}

// figures are the measurements of one viewer.
type figures struct {
	bytes     int64
	requests  int64
	stalls    int
	errors    int
	lastError string
	ages      []time.Duration
}

func (f *figures) add(o figures) {
	f.bytes += o.bytes
	f.requests += o.requests
	f.stalls += o.stalls
	f.errors += o.errors
	if o.lastError != "" {
		f.lastError = o.lastError
	}
	f.ages = append(f.ages, o.ages...)
}

func (v *viewer) resetFigures() { v.mu.Lock(); v.f = figures{}; v.mu.Unlock() }

func (v *viewer) figures() figures { v.mu.Lock(); defer v.mu.Unlock(); return v.f }

func (v *viewer) count(change func(f *figures)) { v.mu.Lock(); change(&v.f); v.mu.Unlock() }

// watch plays until ctx is done, beginning after delay. After an error it
// starts again.
func (v *viewer) watch(ctx context.Context, delay time.Duration) {
	defer v.close()
	for sleep(ctx, delay) == nil {
		err := v.play(ctx)
		v.close()
		if ctx.Err() != nil {
			return
		}
		v.count(func(f *figures) { f.errors++; f.lastError = err.Error() })
		delay = time.Second
	}
}

func (v *viewer) play(ctx context.Context) error {
	playlist, err := v.open(ctx)
	if err != nil {
		return err
	}
	v.began, v.buffered, v.fetched = time.Time{}, 0, ""
	for {
		if v.lowLatency {
			err = v.fetchParts(playlist)
		} else {
			err = v.fetchSegments(playlist)
		}
		if err != nil {
			return err
		}
		if playlist, err = v.next(ctx, playlist); err != nil {
			return err
		}
	}
}

// open fetches the multivariant and the first media playlist.
func (v *viewer) open(ctx context.Context) (playlist []byte, err error) {
	if err := v.dial(ctx); err != nil {
		return nil, err
	}
	multivariant, err := v.get(v.channel.playback, true)
	if err != nil {
		return nil, err
	}
	list := uris(string(multivariant))
	if len(list) == 0 {
		return nil, errors.New("multivariant playlist without a rendition")
	}
	media := path.Join(path.Dir(v.channel.playback), list[0])
	v.base = path.Dir(media)
	return v.get(media, true)
}

// firstPart waits for the channel and returns the media of its first part.
func (v *viewer) firstPart(ctx context.Context) ([]byte, error) {
	for {
		playlist, err := v.open(ctx)
		if err == nil {
			if uri := partURI(playlist, bytes.Index(playlist, partTag)); uri != "" {
				return v.get(v.base+"/"+uri, true)
			}
		}
		v.close()
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

var (
	partTag   = []byte("#EXT-X-PART:")
	infTag    = []byte("#EXTINF:")
	seqTag    = []byte("#EXT-X-MEDIA-SEQUENCE:")
	targetTag = []byte("#EXT-X-TARGETDURATION:")
	holdTag   = []byte("PART-HOLD-BACK=")
	endTag    = []byte("#EXT-X-ENDLIST")
)

// next asks for the playlist again: with low latency, for the one that has one
// part more.
func (v *viewer) next(ctx context.Context, last []byte) ([]byte, error) {
	if bytes.Contains(last, endTag) {
		return nil, errors.New("the stream has ended")
	}
	url := v.base + "/playlist.m3u8"
	if v.lowLatency {
		v.msn, v.part = edge(last)
		url += fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", v.msn, v.part+1)
	} else if err := sleep(ctx, time.Duration(number(last, targetTag)*float64(time.Second))); err != nil {
		return nil, err
	}
	return v.get(url, true)
}

// edge is the media sequence number of the segment that grows, and its last
// part, -1 if it has none.
func edge(playlist []byte) (msn, part int) {
	msn = int(number(playlist, seqTag)) + bytes.Count(playlist, infTag)
	tail := playlist
	if i := bytes.LastIndex(playlist, infTag); i >= 0 {
		tail = playlist[i:]
	}
	return msn, bytes.Count(tail, partTag) - 1
}

// fetchParts fetches the parts that are new: at first those of the hold-back.
func (v *viewer) fetchParts(playlist []byte) error {
	v.holdBack = time.Duration(number(playlist, holdTag) * float64(time.Second))
	from := len(playlist)
	var ahead time.Duration
	for {
		i := bytes.LastIndex(playlist[:from], partTag)
		if i < 0 {
			break
		}
		uri := partURI(playlist, i)
		if uri == v.fetched || v.fetched == "" && ahead >= v.holdBack {
			break
		}
		ahead += partDuration(playlist, i)
		from = i
	}
	for from < len(playlist) {
		i := bytes.Index(playlist[from:], partTag)
		if i < 0 {
			break
		}
		from += i
		uri := partURI(playlist, from)
		if err := v.fetch(uri, partDuration(playlist, from)); err != nil {
			return err
		}
		from += len(partTag)
	}
	return nil
}

func partURI(playlist []byte, at int) string {
	if at < 0 {
		return ""
	}
	line, _, _ := bytes.Cut(playlist[at:], []byte("\n"))
	_, uri, _ := bytes.Cut(line, []byte(`URI="`))
	uri, _, _ = bytes.Cut(uri, []byte(`"`))
	return string(uri)
}

func partDuration(playlist []byte, at int) time.Duration {
	return time.Duration(number(playlist[at:], []byte("DURATION=")) * float64(time.Second))
}

// fetchSegments fetches the segments that are new: at first the last three.
func (v *viewer) fetchSegments(playlist []byte) error {
	v.holdBack = 3 * time.Duration(number(playlist, targetTag)*float64(time.Second))
	type segment struct {
		uri    string
		length time.Duration
	}
	var all []segment
	rest := playlist
	for {
		i := bytes.Index(rest, infTag)
		if i < 0 {
			break
		}
		rest = rest[i:]
		length := time.Duration(number(rest, infTag) * float64(time.Second))
		_, after, _ := bytes.Cut(rest, []byte("\n"))
		uri, _, _ := bytes.Cut(after, []byte("\n"))
		all = append(all, segment{strings.TrimSpace(string(uri)), length})
		rest = after
	}
	begin := max(0, len(all)-3)
	for i, s := range all {
		if s.uri == v.fetched {
			begin = i + 1
		}
	}
	for _, s := range all[begin:] {
		if err := v.fetch(s.uri, s.length); err != nil {
			return err
		}
	}
	return nil
}

// fetch fetches media and moves the player's clock.
func (v *viewer) fetch(uri string, length time.Duration) error {
	body, err := v.get(v.base+"/"+uri, v.keep)
	if err != nil {
		return err
	}
	now := time.Now()
	v.fetched = uri
	if v.began.IsZero() {
		if v.buffered += length; v.buffered >= v.holdBack-time.Second/10 {
			v.began = now
		}
		return nil
	}
	if late := now.Sub(v.began) - v.buffered; late > 0 {
		v.count(func(f *figures) { f.stalls++ })
		v.began = v.began.Add(late)
	}
	v.buffered += length
	if newest, ok := newestStamp(body); ok && v.lowLatency {
		v.count(func(f *figures) { f.ages = append(f.ages, now.Sub(newest)) })
	}
	return nil
}

func (v *viewer) dial(ctx context.Context) (err error) {
	if v.conn == nil {
		v.conn, err = v.server.dial(ctx)
	}
	return err
}

func (v *viewer) close() {
	if v.conn != nil {
		_ = v.conn.Close()
		v.conn = nil
	}
}

// get makes one request and returns the body, or nothing without keep.
func (v *viewer) get(url string, keep bool) (body []byte, err error) {
	body, length, err := v.conn.get(url, keep)
	v.count(func(f *figures) { f.bytes += length; f.requests++ })
	return body, err
}

// number reads the number behind tag, 0 if there is none.
func number(b, tag []byte) float64 {
	i := bytes.Index(b, tag)
	if i < 0 {
		return 0
	}
	b = b[i+len(tag):]
	end := 0
	for end < len(b) && (b[end] >= '0' && b[end] <= '9' || b[end] == '.') {
		end++
	}
	n, _ := strconv.ParseFloat(string(b[:end]), 64)
	return n
}
