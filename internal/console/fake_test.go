package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	liveARN    = "arn:aws:ivs:us-west-2:000000000000:channel/liveLIVElive"
	offlineARN = "arn:aws:ivs:us-west-2:000000000000:channel/offLINEoff00"
	hostile    = `<img src=x onerror="window.hacked=1">`
	accessKey  = "AKIACONSOLETEST"
	streamKey  = "sk_us-west-2_liveLIVElive_it's;$(id)"
)

// site is the console with an IVS API of canned answers beside it, and the
// HLS that ffmpeg writes: enough of a server for the page, not for an SDK.
type site struct {
	*httptest.Server
	hls string // folder of the playlists and segments

	mu      sync.Mutex
	stream  string    // id of the latest stream; guarded by mu
	live    bool      // that stream is on air; guarded by mu
	started time.Time // of the latest stream; guarded by mu
	ended   time.Time // of the latest stream; guarded by mu
	down    bool      // answers 500 to every call; guarded by mu
}

func newSite(t *testing.T) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser and a broadcast take their time")
	}
	if _, err := dist.ReadFile("dist/index.html"); err != nil {
		t.Fatal("the console is not built: run `make build` first")
	}
	s := &site{hls: t.TempDir()}
	mux := http.NewServeMux()
	mux.Handle("/console/", Handler(Config{Region: "us-west-2", RTMPPort: 1935, RTMPSPort: 1936}))
	mux.Handle("/hls/", http.StripPrefix("/hls/", s.media()))
	mux.HandleFunc("POST /{operation}", s.call)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *site) media() http.Handler {
	files := http.FileServer(http.Dir(s.hls))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		files.ServeHTTP(w, r)
	})
}

