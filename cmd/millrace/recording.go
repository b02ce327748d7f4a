package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/store"
)

// recordingFlags configure where recordings are stored, and who may watch them.
type recordingFlags struct {
	Buckets    string   `name:"buckets" placeholder:"PLACE" help:"Where recording buckets live: a folder, or s3://. Default: buckets in the data folder."`
	Spool      byteSize `name:"recording-spool" default:"10GiB" placeholder:"SIZE" help:"How much recorded media may wait on disk, in the data folder, for buckets that are slow or cannot be reached (${default})."`
	Recordings bool     `name:"recordings-public" help:"Serve recordings at /recordings/<bucket>/<key> to everyone, for teams without a CDN; those of private channels to viewers with a playback token (?token=)."`
}

// buckets returns the place of recording buckets.
func (c config) buckets() string { return cmp.Or(c.Buckets, filepath.Join(c.Data, "buckets")) }

// recorder returns the recorder, with the recordings that were open when the server
// stopped.
func (c config) recorder(ctx context.Context, db *store.DB, buckets *bucket.Place, node *cluster.Node, log *slog.Logger) (*record.Recorder, error) {
	r, err := record.New(record.Config{
		Store: db, Buckets: buckets, Owner: node.Name, OwnerLost: node.Lost, Folder: filepath.Join(c.Data, "spool"), MaxSpool: int64(c.Spool), FFmpeg: c.FFmpeg, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if err := r.Recover(ctx); err != nil {
		return nil, fmt.Errorf("recovering open recordings: %w", err)
	}
	return r, nil
}

// recordSession starts the recording of a session, if it has a configuration.
func recordSession(r *record.Recorder) func(*live.Session) func(lost bool) {
	return func(s *live.Session) func(bool) {
		stream := record.Stream{ChannelARN: s.Channel.ARN, StreamID: s.StreamID, Media: s.Stream}
		if s.Transcoded() {
			stream.Thumbnail = func() (jpeg []byte, date time.Time, more bool) {
				more = s.Transcoded() // asked first: none comes after it was false
				if t := s.Thumbnail(); t != nil {
					jpeg, date = t.JPEG, t.Date
				}
				return jpeg, date, more
			}
		}
		return r.Start(stream)
	}
}

// A byteSize is a number of bytes: "10GiB", "500MB", "4096".
type byteSize int64

var byteUnits = []struct {
	suffix string
	bytes  int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

// UnmarshalText reads a size.
func (b *byteSize) UnmarshalText(text []byte) error {
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if size := n * float64(u.bytes); err == nil && size >= 1 && size < 1<<62 {
			*b = byteSize(size)
			return nil
		}
		break
	}
	return fmt.Errorf("%q is not a size: must be a number with a unit, such as 500MiB or 10GiB", text)
}

// String is the size in the largest unit of which it is a whole number.
func (b byteSize) String() string {
	for _, u := range byteUnits {
		if b >= byteSize(u.bytes) && b%byteSize(u.bytes) == 0 {
			return strconv.FormatInt(int64(b)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
