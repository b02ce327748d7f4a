//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A server is `millrace serve`, pinned to one core.
type server struct {
	bench   *bench
	data    string
	dsn     string // of the PostgreSQL that it shares with other nodes; "" for SQLite
	http    string // host:port
	https   string // host:port, for viewers by HTTP/2 and TLS; "" for viewers by HTTP/1.1
	rtmp    string // host:port
	api     string // http://host:port
	process *exec.Cmd
	shmem   int64 // bytes of shared memory on the machine before it started
}

var readyLine = regexp.MustCompile(`msg="millrace is ready".* api=(\S+) rtmp=(\S+) .* https=(\S+) `)

// startServer runs a server on its core that transcodes nothing.
func startServer(b *bench, flags ...string) (*server, error) {
	return startServerOn(b, strconv.Itoa(serverCore), "GOMAXPROCS=1", append(flags, "--transcode", "off")...)
}

// startBroadcast runs a server with one live channel that has a few segments
// already. stop ends both.
func startBroadcast(ctx context.Context, b *bench, latency, container, size, kbits string, flags ...string) (s *server, ch channel, stop func(), err error) {
	if s, err = startServer(b, flags...); err != nil {
		return nil, ch, nil, err
	}
	if ch, err = s.createChannel("bench", latency, container); err != nil {
		s.stop()
		return nil, ch, nil, err
	}
	leave, err := s.publish("--size", size, "--bitrate", kbits, "bench")
	if err != nil {
		s.stop()
		return nil, ch, nil, err
	}
	stop = func() {
		leave()
		s.stop()
	}
	if err = s.waitLive(ctx, 1); err == nil {
		err = sleep(ctx, 8*time.Second)
	}
	if err != nil {
		stop()
		return nil, ch, nil, err
	}
	return s, ch, stop, nil
}

// startServerOn runs a server on those cores with an addition to its environment
// and flags of its own.
func startServerOn(b *bench, cores, env string, flags ...string) (*server, error) {
	data, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return nil, err
	}
	s := &server{bench: b, data: data, shmem: shmem()}
	args := append([]string{"-c", cores, b.binary, "serve", "--data", data, "--max-streams", "100000", "--max-views", "10000000",
		"--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0", "--auth", "off"}, flags...)
	s.process = exec.Command("taskset", args...)
	s.process.Env = append(os.Environ(), env)
	log, err := s.process.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
			s.api, s.http, s.rtmp = m[1], strings.TrimPrefix(m[1], "http://"), m[2]
			if m[3] != "off" {
				s.https = m[3]
			}
			go io.Copy(io.Discard, log)
			return s, nil
		}
	}
	s.stop()
	return nil, errors.New("the server did not start")
}

func (s *server) stop() {
	s.process.Process.Signal(unix.SIGTERM)
	s.process.Wait()
	os.RemoveAll(s.data)
}

// publish runs `millrace publish` on the load's core until the returned
// function is called.
func (s *server) publish(args ...string) (stop func(), err error) {
	args = append([]string{"publish", "--data", s.data, "--database", s.dsn, "--rtmp", s.rtmp}, args...)
	p := exec.Command(s.bench.binary, args...)
	p.Stderr = os.Stderr
	if err := p.Start(); err != nil {
		return nil, err
	}
	return func() { p.Process.Signal(unix.SIGTERM); p.Wait() }, nil
}

// broadcast publishes test video, with those flags of `millrace publish`, to count new
// channels of low latency, and returns when they have been live for that long. leave
// ends it.
func (s *server) broadcast(ctx context.Context, count int, live time.Duration, flags ...string) (all []channel, leave func(), err error) {
	for n := range count {
		ch, err := s.createChannel("bench-"+strconv.Itoa(n+1), "LOW", "TS")
		if err != nil {
			return nil, nil, err
		}
		all = append(all, ch)
	}
	if leave, err = s.publish(append(flags, "--count", strconv.Itoa(count), "bench-{n}")...); err != nil {
		return nil, nil, err
	}
	if err = errors.Join(s.waitLive(ctx, count), sleep(ctx, live)); err != nil {
		leave()
		return nil, nil, err
	}
	return all, leave, nil
}

// call makes an API call; the server accepts any signature.
func (s *server) call(operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.Post(s.api+"/"+operation, "application/json", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		return fmt.Errorf("%s: %s %s %v", operation, r.Status, text, err)
	}
	return json.Unmarshal(text, out)
}