// goLive starts a broadcast and returns when it can be played; the function
// returned ends it as an encoder does.
func (s *site) goLive(t *testing.T, id string) (end func()) {
	t.Helper()
	stale, _ := filepath.Glob(filepath.Join(s.hls, "*"))
	for _, name := range stale {
		os.Remove(name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-loglevel", "error", "-re",
		"-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "25", "-b:v", "500k",
		"-c:a", "aac", "-f", "hls", "-hls_time", "1", "-hls_list_size", "6",
		"-hls_flags", "program_date_time+delete_segments+independent_segments+temp_file",
		"-master_pl_name", "channel.m3u8", filepath.Join(s.hls, "media.m3u8"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it then writes EXT-X-ENDLIST
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		cmd.Wait() // an interrupted ffmpeg reports 255
	})
	t.Cleanup(stop)
	if !comes(func() bool {
		_, err := os.Stat(filepath.Join(s.hls, "channel.m3u8"))
		return err == nil
	}) {
		t.Fatal("ffmpeg wrote no playlist")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream, s.live, s.started, s.ended = id, true, time.Now(), time.Time{}
	return func() {
		stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.live, s.ended = false, time.Now()
	}
}

// comes waits until done, for 30 s at most.
func comes(done func() bool) bool {
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-deadline:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}

func (s *site) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

type object = map[string]any

// call answers one operation of the IVS API.
func (s *site) call(w http.ResponseWriter, r *http.Request) {
	var in struct{ Arn, ChannelArn, StreamID string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, 400, "ValidationException", err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	arn := in.Arn + in.ChannelArn
	switch signed := r.Header.Get("Authorization"); {
	case s.down:
		refuse(w, 500, "InternalServerException", "An internal error occurred")
	case !strings.HasPrefix(signed, "AWS4-HMAC-SHA256 Credential="+accessKey+"/") || !strings.Contains(signed, "/us-west-2/ivs/aws4_request"):
		refuse(w, 403, "UnrecognizedClientException", "The security token included in the request is invalid")
	default:
		s.answer(w, r.PathValue("operation"), arn, in.StreamID)
	}
}

func (s *site) answer(w http.ResponseWriter, operation, arn, streamID string) {
	switch operation {
	case "ListChannels":
		reply(w, object{"channels": []object{{"arn": offlineARN, "name": "a-quiet-one"}, {"arn": liveARN, "name": hostile}}})
	case "ListStreams":
		reply(w, object{"streams": s.streams()})
	case "GetChannel":
		reply(w, object{"channel": s.channel(arn)})
	case "ListStreamSessions":
		reply(w, object{"streamSessions": s.sessions(arn)})
	case "GetStreamSession":
		if arn != liveARN {
			refuse(w, 404, "ResourceNotFoundException", "No stream session")
			return
		}
		reply(w, object{"streamSession": s.session(streamID)})
	case "ListStreamKeys":
		reply(w, object{"streamKeys": []object{{"arn": "arn:aws:ivs:us-west-2:000000000000:stream-key/keykeykey000", "channelArn": liveARN}}})
	case "GetStreamKey":
		reply(w, object{"streamKey": object{"arn": arn, "value": streamKey}})
	default:
		refuse(w, 404, "UnknownOperationException", operation)
	}
}

func (s *site) streams() []object {
	if !s.live {
		return []object{}
	}
	return []object{{"channelArn": liveARN, "streamId": s.stream, "state": "LIVE", "health": "HEALTHY",
		"viewerCount": 3, "startTime": s.started.UTC().Format(time.RFC3339)}}
}

func (s *site) channel(arn string) object {
	name := hostile
	if arn == offlineARN {
		name = "a-quiet-one"
	}
	return object{"arn": arn, "name": name, "type": "STANDARD", "latencyMode": "LOW", "insecureIngest": true,
		"ingestEndpoint": "127.0.0.1", "playbackUrl": s.URL + "/hls/channel.m3u8", "containerFormat": "TS"}
}

const pastStream = "st-1PastPastPastPastPastPa"

func (s *site) sessions(arn string) []object {
	if arn != liveARN {
		return []object{}
	}
	past := object{"streamId": pastStream, "startTime": "2026-05-01T08:00:01Z", "endTime": "2026-05-01T08:59:40Z", "hasErrorEvent": true}
	if !s.live {
		return []object{past}
	}
	return []object{{"streamId": s.stream, "startTime": s.started.UTC().Format(time.RFC3339)}, past}
}

func (s *site) session(id string) object {
	event := func(name string, at time.Time) object {
		return object{"name": name, "type": "IVS Stream State Change", "eventTime": at.UTC().Format(time.RFC3339)}
	}
	started := s.started
	if id == pastStream {
		started = time.Date(2026, 5, 1, 8, 0, 1, 0, time.UTC)
	}
	events := []object{event("Stream Start", started), event("Session Created", started.Add(-time.Second))}
	session := object{"streamId": s.stream, "startTime": started.UTC().Format(time.RFC3339), "channel": s.channel(liveARN),
		"ingestConfiguration": object{
			"video": object{"codec": "avc1.64002A", "encoder": "obs " + hostile, "avcProfile": "High", "avcLevel": "4.2",
				"videoWidth": 640, "videoHeight": 360, "targetBitrate": 6000000, "targetFramerate": 25},
			"audio": object{"codec": "mp4a.40.2", "channels": 2, "sampleRate": 48000, "targetBitrate": 160000},
		}}
	if id == pastStream {
		session["streamId"], session["endTime"] = pastStream, "2026-05-01T08:59:40Z"
		events = append([]object{event("Ingest Bitrate", started)}, events...)
	} else if !s.ended.IsZero() {
		session["endTime"] = s.ended.UTC().Format(time.RFC3339)
		events = append([]object{event("Stream End", s.ended)}, events...)
	}
	session["truncatedEvents"] = events
	return session
}

func reply(w http.ResponseWriter, body object) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-ErrorType", code)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(object{"__type": code, "message": message, "exceptionMessage": message})
}
