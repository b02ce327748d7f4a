package console

import (
	"context"
	"encoding/json"
	"fmt"
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
	liveStream = "st-1LiveLiveLiveLiveLiveLi"
	hostile    = `<img src=x onerror="window.hacked=1">`
	accessKey  = "AKIACONSOLETEST"
	streamKey  = "sk_us-west-2_liveLIVElive_it's;$(id)"
)

// site is the console with an IVS API of canned answers beside it, and the
// HLS that ffmpeg writes: enough of a server for the page, not for an SDK.
type site struct {
	*httptest.Server
	hls string // folder of the playlists and segments

	mu       sync.Mutex
	stream   string          // id of the latest stream; guarded by mu, as is what follows
	live     bool            // that stream is on air
	started  time.Time       // of the latest stream; zero before its first frame
	starving time.Time       // since when the live stream starves; zero if it does not
	failed   time.Time       // when its renditions were given up; zero if they were not
	crowd    int             // further channels
	young    int             // answers for the media playlist that have a part and no segment yet
	joined   int             // answers for the multivariant playlist
	asked    [][3]int64      // start, end and period of the questions for metrics
	happened []chan struct{} // one for each open stream of events
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
	mux.HandleFunc("POST /_millrace/sign-in", s.signIn)
	mux.HandleFunc("GET /_millrace/channels/{id}/metrics", s.signed(s.metrics))
	mux.HandleFunc("GET /_millrace/channels/{id}/health", s.signed(s.health))
	mux.HandleFunc("GET /_millrace/events", s.signed(s.events))
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *site) media() http.Handler {
	files := http.FileServer(http.Dir(s.hls))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if !s.tooYoung(w, r) {
			files.ServeHTTP(w, r)
		}
	})
}

// youngPlaylist is that of a broadcast that has lasted for less than a segment.
const youngPlaylist = `#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1
#EXT-X-PART-INF:PART-TARGET=0.33
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-PART:DURATION=0.33,URI="part0.ts",INDEPENDENT=YES
`

// tooYoung counts who joins, and answers as long as there is no segment yet.
func (s *site) tooYoung(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "channel.m3u8" {
		s.joined++
	}
	if r.URL.Path != "media.m3u8" || s.young == 0 {
		return false
	}
	s.young--
	w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
	fmt.Fprint(w, youngPlaylist)
	return true
}

// goLive starts a broadcast and returns when it can be played.
func (s *site) goLive(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-loglevel", "error", "-re",
		"-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "25", "-b:v", "500k",
		"-c:a", "aac", "-f", "hls", "-hls_time", "1", "-hls_list_size", "6",
		"-hls_flags", "program_date_time+delete_segments+independent_segments+temp_file",
		"-master_pl_name", "channel.m3u8", filepath.Join(s.hls, "media.m3u8"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait() // reports that it was killed
	})
	if !comes(func() bool {
		_, err := os.Stat(filepath.Join(s.hls, "channel.m3u8"))
		return err == nil
	}) {
		t.Fatal("ffmpeg wrote no playlist")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream, s.live, s.started = liveStream, true, time.Now().Add(-2*time.Minute)
	s.notify()
}