// A channel holds what publish and the viewers use of a channel of the API.
type channel struct {
	playback string // path of the playback URL
	arn      string
	key      string // its stream key's value
}

// createRecordingConfiguration makes one without thumbnails, into a folder, and
// waits until it can be used.
func (s *server) createRecordingConfiguration(ctx context.Context) (arn string, err error) {
	var out struct {
		RecordingConfiguration struct{ Arn, State string }
	}
	err = s.call("CreateRecordingConfiguration", map[string]any{"destinationConfiguration": map[string]any{"s3": map[string]any{"bucketName": "bench"}},
		"thumbnailConfiguration": map[string]any{"recordingMode": "DISABLED"}}, &out)
	for err == nil && out.RecordingConfiguration.State == "CREATING" {
		if err = sleep(ctx, 50*time.Millisecond); err == nil {
			err = s.call("GetRecordingConfiguration", map[string]any{"arn": out.RecordingConfiguration.Arn}, &out)
		}
	}
	if err == nil && out.RecordingConfiguration.State != "ACTIVE" {
		err = fmt.Errorf("the recording configuration is %s", out.RecordingConfiguration.State)
	}
	return out.RecordingConfiguration.Arn, err
}

func (s *server) createChannel(name, latency, container string) (channel, error) {
	return s.createRecordedChannel(name, latency, container, "")
}

// createRecordedChannel makes a channel that is recorded, unless recording is
// "".
func (s *server) createRecordedChannel(name, latency, container, recording string) (channel, error) {
	return s.newChannel(map[string]any{"name": name, "latencyMode": latency, "containerFormat": container, "recordingConfigurationArn": recording})
}

// newChannel makes a channel with those members, which takes RTMP.
func (s *server) newChannel(in map[string]any) (channel, error) {
	in["insecureIngest"] = true
	var out struct {
		Channel   struct{ Arn, PlaybackURL string }
		StreamKey struct{ Value string }
	}
	err := s.call("CreateChannel", in, &out)
	_, address, _ := strings.Cut(out.Channel.PlaybackURL, "://")
	_, path, _ := strings.Cut(address, "/")
	return channel{"/" + path, out.Channel.Arn, out.StreamKey.Value}, err
}

// waitLive waits until n channels are live.
func (s *server) waitLive(ctx context.Context, n int) error {
	for range 600 {
		r, err := http.Get(s.api + "/metrics")
		if err != nil {
			return err
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return err
		}
		if liveStreams(string(text)) == n {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d channels did not go live within a minute", n)
}

// liveStreams adds up the streams in a page of metrics, which has them by health.
func liveStreams(metrics string) (sum int) {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "millrace_streams{") {
			n, _ := strconv.Atoi(strings.TrimSpace(line[strings.LastIndex(line, " ")+1:]))
			sum += n
		}
	}
	return sum
}

// listedMedia is how many bytes of whole segments a channel's playlist lists.
func (s *server) listedMedia(ctx context.Context, ch channel) (bytes int64, err error) {
	v := &viewer{server: s, channel: ch}
	defer v.close()
	playlist, err := v.open(ctx)
	if err != nil {
		return 0, err
	}
	v.resetFigures()
	for _, uri := range uris(string(playlist)) {
		if _, err := v.get(v.base+"/"+uri, false); err != nil {
			return 0, err
		}
	}
	return v.figures().bytes, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// usage holds the resources that a process has used so far.
type usage struct {
	at   time.Time
	cpu  time.Duration
	rss  int64 // bytes of the process itself
	held int64 // bytes of media in memory files
}

func (s *server) usage() (u usage, err error) {
	u, err = usageOf(s.process.Process.Pid)
	u.held = shmem() - s.shmem
	return u, err
}

// usageOf returns the usage of a process.
func usageOf(pid int) (u usage, err error) {
	u.at = time.Now()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest) // from field 3 of proc(5)
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	pages, _ := strconv.ParseInt(f[21], 10, 64)
	u.cpu = time.Duration(user+system) * time.Second / 100
	u.rss = pages * int64(os.Getpagesize())
	return u, nil
}

// cores is how many cores were busy between two readings.
func cores(from, to usage) float64 {
	return (to.cpu - from.cpu).Seconds() / to.at.Sub(from.at).Seconds()
}

// shmem is all shared memory of the machine, where memory files are counted.
func shmem() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "Shmem:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}
