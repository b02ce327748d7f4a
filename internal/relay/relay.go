// Package relay serves streams of other nodes. The first request for one asks the node
// that has it, the owner, for its channel, so that it is known who may watch. The first
// viewer who may opens a single connection to the owner, over which all parts of all
// renditions come as they are finished. They make an hls.Stream that answers players
// as the owner's does, with the same names and numbers: a viewer who comes from
// another node continues. When there was no request for a while the connection ends.
//
// Of the owner a relay knows nothing but its answers; who it is, and how requests to
// it are signed, is for package cluster.
package relay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
)

const (
	// unknownFor is how long a request for an unknown stream waits at most for what other
	// nodes may have begun: longer than it takes to learn of that.
	unknownFor = time.Second

	// lingerFor is how long the end of a stream can still be fetched.
	lingerFor = time.Minute

	// openTime is how long the owner may take for each message while a copy is opened.
	openTime = 5 * time.Second

	// failedFor is how long a stream that could not be opened is not tried again.
	failedFor = time.Second

	// lostTime is how long the connection to an owner may be lost that is not known to
	// have died: longer than it takes to be found dead.
	lostTime  = 10 * time.Second
	retryWait = 200 * time.Millisecond

	reportEvery = 2 * time.Second
	reportTime  = 2 * time.Second

	// reportStreams is of how many streams a report is: with the figures of players, less
	// than maxReport.
	reportStreams = 100
)

// A Place says where a stream is.
type Place struct {
	Node     string // the owner's name
	StreamID string

	// Do sends a request to the owner. Its path is below the root of the nodes' protocol.
	Do func(*http.Request) (*http.Response, error)
}

// A Relay holds the streams of other nodes that are watched on this one. Its methods may
// be called from any goroutine, and on a nil Relay too, which has none.
type Relay struct {
	// Locate returns where a stream of another node is, by its id, or by the ARN of
	// its channel until it has ended.
	Locate func(key string) (Place, bool)

	// AwaitNewer waits until Locate knows what there was at a time, or ctx is done.
	AwaitNewer func(ctx context.Context, than time.Time)

	// Shares are the shares of client addresses in the viewers of a channel's
	// account, on this node.
	Shares func(channelARN string) *audience.Shares

	// Admit reserves the resources for a copy of a channel's stream on this node, for a
	// viewer at an address, until release is called; share bounds its media. nil admits
	// all.
	Admit func(channel ivs.Channel, viewer string) (share hls.Share, release func(), err error)

	Log *slog.Logger

	// Idle is how long after its last request a stream is still copied. It is longer than
	// a request can wait, three target durations of up to 10 s. 0 means 40 s.
	Idle time.Duration

	opened, lost, bytes atomic.Int64

	mu      sync.Mutex
	run     context.Context    // guarded by mu; of Run, nil before it
	over    bool               // guarded by mu; Run waits for its copies, and none is begun
	pulls   sync.WaitGroup     // guarded by mu where it is added to
	streams map[string]*Stream // guarded by mu; by id
}

// A Stream is a stream of another node. Copying begins when a viewer opens it.
type Stream struct {
	ID      string
	Channel ivs.Channel
	Media   *hls.Stream      // the copy; set in a Stream that Open has returned
	Viewers audience.Viewers // on this node

	thumbnail thumbnail

	cancel   context.CancelCauseFunc
	place    atomic.Pointer[Place]
	asked    atomic.Int64  // when it was last opened, or first found, Unix nanoseconds
	found    chan struct{} // closed when Channel is set, or err
	share    hls.Share     // bounds Media; set before admitted
	admitted chan func()   // has what gives back what the copy has reserved, once it is to begin
	opened   chan struct{} // closed when Media is set, or err
	err      error         // why it is unknown, or is not copied
	ended    atomic.Bool   // the owner has ended it, or was lost

	beginning sync.Mutex
	begun     atomic.Bool // set with beginning held; no viewer is asked for any more
}