// comes waits until done, for 90 s at most: a busy machine may be slow.
func comes(done func() bool) bool {
	deadline := time.After(90 * time.Second)
	for !done() {
		select {
		case <-deadline:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}

type object = map[string]any

// call is the input of any operation.
type call struct{ Arn, ChannelArn, StreamID, NextToken string }

// olderToken is the token of the next page of a channel's sessions.
var olderToken = map[string]string{liveARN: "older"}

func paged(name string, items []object, next string) object {
	o := object{name: items}
	if next != "" {
		o["nextToken"] = next
	}
	return o
}

// signIn exchanges a token. That of a key is the key itself.
func (s *site) signIn(w http.ResponseWriter, r *http.Request) {
	var in struct{ Token string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, 400, "ValidationException", err.Error())
		return
	}
	json.NewEncoder(w).Encode(map[string]string{"accessKeyId": in.Token, "secretAccessKey": "a+b/c=", "region": "us-west-2"})
}

// call answers one operation of the IVS API.
func (s *site) call(w http.ResponseWriter, r *http.Request) {
	var in call
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, 400, "ValidationException", err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	arn := in.Arn + in.ChannelArn
	switch signed := r.Header.Get("Authorization"); {
	case !strings.HasPrefix(signed, "AWS4-HMAC-SHA256 Credential="+accessKey+"/") || !strings.Contains(signed, "/us-west-2/ivs/aws4_request"):
		refuse(w, 403, "UnrecognizedClientException", "The security token included in the request is invalid")
	default:
		s.answer(w, r.PathValue("operation"), arn, in)
	}
}

func (s *site) answer(w http.ResponseWriter, operation, arn string, in call) {
	switch operation {
	case "ListChannels":
		channels, next := s.further(in.NextToken)
		if in.NextToken == "" {
			channels = append(channels, object{"arn": offlineARN, "name": "a-quiet-one"}, object{"arn": liveARN, "name": hostile})
		}
		reply(w, paged("channels", channels, next))
	case "ListStreams":
		reply(w, object{"streams": s.streams()})
	case "GetChannel":
		reply(w, object{"channel": s.channel(arn)})
	case "ListStreamSessions":
		if in.NextToken != "" {
			reply(w, object{"streamSessions": []object{{"streamId": failedStream, "endTime": "2026-04-30T08:00:03Z", "hasErrorEvent": true}}})
			return
		}
		reply(w, paged("streamSessions", s.sessions(arn), olderToken[arn]))
	case "GetStreamSession":
		if arn != liveARN || in.StreamID == "" && s.stream == "" {
			refuse(w, 404, "ResourceNotFoundException", "No stream session")
			return
		}
		reply(w, object{"streamSession": s.session(in.StreamID)})
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
	health := "HEALTHY"
	if !s.starving.IsZero() {
		health = "STARVING"
	}
	return []object{{"channelArn": liveARN, "streamId": s.stream, "state": "LIVE", "health": health,
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

// A session that went well but for its bitrate, and one that never went live.
const (
	pastStream   = "st-1PastPastPastPastPastPa"
	failedStream = "st-1NeverNeverNeverNeverNe"
)

var (
	pastStart = time.Date(2026, 5, 1, 8, 0, 1, 0, time.UTC)
	pastEnd   = time.Date(2026, 5, 1, 8, 59, 40, 0, time.UTC)
)

func (s *site) sessions(arn string) []object {
	if arn != liveARN {
		return []object{}
	}
	list := []object{{"streamId": pastStream, "startTime": stamp(pastStart), "endTime": stamp(pastEnd), "hasErrorEvent": true}}
	if s.stream == "" {
		return list
	}
	latest := object{"streamId": s.stream}
	if !s.started.IsZero() {
		latest["startTime"] = stamp(s.started)
	}
	return append([]object{latest}, list...)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// session is one in full, the latest for no id.
func (s *site) session(id string) object {
	session := object{"streamId": id, "channel": s.channel(liveARN),
		"ingestConfiguration": object{
			"video": object{"codec": "avc1.64002A", "encoder": "obs " + hostile, "avcProfile": "High", "avcLevel": "4.2",
				"videoWidth": 640, "videoHeight": 360, "targetBitrate": 2500000, "targetFramerate": 25},
			"audio": object{"codec": "mp4a.40.2", "channels": 2, "sampleRate": 48000, "targetBitrate": 160000},
		}}
	switch id {
	case pastStream:
		session["startTime"], session["endTime"] = stamp(pastStart), stamp(pastEnd)
		session["truncatedEvents"] = pastEvents()
	case failedStream:
		session["endTime"] = "2026-04-30T08:00:03Z"
		session["truncatedEvents"] = []object{event("Session Ended", pastStart.AddDate(0, 0, -1)), event("Session Created", pastStart.AddDate(0, 0, -1))}
	default:
		session["streamId"] = s.stream
		if !s.started.IsZero() {
			session["startTime"] = stamp(s.started)
		}
		session["truncatedEvents"] = s.liveEvents()
	}
	return session
}

func event(name string, at time.Time) object {
	return object{"name": name, "type": "IVS Stream State Change", "eventTime": stamp(at)}
}

func pastEvents() []object {
	breach, takeover := event("Ingest Bitrate", pastStart.Add(20*time.Minute)), event("Stream Takeover Failure", pastStart.Add(time.Minute))
	breach["type"], takeover["code"] = "IVS Limit Breach", "StreamTakeoverInvalidPriority"+hostile
	return []object{event("Stream End", pastEnd), event("Session Ended", pastEnd), breach,
		event("Starvation End", pastStart.Add(11*time.Minute)), event("Starvation Start", pastStart.Add(9*time.Minute)),
		takeover, event("Stream Start", pastStart), event("Session Created", pastStart.Add(-3*time.Second))}
}

func (s *site) liveEvents() []object {
	events := []object{event("Stream Start", s.started), event("Session Created", s.started.Add(-time.Second))}
	if !s.starving.IsZero() {
		starving := event("Starvation Start", s.starving)
		starving["type"] = "IVS Stream Health Change"
		events = append([]object{starving}, events...)
	}
	if !s.failed.IsZero() {
		events = append([]object{event("Stream Failure", s.failed)}, events...)
	}
	if s.started.IsZero() {
		events = []object{event("Session Created", time.Now())}
	}
	return events
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
