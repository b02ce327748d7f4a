package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/hls/hlscheck"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/rtmp"
)

// An arrival is a frame with the encoder's times, and when it comes.
type arrival struct {
	frame media.Frame
	at    time.Duration // since the first one
}

// A recipe is a minute of broadcast that ffmpeg encodes.
type recipe struct {
	gop     int // pictures, 30 a second
	bframes int
	size    string
	rate    int // audio samples a second
}

var (
	steady  = recipe{gop: 60, bframes: 2, size: "160x120", rate: 48000}
	ordered = recipe{gop: 60, bframes: 0, size: "160x120", rate: 48000}
	long    = recipe{gop: 300, bframes: 2, size: "160x120", rate: 48000}
	other   = recipe{gop: 60, bframes: 2, size: "176x144", rate: 44100}
)

var tapes sync.Map // recipe -> func() ([]arrival, error)

// tape is a recipe's broadcast, encoded once for all tests: its clock starts at
// zero, and each frame comes when that says so.
func tape(t *testing.T, r recipe) []arrival {
	t.Helper()
	once, _ := tapes.LoadOrStore(r, sync.OnceValues(r.encode))
	all, err := once.(func() ([]arrival, error))()
	if err != nil {
		t.Fatal(err)
	}
	return append([]arrival(nil), all...)
}

func (r recipe) encode() ([]arrival, error) {
	args := fmt.Sprintf("-v error -f lavfi -i testsrc2=size=%s:rate=30 -f lavfi -i sine=frequency=440:sample_rate=%d -t 60"+
		" -c:v libx264 -threads 1 -preset ultrafast -pix_fmt yuv420p -g %d -keyint_min %d -sc_threshold 0 -bf %d -c:a aac -b:a 64k -f flv -",
		r.size, r.rate, r.gop, r.gop, r.bframes)
	var stderr bytes.Buffer
	encoder := exec.Command("ffmpeg", strings.Fields(args)...)
	encoder.Stderr = &stderr
	out, err := encoder.Output()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg %s: %w: %s", args, err, stderr.Bytes())
	}
	var all []arrival
	for reader := flv.NewReader(bytes.NewReader(out)); ; {
		f, err := reader.ReadFrame()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		f.Data = bytes.Clone(f.Data)
		all = append(all, arrival{f, f.DTS})
	}
}

// A carrier takes a frame that an encoder sends and returns it as it arrives.
type carrier func(media.Frame) (media.Frame, error)

// tags carries frames in FLV tags, whose 32 bits of milliseconds are what an
// encoder has.
func tags() carrier {
	var bytes bytes.Buffer
	writer, reader := flv.NewWriter(&bytes), flv.NewReader(&bytes)
	return func(f media.Frame) (media.Frame, error) {
		if err := writer.WriteFrame(f); err != nil {
			return f, err
		}
		return reader.ReadFrame()
	}
}

// messages carries them over RTMP, from a client to a server: chunks, and a
// timestamp of 24 bits with an extension.
func messages(t *testing.T) carrier {
	near, far := net.Pipe()
	pipes := pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	pipes.conns <- far
	arrived := make(chan media.Frame)
	server := &rtmp.Server{Log: slog.New(slog.DiscardHandler), Handle: func(ctx context.Context, p *rtmp.Publisher) error {
		err := p.Accept()
		for err == nil {
			var f media.Frame
			if f, err = p.ReadFrame(); err != nil {
				break
			}
			f.Data = bytes.Clone(f.Data)
			select {
			case arrived <- f:
			case <-ctx.Done():
			}
		}
		return err
	}}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(ctx, &pipes) })
	client, err := rtmp.NewClient(ctx, near, "rtmp://h/app/key")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); stop(); serving.Wait() })
	return func(f media.Frame) (media.Frame, error) {
		if err := client.WriteFrame(f); err != nil {
			return f, err
		}
		select {
		case f := <-arrived:
			return f, nil
		case <-ctx.Done():
			return f, context.Cause(ctx)
		}
	}
}

// wire has a broadcast carried to a session, and what that serves to a player.
func wire(t *testing.T, s *Session, p *player, broadcast []arrival, carry carrier) {
	t.Helper()
	for i, a := range broadcast {
		f, err := carry(a.frame)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if err := s.write(f, noon.Add(a.at)); err != nil {
			t.Fatalf("frame %d, %v after the start: %v", i, a.at, err)
		}
		p.look()
	}
	if err := s.source.Close(); err != nil {
		t.Fatal(err)
	}
	p.look()
}

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// A player fetches all that a session shows as soon as it is there, and keeps
// it for the checker.
type player struct {
	t        *testing.T
	session  *Session
	end      string // of the names of media
	history  []hlscheck.Fetch
	init     string // URI of the newest init segment that it has
	parts    int64  // how many it has
	segments int64
}