// ErrNotFound is wrapped by the error for a stream that no other node has.
var ErrNotFound = errors.New("no other node has the stream")

// ErrNoRoom is wrapped by the error for a stream that this node has no resources to copy.
var ErrNoRoom = errors.New("there is no room for a copy of the stream")

var (
	errIdle    = errors.New("the stream has no viewers here")
	errGone    = fmt.Errorf("%w: its owner does not have it any more", ErrNotFound)
	errStopped = errors.New("this node relays no streams: it is starting or stopping")

	// errUnusable is that of what the owner has sent and cannot become a part of the
	// copy. It would not be better a second time.
	errUnusable = errors.New("what its owner has sent of the stream cannot be used")
)

// Stats are counters of a Relay, and how many streams it copies now.
type Stats struct {
	Streams int
	Opened  int64 // that were begun to be copied
	Lost    int64 // connections to owners that were lost
	Bytes   int64 // that came from owners
}

// Stats returns the counters so far.
func (r *Relay) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	return Stats{len(r.all()), r.opened.Load(), r.lost.Load(), r.bytes.Load()}
}

// Live returns the stream of a channel that is live on another node. It waits until the
// channel is known. The error wraps ErrNotFound if there is none; any other error means
// that there may be one, and its owner does not answer.
func (r *Relay) Live(ctx context.Context, channelARN string) (*Stream, error) {
	return r.find(ctx, func() (*Stream, error) {
		at, ok := r.Locate(channelARN)
		if !ok {
			return nil, ErrNotFound
		}
		return r.get(at.StreamID, true)
	})
}

// Copied returns the stream of a channel that is being copied, nil if there is none.
func (r *Relay) Copied(channelARN string) *Stream {
	if r == nil {
		return nil
	}
	for _, s := range r.all() {
		if s.Channel.ARN == channelARN && !s.ended.Load() {
			return s
		}
	}
	return nil
}

// Stream returns a stream of another node, as Live does.
func (r *Relay) Stream(ctx context.Context, id string) (*Stream, error) {
	return r.find(ctx, func() (*Stream, error) { return r.get(id, false) })
}

// find returns the stream that get does, when its channel is known. One that has just
// begun may not be known here yet: a viewer who learned of it elsewhere is not told that it
// does not exist.
func (r *Relay) find(ctx context.Context, get func() (*Stream, error)) (*Stream, error) {
	if r == nil {
		return nil, ErrNotFound
	}
	s, err := get()
	if errors.Is(err, ErrNotFound) {
		limited, cancel := context.WithTimeout(ctx, unknownFor)
		r.AwaitNewer(limited, time.Now())
		cancel()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err = get()
	}
	if err != nil {
		return nil, err
	}
	return s, s.await(ctx)
}

// get returns a stream, which it begins to look after at the first request for it, or,
// with again, where the copy has ended and the stream has not.
func (r *Relay) get(id string, again bool) (*Stream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.streams[id]; s != nil && !(again && s.ended.Load()) {
		return s, nil
	}
	if r.run == nil || r.over {
		return nil, errStopped
	}
	at, ok := r.Locate(id)
	if !ok {
		return nil, ErrNotFound
	}
	if r.streams == nil {
		r.streams = map[string]*Stream{}
	}
	ctx, cancel := context.WithCancelCause(r.run)
	s := &Stream{ID: id, cancel: cancel, found: make(chan struct{}), admitted: make(chan func(), 1), opened: make(chan struct{})}
	s.place.Store(&at)
	s.asked.Store(time.Now().UnixNano())
	r.streams[id] = s
	r.pulls.Go(func() {
		defer cancel(nil)
		r.copy(ctx, s)
	})
	return s, nil
}

// await waits until the channel of s is known. The error is why it will not be.
func (s *Stream) await(ctx context.Context) error {
	if !waitFor(ctx, s.found) {
		return ctx.Err()
	}
	if s.Channel.ARN == "" {
		return s.err
	}
	return nil
}

