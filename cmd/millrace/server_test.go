package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/logs/logstest"
	"github.com/millrace/millrace/internal/store/storetest"
)

// The test binary is also the program: with this variable set it runs main.
const runMain = "MILLRACE_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	os.Exit(storetest.Main(m))
}

// millrace is the program with those arguments. Nothing is transcoded unless
// they say so: the machine has enough to do.
func millrace(args ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], args...)
	command.Env = append(os.Environ(), runMain+"=1", "MILLRACE_TRANSCODE=off")
	return command
}

// A server is `millrace serve`, or demo, as a process of its own.
type server struct {
	t       *testing.T
	data    string
	api     string // http://host:port
	rtmp    string // host:port
	rtmps   string // host:port
	ready   time.Duration
	process *exec.Cmd
	log     *logstest.Buffer
	exited  chan struct{}
	client  func() *awsivs.Client
}

const (
	testKey    = "AKIDTEST00000000"
	testSecret = "secret-of-the-test"
)

// startServer runs `millrace serve` on free ports with a new data folder, or
// that of an earlier server, until the test ends.
func startServer(t *testing.T, data string, flags ...string) *server {
	t.Helper()
	return startCommand(t, data, append([]string{"serve"}, flags...)...)
}

func startCommand(t *testing.T, data string, args ...string) *server {
	t.Helper()
	return startProcess(t, data, func(*exec.Cmd) {}, args...)
}

// startProcess is startCommand for a process that change has changed.
func startProcess(t *testing.T, data string, change func(*exec.Cmd), args ...string) *server {
	t.Helper()
	if data == "" {
		data = filepath.Join(t.TempDir(), "data")
	}
	args = slices.Insert(args, 1, "--data", data, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0",
		"--access-key-id", testKey, "--secret-access-key", testSecret) // what the test says comes later, and wins
	s := &server{t: t, data: data, process: millrace(args...), log: &logstest.Buffer{}, exited: make(chan struct{})}
	s.client = sync.OnceValue(s.newClient)
	s.process.Stdout, s.process.Stderr = s.log, s.log
	change(s.process)
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.process.Wait(); close(s.exited) }()
	t.Cleanup(func() {
		s.stop()
		if s.log.Line("WARNING: DATA RACE") != "" { // the server continues after it
			t.Error("the race detector has found a data race in the server")
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.log)
		}
	})
	s.findPorts()
	return s
}

var readyLine = regexp.MustCompile(`msg="millrace is ready".* api=(\S+) rtmp=(\S+) rtmps=(\S+) .* after=(\S+)`)

func (s *server) findPorts() {
	s.t.Helper()
	m := readyLine.FindStringSubmatch(s.waitLog("millrace is ready"))
	if m == nil {
		s.t.Fatal("the line that says that the server is ready does not say where")
	}
	s.api, s.rtmp, s.rtmps = m[1], m[2], m[3]
	s.ready, _ = time.ParseDuration(m[4])
}

// waitLog waits for a log line that contains text, and returns it.
func (s *server) waitLog(text string) (line string) {
	s.t.Helper()
	wait(s.t, "log line with "+text, func() bool {
		line = s.log.Line(text)
		select {
		case <-s.exited:
			if line == "" {
				s.t.Fatalf("the server exited (%v) before it logged %q:\n%s", s.process.ProcessState, text, s.log)
			}
		default:
		}
		return line != ""
	})
	return line
}

// stop asks the server to stop and waits until it has.
func (s *server) stop() {
	s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		s.t.Error("the server did not stop within 20 s of SIGTERM")
		s.kill()
	}
}

// kill ends the server without warning, as the kernel does (SIGKILL).
func (s *server) kill() {
	s.process.Process.Kill()
	<-s.exited
}

// ivs is the real SDK's client, which has few connections.
func (s *server) ivs() *awsivs.Client { return s.client() }

func (s *server) newClient() *awsivs.Client {
	return s.clientOf(aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret})
}

func (s *server) clientOf(k aws.Credentials) *awsivs.Client {
	return awsivs.New(awsivs.Options{
		Region:       "us-west-2",
		BaseEndpoint: aws.String(s.api),
		Credentials:  credentials.StaticCredentialsProvider{Value: k},
	})
}

