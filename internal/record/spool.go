package record

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/ivs"
)

// errFull ends a recording whose segments have no room in the spool.
var errFull = errors.New("the spool is full: the bucket takes less than what is recorded (--recording-spool)")

// A spool is the folder in which recordings wait for their buckets, and how
// much it holds.
type spool struct {
	folder string
	max    int64        // bytes
	lost   atomic.Int64 // nanoseconds of media that was given up, or lost otherwise

	mu     sync.Mutex
	used   int64               // guarded by mu; bytes, the sum of all shares
	shares map[*share]struct{} // guarded by mu
}

// A share is one recording's part of the spool.
type share struct {
	spool     *spool
	recording *recording // nil for one that gives nothing up
	held      int64      // guarded by spool.mu; bytes
}

// share adds a recording.
func (s *spool) share(c *recording) *share {
	h := &share{spool: s, recording: c}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shares == nil {
		s.shares = map[*share]struct{}{}
	}
	s.shares[h] = struct{}{}
	return h
}

// bytes is how much the spool holds.
func (s *spool) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// What has reached a bucket leaves the spool a moment later. If nothing is left to give
// up, take therefore tries again this often, with these pauses.
const (
	takeTries = 10
	takePause = 10 * time.Millisecond
)

// take makes room for n bytes. Where a spool is full, another recording ends and gives
// up what is needed. The error is errFull where that recording is this one, or none has
// anything to give up.
func (h *share) take(n int64) error {
	for tries := 0; !h.reserve(n); {
		most := h.spool.heaviest()
		switch {
		case most != nil && most == h.recording:
			return errFull
		case most != nil && most.giveUp(n) > 0:
		case tries == takeTries:
			return errFull
		default:
			tries++
			time.Sleep(takePause)
		}
	}
	return nil
}

// reserve takes n bytes if there is room for them.
func (h *share) reserve(n int64) bool {
	s := h.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.max {
		return false
	}
	s.used += n
	h.held += n
	return true
}

// heaviest returns the recording that is to end when the spool is full: the one with the
// most waiting media, of the bucket with the most waiting media. So a bucket that is down
// ends no recording of another one, however many recordings it has. Files that are still
// being filled do not count, since they do not wait for the bucket. The result is nil if
// nothing waits.
func (s *spool) heaviest() (most *recording) {
	s.mu.Lock()
	shares := slices.Collect(maps.Keys(s.shares))
	s.mu.Unlock() // queues that give something up lock it in turn
	waits, ofBucket := map[*recording]int64{}, map[string]int64{}
	for _, h := range shares {
		if c := h.recording; c != nil {
			waits[c] = c.waiting()
			ofBucket[c.Bucket] += waits[c]
		}
	}
	for c, n := range waits {
		heavier := most == nil || ofBucket[c.Bucket] > ofBucket[most.Bucket] || c.Bucket == most.Bucket && n > waits[most]
		if n > 0 && heavier {
			most = c
		}
	}
	return most
}

// hold counts n bytes that are in the spool already.
func (h *share) hold(n int64) {
	h.spool.mu.Lock()
	defer h.spool.mu.Unlock()
	h.spool.used += n
	h.held += n
}

// give frees n bytes.
func (h *share) give(n int64) { h.hold(-n) }

// close removes the recording's share: it holds nothing any more.
func (h *share) close() {
	h.spool.mu.Lock()
	defer h.spool.mu.Unlock()
	h.spool.used -= h.held
	h.held = 0
	delete(h.spool.shares, h)
}

// A manifest is the file of a recording's folder that says what it is. It is
// replaced as a whole when its progress changes.
type manifest struct {
	identity
	progress
}

// identity holds the attributes of a recording that never change.
type identity struct {
	ID            string                     `json:"id"`
	SessionID     string                     `json:"sessionId"`
	ChannelARN    string                     `json:"channelArn"`
	ChannelType   string                     `json:"channelType"`
	Bucket        string                     `json:"bucket"`
	Prefix        string                     `json:"prefix"` // of its keys, without a slash at the end
	FMP4          bool                       `json:"fmp4,omitempty"`
	Configuration ivs.RecordingConfiguration `json:"configuration"`
	Ingest        ivs.IngestConfigurations   `json:"ingest"` // of the first stream
	CreatedAt     time.Time                  `json:"createdAt"`
}

// progress is the state of a recording that must survive a restart of the server.
type progress struct {
	Streams []string `json:"streams"`           // oldest first
	Tracks  []string `json:"tracks"`            // their folders, in the order in which they came
	Failure string   `json:"failure,omitempty"` // why it is to end early
}

const manifestName = "recording.json"

func (m manifest) save(folder string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	name := filepath.Join(folder, manifestName)
	if err := writeSynced(name+".new", b); err != nil {
		return err
	}
	return errors.Join(os.Rename(name+".new", name), bucket.SyncFolder(folder))
}

func loadManifest(folder string) (m manifest, err error) {
	b, err := os.ReadFile(filepath.Join(folder, manifestName))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

func writeSynced(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}