// waitFor waits until c is closed. It reports false if ctx is done before.
func waitFor(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
	}
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// Open returns s once it can be played. The first call begins to copy it, for a viewer at
// an address, who must be authorized to watch the channel. The error wraps ErrNoRoom if
// Admit has refused the copy for this viewer, and ErrNotFound if the stream has ended
// meanwhile.
func (r *Relay) Open(ctx context.Context, s *Stream, viewer string) (*Stream, error) {
	for !r.hold(s) { // it was forgotten meanwhile
		var err error
		if s, err = r.get(s.ID, false); err != nil {
			return nil, err
		}
		if err := s.await(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.begin(s, viewer); err != nil {
		return nil, err
	}
	if !waitFor(ctx, s.opened) {
		return nil, ctx.Err()
	}
	return s, s.err
}

// begin has s copied, for a viewer at an address, if it is not yet. A refusal is this
// viewer's alone: what it has begun may be its share, and others have theirs.
func (r *Relay) begin(s *Stream, viewer string) error {
	if s.begun.Load() {
		return nil
	}
	s.beginning.Lock()
	defer s.beginning.Unlock()
	if s.begun.Load() {
		return nil
	}
	release := func() {}
	if r.Admit != nil {
		var err error
		if s.share, release, err = r.Admit(s.Channel, viewer); err != nil {
			r.Log.Warn("a stream of another node cannot be relayed", "stream", s.ID, "remote", viewer, "error", err)
			return fmt.Errorf("%w: %w", ErrNoRoom, err)
		}
	}
	s.begun.Store(true)
	s.admitted <- release // there is room for one
	return nil
}

// hold reports whether s is still looked after. It is for Idle from now on.
func (r *Relay) hold(s *Stream) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams[s.ID] != s {
		return false
	}
	s.asked.Store(time.Now().UnixNano())
	return true
}

// Run copies the requested streams until ctx is done, and reports to their owners how
// many viewers they have here and what players report.
func (r *Relay) Run(ctx context.Context) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	r.run = ctx
	r.mu.Unlock()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			r.look(ctx, time.Now())
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.pulls.Wait()
	return nil
}

// look ends what has no viewers, and reports viewers.
func (r *Relay) look(ctx context.Context, now time.Time) {
	r.forgetIdle(now)
	owners := map[string]*Place{}
	counts := map[string]viewerCounts{}
	for _, s := range r.all() {
		if s.ended.Load() {
			continue
		}
		at := s.place.Load()
		if owners[at.Node] == nil {
			owners[at.Node], counts[at.Node] = at, viewerCounts{map[string]int{}, map[string]audience.Playback{}}
		}
		counts[at.Node].Streams[s.ID] = s.Viewers.CountHere(now)
		if p := s.Viewers.PlaybackHere(now); p.Reporting > 0 || p.Stalls > 0 {
			counts[at.Node].Playback[s.ID] = p
		}
	}
	var g errgroup.Group
	for name, at := range owners {
		g.Go(func() error {
			if err := at.report(ctx, counts[name]); err != nil && ctx.Err() == nil {
				r.Log.Warn("reporting the viewers of streams to their owner failed", "node", name, "error", err)
			}
			return nil
		})
	}
	_ = g.Wait() // failures are logged
}

// all are the streams that are copied.
func (r *Relay) all() (list []*Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.streams {
		select {
		case <-s.opened:
			if s.err == nil {
				list = append(list, s)
			}
		default:
		}
	}
	return list
}

// channel asks for the channel of a stream.
func (p *Place) channel(ctx context.Context, streamID string) (c ivs.Channel, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/streams/"+url.PathEscape(streamID)+"/channel", nil)
	if err != nil {
		return c, err
	}
	res, err := p.Do(req)
	if err != nil {
		return c, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return c, errGone
	default:
		return c, fmt.Errorf("the owner answers %s", res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxText)).Decode(&c); err != nil || c.ARN == "" {
		return ivs.Channel{}, fmt.Errorf("%w: the channel %q: %v", errProtocol, c.ARN, err)
	}
	return c, nil
}