// channel creates a channel and returns it with its stream key's value.
func (s *server) channel(in awsivs.CreateChannelInput) (types.Channel, string) {
	s.t.Helper()
	out, err := s.ivs().CreateChannel(s.t.Context(), &in)
	if err != nil {
		s.t.Fatal(err)
	}
	return *out.Channel, *out.StreamKey.Value
}

// live waits until GetStream says that the channel is live.
func (s *server) live(arn *string) (stream types.Stream) {
	s.t.Helper()
	wait(s.t, "the channel to be live", func() bool {
		out, err := s.ivs().GetStream(s.t.Context(), &awsivs.GetStreamInput{ChannelArn: arn})
		if err != nil {
			return false
		}
		stream = *out.Stream
		return true
	})
	return stream
}

// ended waits until the session has ended, and returns it.
func (s *server) ended(arn, streamID *string) (session types.StreamSession) {
	s.t.Helper()
	wait(s.t, "the session to end", func() bool {
		out, err := s.ivs().GetStreamSession(s.t.Context(), &awsivs.GetStreamSessionInput{ChannelArn: arn, StreamId: streamID})
		if err != nil {
			s.t.Fatal(err)
		}
		session = *out.StreamSession
		return session.EndTime != nil
	})
	return session
}

// get fetches an address.
func get(t *testing.T, url string) (status int, header http.Header, body []byte) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err = io.ReadAll(r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, body
}

// An encoder is a real ffmpeg that publishes.
type encoder struct {
	t       *testing.T
	process *exec.Cmd
	stderr  *logstest.Buffer
	exited  chan struct{}
}

// testInputs are a test pattern with a clock and a tone, in real time.
var testInputs = []string{"-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"}

// testCodecs are the settings that IVS recommends, at a low bit rate.
var testCodecs = []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "main", "-pix_fmt", "yuv420p", "-g", "60", "-b:v", "600k", "-c:a", "aac", "-b:a", "96k", "-ac", "2"}

// publish starts ffmpeg with those arguments and an address at their end. It
// runs until the test ends at the latest.
func publish(t *testing.T, address string, args ...string) *encoder {
	t.Helper()
	args = append([]string{"-hide_banner", "-loglevel", "info", "-nostats", "-nostdin"}, args...)
	args = append(args, "-f", "flv", address)
	return startEncoder(t, exec.Command("ffmpeg", args...))
}

// startEncoder runs a command that publishes by ffmpeg.
func startEncoder(t *testing.T, command *exec.Cmd) *encoder {
	t.Helper()
	e := &encoder{t: t, process: command, stderr: &logstest.Buffer{}, exited: make(chan struct{})}
	e.process.Stderr = e.stderr
	if err := e.process.Start(); err != nil {
		t.Fatalf("ffmpeg: %v (make test installs it)", err)
	}
	go func() { e.process.Wait(); close(e.exited) }()
	t.Cleanup(func() {
		e.process.Process.Kill()
		<-e.exited
		if t.Failed() {
			t.Logf("ffmpeg said:\n%s", e.stderr)
		}
	})
	return e
}

// leave ends the broadcast as an encoder does that stops.
func (e *encoder) leave() {
	e.t.Helper()
	e.process.Process.Signal(os.Interrupt)
	e.wait()
}

// wait waits until ffmpeg has exited.
func (e *encoder) wait() {
	e.t.Helper()
	select {
	case <-e.exited:
	case <-time.After(patience):
		e.t.Fatalf("ffmpeg did not exit within %v", patience)
	}
}

// patience is how long a test waits for what must come. It is not a measure of
// speed: a busy machine may be ten times slower.
const patience = 90 * time.Second

// wait polls until done says so.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %v for %s", patience, what)
		case <-tick.C:
		}
	}
}

// output runs a program and returns what it wrote to its standard output.
func output(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	command := exec.Command(name, args...)
	command.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func rtmpURL(hostport, key string) string { return fmt.Sprintf("rtmp://%s/app/%s", hostport, key) }

func rtmpsURL(hostport, key string) string { return fmt.Sprintf("rtmps://%s/app/%s", hostport, key) }
