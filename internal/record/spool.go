package record

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// errFull is why a recording ends whose segments have no room left.
var errFull = errors.New("the spool is full: the bucket takes less than what is recorded (--recording-spool)")

// A spool is the folder in which recordings wait for their buckets, and how
// much media it holds.
type spool struct {
	folder string
	max    int64 // bytes
	used   atomic.Int64
}

// take makes room for n bytes.
func (s *spool) take(n int64) error {
	if s.used.Add(n) > s.max {
		s.used.Add(-n)
		return errFull
	}
	return nil
}

func (s *spool) give(n int64) { s.used.Add(-n) }

// A manifest is the file of a recording's folder that says what it is. It is
// replaced as a whole when its progress changes.
type manifest struct {
	identity
	progress
}

// identity is what a recording is, from its creation to its end.
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

// progress is what must survive a restart of the server.
type progress struct {
	Streams []string `json:"streams"`           // oldest first
	Tracks  []string `json:"tracks"`            // their folders, in the order in which they came
	Failure string   `json:"failure,omitempty"` // it is to end with this
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
	return errors.Join(os.Rename(name+".new", name), syncFolder(folder))
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

func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