// report sends c, with few enough streams at a time.
func (p *Place) report(ctx context.Context, c viewerCounts) error {
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(c.Streams)), reportStreams) {
		some := viewerCounts{map[string]int{}, map[string]audience.Playback{}}
		for _, id := range ids {
			some.Streams[id] = c.Streams[id]
			if playback, ok := c.Playback[id]; ok {
				some.Playback[id] = playback
			}
		}
		body, err := json.Marshal(some)
		if err != nil {
			return err
		}
		if err := p.post(ctx, "/viewers", body); err != nil {
			return err
		}
	}
	return nil
}

func (p *Place) post(ctx context.Context, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := p.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000)) // what there is of it
		return fmt.Errorf("%s: %s: %s", path, res.Status, bytes.TrimSpace(text))
	}
	return nil
}

// Viewers returns how many viewers watch other nodes' streams here.
func (r *Relay) Viewers(now time.Time) (n int) {
	if r == nil {
		return 0
	}
	for _, s := range r.all() {
		n += s.Viewers.CountHere(now)
	}
	return n
}

// EndViewer stops counting the viewer sessions of a viewer of a channel up to a version,
// on this node.
func (r *Relay) EndViewer(channelARN, viewerID string, version int64) {
	if r == nil {
		return
	}
	for _, s := range r.all() {
		if s.Channel.ARN == channelARN {
			s.Viewers.End(viewerID, version)
		}
	}
}

// stopped reports whether Run is to return.
func (r *Relay) stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.run.Err() != nil
}

// copy asks for the channel of s, copies s from when a viewer opens it until its end, and
// forgets it some time after that.
func (r *Relay) copy(ctx context.Context, s *Stream) {
	log := r.Log.With("stream", s.ID, "node", s.place.Load().Node)
	release, err := r.prepare(ctx, s)
	if err != nil {
		r.giveUp(ctx, s, err, log)
		return
	}
	defer release()
	c, err := r.follow(ctx, s, log)
	linger := lingerFor
	switch {
	case c == nil:
		r.giveUp(ctx, s, err, log)
		return
	case r.stopped():
		s.Media.Leave()
		return // the process ends
	case errors.Is(context.Cause(ctx), errIdle): // it has been forgotten
		log.Info("a stream of another node is no longer relayed", "reason", errIdle)
		linger = 0
	case err != nil:
		log.Warn("a stream of another node was lost: it ends for its viewers here", "error", err)
	default:
		log.Info("a stream of another node has ended")
	}
	s.ended.Store(true)
	c.close()
	r.forget(ctx, s, linger)
	s.Viewers.Close()
	s.Media.Release()
}

// prepare asks for the channel of s and waits for a viewer who opens s, for whom the copy
// has been admitted.
func (r *Relay) prepare(ctx context.Context, s *Stream) (release func(), err error) {
	if s.Channel, err = s.place.Load().channel(ctx, s.ID); err != nil {
		return nil, err
	}
	s.Viewers.Shares = r.Shares(s.Channel.ARN)
	close(s.found)
	select {
	case release = <-s.admitted:
		return release, nil
	case <-ctx.Done():
		s.beginning.Lock()
		defer s.beginning.Unlock()
		if s.begun.Swap(true) {
			(<-s.admitted)()
		}
		return nil, context.Cause(ctx)
	}
}

// giveUp leaves a stream that cannot be copied, whose viewers learn it at once for a while.
func (r *Relay) giveUp(ctx context.Context, s *Stream, err error, log *slog.Logger) {
	if ctx.Err() == nil {
		log.Warn("a stream of another node cannot be relayed", "error", err)
	}
	s.err = err
	if s.Channel.ARN == "" {
		close(s.found)
	}
	close(s.opened)
	r.forget(ctx, s, failedFor)
}

