//go:build versitygw

package record_test

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/store"
)

// A gate lets connections through to a server while it is open. Shut, it resets
// those that there are and the first new ones, and lets further ones hang.
type gate struct {
	address string
	server  string
	tasks   sync.WaitGroup

	mu    sync.Mutex
	shut  bool                  // guarded by mu
	tries int                   // guarded by mu; new connections since it was shut
	conns map[net.Conn]struct{} // guarded by mu; of clients
}

func newGate(t *testing.T, server string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{address: l.Addr().String(), server: server, conns: map[net.Conn]struct{}{}}
	g.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.tasks.Go(func() { g.connect(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		g.setShut(false) // no connection hangs
		g.setShut(true)
		g.tasks.Wait()
	})
	return g
}

// setShut shuts the gate or opens it. What there is of connections is reset.
func (g *gate) setShut(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.tries = shut, 0
	for c := range g.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

func (g *gate) connect(c net.Conn) {
	defer c.Close()
	g.mu.Lock()
	shut := g.shut
	if shut {
		g.tries++
	}
	resets := shut && g.tries <= 2
	g.conns[c] = struct{}{}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.conns, c)
	}()
	switch {
	case resets:
	case shut:
		io.Copy(io.Discard, c) // until it is reset
	default:
		g.pass(c)
	}
}

// pass copies between a client and the server until either has gone.
func (g *gate) pass(c net.Conn) {
	server, err := net.Dial("tcp", g.server)
	if err != nil {
		return
	}
	defer server.Close()
	g.tasks.Go(func() {
		io.Copy(c, server)
		c.Close()
	})
	io.Copy(server, c)
}

// reader reads a recording as a team's own code does: it follows the paths of
// recording-ended.json and reads what the playlists name.
const reader = `
import boto3, json, sys
bucket, prefix, endpoint = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=endpoint)
def get(*path):
    return s3.get_object(Bucket=bucket, Key='/'.join((prefix,) + path))
ended = json.load(get('events', 'recording-ended.json')['Body'])
hls, files = ended['media']['hls'], set()
for r in hls['renditions']:
    for name in (r['playlist'], r['byte_range_playlist']):
        playlist = get(hls['path'], r['path'], name)
        assert playlist['ContentType'] == 'application/vnd.apple.mpegurl', playlist['ContentType']
        lines = playlist['Body'].read().decode().splitlines()
        files |= {(hls['path'], r['path'], line) for line in lines if line and line[0] != '#'}
media = {path: get(*path) for path in files}
types = sorted({m['ContentType'] + ' ' + m['CacheControl'] for m in media.values()})
pages = s3.get_paginator('list_objects_v2').paginate(Bucket=bucket, Prefix=prefix + '/')
print(json.dumps({'Status': ended['recording_status'], 'Media': sum(m['ContentLength'] for m in media.values()), 'Types': types,
    'Objects': sum(len(p['Contents']) for p in pages)}))
`

// readElsewhere has boto3 and the AWS CLI read a recording of so many frames.
func (w *world) readElsewhere(r store.Recording, frames int) {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), "/usr/bin/python3", "-c", reader, bucketName, r.Prefix, os.Getenv("AWS_ENDPOINT_URL_S3")).CombinedOutput()
	if err != nil {
		w.t.Fatalf("boto3: %v\n%s", err, out)
	}
	var read struct {
		Status  string
		Media   int64
		Types   []string
		Objects int
	}
	w.must(json.Unmarshal(out, &read))
	list, err := w.buckets.List(w.t.Context(), bucketName, r.Prefix+"/")
	w.must(err)
	if read.Status != "RECORDING_ENDED" || read.Media != r.Bytes || read.Objects != len(list) || len(read.Types) != 1 || !strings.HasSuffix(read.Types[0], ", immutable") {
		w.t.Errorf("boto3 reads %+v, the recording has %d bytes of media and %d objects", read, r.Bytes, len(list))
	}

	dir := w.t.TempDir()
	out, err = exec.CommandContext(w.t.Context(), "aws", "--endpoint-url", os.Getenv("AWS_ENDPOINT_URL_S3"), "s3", "cp", "--recursive", "--only-show-errors", "s3://"+bucketName+"/"+r.Prefix+"/", dir).CombinedOutput()
	if err != nil {
		w.t.Fatalf("aws s3 cp: %v\n%s", err, out)
	}
	for _, name := range []string{"playlist.m3u8", "byte-range-variant.m3u8"} {
		out, err := exec.CommandContext(w.t.Context(), "ffprobe", "-v", "error", "-count_packets", "-select_streams", "v", "-show_entries", "stream=nb_read_packets",
			"-of", "csv=p=0", filepath.Join(dir, "media/hls/90p30", name)).CombinedOutput()
		if got, _ := strconv.Atoi(strings.Fields(string(out) + " x")[0]); err != nil || got != frames { // 0 where ffprobe complains
			w.t.Errorf("what the AWS CLI has copied has %d frames in %s, want %d: %v\n%s", got, name, frames, err, out)
		}
	}
}