func newPlayer(t *testing.T, container string) (*Session, *player) {
	channel := ivs.Channel{LatencyMode: ivs.LatencyLow, ContainerFormat: container}
	s := newSession(channel, &rtmp.Publisher{}, func(error) {})
	t.Cleanup(s.Stream.Release)
	p := &player{t: t, session: s, end: ".ts"}
	if container == ivs.ContainerFMP4 {
		p.end = ".m4s"
	}
	return s, p
}

func (p *player) get(name string) {
	w := httptest.NewRecorder()
	p.session.Stream.ServeHTTP(w, httptest.NewRequestWithContext(p.t.Context(), "GET", "/source/"+name, nil))
	p.history = append(p.history, hlscheck.Fetch{URL: "/source/" + name, Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()})
}

func (p *player) look() {
	s := p.session.source.Stats()
	if s.Parts == p.parts && s.Segments == p.segments {
		return
	}
	for ; p.segments < s.Segments; p.segments++ {
		p.get(fmt.Sprint(p.segments, p.end))
	}
	for ; p.parts < s.Parts; p.parts++ {
		p.get(fmt.Sprint("p", p.parts, p.end))
	}
	if p.segments == 0 {
		return // a playlist without a whole segment is made to wait for
	}
	p.get("playlist.m3u8")
	p.get("playlist.m3u8?_HLS_skip=YES")
	if init := p.last("#EXT-X-MAP:URI="); init != p.init {
		p.init = init
		p.get(strings.Trim(init, `"`))
	}
}

// last is what stands behind the last tag of its kind in the newest playlist.
func (p *player) last(tag string) string {
	text := string(p.history[len(p.history)-1].Body)
	i := strings.LastIndex(text, tag)
	if i < 0 {
		return ""
	}
	value, _, _ := strings.Cut(text[i+len(tag):], "\n")
	return value
}

// check reports the rules of HLS that what p saw breaks. Those with a name in
// ignored are judged by the caller.
func (p *player) check(ignored string) {
	p.t.Helper()
	n := 0
	for _, problem := range hlscheck.Check(p.history) {
		if strings.Contains(ignored, problem.Rule) {
			continue
		}
		if n++; n > 5 {
			p.t.Fatal("and more")
		}
		p.t.Errorf("%s %v", p.history[problem.Fetch].URL, problem)
	}
}

// A listed segment is one that a playlist once showed whole.
type listed struct {
	name, init string
	date       time.Time
	duration   time.Duration
	target     time.Duration
}

// listed are all segments that there were, in order.
func (p *player) listed() (all []listed) {
	seen := map[string]bool{}
	for _, f := range p.history {
		var g listed
		for line := range strings.Lines(string(f.Body)) {
			line = strings.TrimSpace(line)
			name, value, _ := strings.Cut(line, ":")
			switch {
			case !strings.Contains(f.URL, ".m3u8"):
			case name == "#EXT-X-TARGETDURATION":
				g.target, _ = time.ParseDuration(value + "s")
			case name == "#EXT-X-MAP":
				g.init = strings.Trim(strings.TrimPrefix(value, "URI="), `"`)
			case name == "#EXT-X-PROGRAM-DATE-TIME":
				g.date, _ = time.Parse(time.RFC3339, value)
			case name == "#EXTINF":
				g.duration, _ = time.ParseDuration(strings.TrimSuffix(value, ",") + "s")
			case line != "" && line[0] != '#' && !seen[line]:
				seen[line] = true
				g.name = line
				all = append(all, g)
			}
		}
	}
	return all
}

// body is what p got for a name.
func (p *player) body(name string) []byte {
	for _, f := range p.history {
		if f.URL == "/source/"+name && f.Status == 200 {
			return f.Body
		}
	}
	return nil
}

// decode lets ffmpeg's decoders have all segments, one run for each init
// segment, and wants no complaint. It returns how many pictures there were.
func (p *player) decode() (pictures int) {
	p.t.Helper()
	var run []byte
	var init string
	flush := func() {
		if len(run) > 0 {
			pictures += decode(p.t, "media"+p.end, append(p.body(init), run...))
		}
		run = nil
	}
	for _, g := range p.listed() {
		if g.init != init {
			flush()
			init = g.init
		}
		run = append(run, p.body(g.name)...)
	}
	flush()
	return pictures
}

func decode(t *testing.T, name string, media []byte) (pictures int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, media, 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr, stdout bytes.Buffer
	decoder := exec.Command("ffmpeg", "-v", "error", "-threads", "1", "-copyts", "-i", file, "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-progress", "-", "-")
	decoder.Stderr, decoder.Stdout = &stderr, &stdout
	if err := decoder.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("ffmpeg: %v: %.2000s", err, stderr.Bytes())
	}
	for line := range strings.Lines(stdout.String()) {
		fmt.Sscanf(line, "frame=%d", &pictures) //nolint:errcheck // the last one counts
	}
	return pictures
}