// forget forgets s after some time.
func (r *Relay) forget(ctx context.Context, s *Stream, after time.Duration) {
	select {
	case <-time.After(after):
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams[s.ID] == s {
		delete(r.streams, s.ID)
	}
}

// forgetIdle forgets what has no viewers.
func (r *Relay) forgetIdle(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.streams {
		if now.UnixNano()-s.asked.Load() > int64(cmp.Or(r.Idle, 40*time.Second)) {
			delete(r.streams, id) // whoever asks from now on gets a new copy
			s.cancel(errIdle)
		}
	}
}

// follow copies s over one connection after another, until its end. There is no
// replica where the first fails.
func (r *Relay) follow(ctx context.Context, s *Stream, log *slog.Logger) (c *replica, err error) {
	var lostAt time.Time
	for {
		got := false
		c, got, err = r.pull(ctx, s, c)
		if err == nil || c == nil || ctx.Err() != nil || errors.Is(err, errGone) || errors.Is(err, errUnusable) || errors.Is(err, errProtocol) {
			return c, err
		}
		r.lost.Add(1)
		if got || lostAt.IsZero() {
			lostAt = time.Now()
			log.Warn("the connection to the owner of a stream was lost; trying again", "error", err)
		}
		select {
		case <-time.After(retryWait):
		case <-ctx.Done():
		}
		at, ok := r.Locate(s.ID)
		if !ok || time.Since(lostAt) > lostTime {
			return c, err
		}
		s.place.Store(&at)
	}
}

// pull copies s over a connection to its owner. c is nil for the first one; got
// reports whether all came that the owner had. The error is nil at the end of the stream.
func (r *Relay) pull(ctx context.Context, s *Stream, c *replica) (_ *replica, got bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(openTime, cancel)
	defer late.Stop()
	path := "/streams/" + url.PathEscape(s.ID)
	if c != nil {
		path += "?" + formatPositions(c.positions())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return c, false, err
	}
	res, err := s.place.Load().Do(req)
	if err != nil {
		return c, false, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return c, false, errGone
	default:
		return c, false, fmt.Errorf("the owner answers %s", res.Status)
	}
	in := &reader{r: &counted{res.Body, &r.bytes}}
	opened := c
	if opened, err = r.greet(in, s, c); err != nil {
		return c, false, err
	}
	for {
		var m change
		body, err := in.read(&m)
		switch {
		case errors.Is(err, io.EOF) && c != nil:
			return c, got, nil
		case err == nil && m.Kind == kindSynced:
			got = true
			late.Stop()
			if c == nil {
				c = opened
				r.opened.Add(1)
				close(s.opened)
			}
			continue
		case err == nil:
			if !got {
				late.Reset(openTime)
			}
			if err = opened.take(&m, body); err != nil {
				err = fmt.Errorf("%w: %w", errUnusable, err)
			}
		}
		if err != nil {
			if c == nil {
				opened.stream.Release()
			}
			return c, got, err
		}
	}
}

// greet reads the greeting, and makes the replica if there is none.
func (r *Relay) greet(in *reader, s *Stream, c *replica) (*replica, error) {
	var g greeting
	if _, err := in.read(&g); err != nil {
		return nil, err
	}
	media, err := g.stream()
	if err != nil || c != nil {
		return c, err
	}
	media.Share = s.share
	s.Media = media
	return newReplica(media), nil
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// audioOnlyTime is how long a viewer who asks for the rendition without video waits
// for it.
const audioOnlyTime = 5 * time.Second

// AddAudioOnly makes the owner add the rendition without video, and returns when it plays
// here, or when it is clear that it will not soon.
func (s *Stream) AddAudioOnly(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, audioOnlyTime)
	defer cancel()
	asked := false
	for {
		list, changed := s.Media.Renditions()
		if slices.ContainsFunc(list, func(v hls.Variant) bool { return v.AudioOnly && v.Playing }) || s.ended.Load() {
			return
		}
		if !asked {
			asked = true
			if err := s.place.Load().post(ctx, "/streams/"+url.PathEscape(s.ID)+"/audio-only", nil); err != nil {
				return // the playlist is without it
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
