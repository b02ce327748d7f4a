package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/logs/logstest"
)

// `millrace publish` needs no encoder: a file to one channel, or one clip to
// many channels that it creates.
func TestPublishCommand(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	clip := filepath.Join(t.TempDir(), "clip.flv")
	output(t, nil, "ffmpeg", append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30:duration=3",
		"-f", "lavfi", "-i", "sine=duration=3:sample_rate=48000"}, append(testCodecs, clip)...)...)
	s.channel(awsivs.CreateChannelInput{Name: aws.String("filed"), InsecureIngest: true})
	s.channel(awsivs.CreateChannelInput{Name: aws.String("secure")}) // takes RTMPS only
	for _, args := range [][]string{
		{"publish", "--file", clip, "filed"},
		{"publish", "--file", clip, "secure"},
		{"publish", "--file", clip, "--count", "3", "many-{n}"},
	} {
		args = append(args, "--data", s.data, "--rtmp", s.rtmp, "--rtmps", s.rtmps)
		p := millrace(args...)
		said := &logstest.Buffer{}
		p.Stderr = said
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			p.Process.Kill()
			p.Wait()
			if t.Failed() {
				t.Logf("millrace %s said:\n%s", strings.Join(args, " "), said)
			}
		})
	}
	wait(t, "five live channels", func() bool {
		out, err := s.ivs().ListStreams(t.Context(), &awsivs.ListStreamsInput{})
		return err == nil && len(out.Streams) == 5
	})
	channels, err := s.ivs().ListChannels(t.Context(), &awsivs.ListChannelsInput{FilterByName: aws.String("many-3")})
	if err != nil || len(channels.Channels) != 1 {
		t.Fatalf("the channel many-3: %v, %v", channels, err)
	}
	channel, err := s.ivs().GetChannel(t.Context(), &awsivs.GetChannelInput{Arn: channels.Channels[0].Arn})
	if err != nil {
		t.Fatal(err)
	}
	// The clip has three seconds; to play six, it must have gone on.
	waitPlayable(t, *channel.Channel.PlaybackUrl)
	if out := output(t, nil, "ffmpeg", "-v", "error", "-i", *channel.Channel.PlaybackUrl, "-t", "6", "-f", "null", "-"); out != "" {
		t.Errorf("ffmpeg: %s", out)
	}
	checkRules(t, *channel.Channel.PlaybackUrl)
}

// checkRules holds a live stream against the rules, as `millrace check` does.
func checkRules(t *testing.T, playbackURL string) {
	t.Helper()
	text, _ := millrace("check", playbackURL, "--for", "4s", "--json").Output() // its status says what the report says
	var report struct {
		Renditions, Playlists, Media int
		Problems                     []struct{ Level, Rule, Text string }
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if report.Renditions != 1 || report.Playlists < 2 || report.Media < 3 {
		t.Errorf("it fetched %+v", report)
	}
	for _, p := range report.Problems {
		if p.Rule != "stale" { // the machine may be busy
			t.Errorf("%s: %s: %s", p.Level, p.Rule, p.Text)
		}
	}
}

// What cannot work is refused at once, with the setting's name and what to do.
func TestSettingsThatCannotWork(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "not-a-certificate.pem")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	free := []string{"--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0", "--data", t.TempDir()}
	for _, tt := range []struct {
		name string
		args []string
		says []string
	}{
		{"port in use", append([]string{"serve"}, append(free[2:], "--http", taken.Addr().String())...), []string{"--http", "in use"}},
		{"certificate without key", append([]string{"serve", "--tls-cert", file}, free...), []string{"--tls-key", "missing"}},
		{"no certificate", append([]string{"serve", "--tls-cert", file, "--tls-key", file}, free...), []string{"--tls-cert", file}},
		{"half of the credentials", append([]string{"serve", "--access-key-id", "AKID"}, free...), []string{"--secret-access-key", "missing"}},
		{"unknown auth", append([]string{"serve", "--auth", "no"}, free...), []string{"--auth", "sigv4"}},
		{"unreachable database", append([]string{"serve", "--database", "postgres://127.0.0.1:1/none"}, free...), []string{"127.0.0.1", "1"}},
		{"account of letters", append([]string{"serve", "--account", "me"}, free...), []string{"--account", "12 digits"}},
		{"region with a space", append([]string{"serve", "--region", "us west"}, free...), []string{"--region", "us west"}},
		{"public URL without scheme", append([]string{"serve", "--public-url", "live.example.com"}, free...), []string{"--public-url", "http"}},
		{"public URL with a path", append([]string{"serve", "--public-url", "https://example.com/live"}, free...), []string{"--public-url", "example.com/live", "A path is not allowed"}},
		{"ingest host with a port", append([]string{"serve", "--ingest-host", "live.example.com:1935"}, free...), []string{"--ingest-host", "host alone"}},
		{"ingest port that is none", append([]string{"serve", "--ingest-rtmps-port", "65536"}, free...), []string{"--ingest-rtmps-port 65536", "between 1 and 65535"}},
		{"ingest port of no listener", append([]string{"serve", "--rtmp", "off", "--ingest-rtmp-port", "1935"}, append(free[:2:2], free[4:]...)...), []string{"--ingest-rtmp-port 1935", "--rtmp is off"}},
		{"unknown level", append([]string{"serve", "--log-level", "loud"}, free...), []string{"--log-level", "loud"}},
		{"no quota", append([]string{"serve", "--quota-channels", "0"}, free...), []string{"--quota-channels 0", "at least 1"}},
		{"negative quota", append([]string{"serve", "--quota-playback-key-pairs=-1"}, free...), []string{"--quota-playback-key-pairs -1", "at least 1"}},
		{"env before the first start", []string{"env", "--data", filepath.Join(t.TempDir(), "none")}, []string{"credentials.json", "--data"}},
		{"publish to no channel", []string{"publish", "nobody", "--data", t.TempDir(), "--file", file}, []string{"nobody"}},
		{"publish what is no FLV", []string{"publish", "rtmp://127.0.0.1:1/app/x", "--file", file}, []string{file, "FLV"}},
		{"many to one channel", []string{"publish", "one", "--count", "2"}, []string{"{n}"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			p := millrace(tt.args...)
			p = rerun(ctx, p)
			out, err := p.CombinedOutput()
			if err == nil || ctx.Err() != nil {
				t.Fatalf("millrace %s went on: %v\n%s", strings.Join(tt.args, " "), err, out)
			}
			for _, want := range tt.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			if strings.Contains(string(out), "goroutine ") {
				t.Errorf("it panicked:\n%s", out)
			}
		})
	}
}

// rerun is the same command, killed when ctx is done.
func rerun(ctx context.Context, c *exec.Cmd) *exec.Cmd {
	again := exec.CommandContext(ctx, c.Path, c.Args[1:]...)
	again.Env = c.Env
	return again
}

func TestTwoServersOneFolder(t *testing.T) {
	s := startServer(t, "")
	p := millrace("serve", "--data", s.data, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0")
	if out, err := p.CombinedOutput(); err == nil || !strings.Contains(string(out), "another millrace is using this folder") {
		t.Errorf("a second server with the same folder: %v\n%s", err, out)
	}
}

// A stop that takes longer than it may is given up, and says by which setting.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		forever := make(chan struct{})
		g := &errgroup.Group{}
		g.Go(func() error { <-forever; return nil })
		stop()
		began := time.Now()
		err := await(ctx, g, func() time.Duration { return 10 * time.Second })
		if err == nil || !strings.Contains(err.Error(), "--drain") || time.Since(began) != 11*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		close(forever)
		if err := await(ctx, g, func() time.Duration { return 0 }); err != nil {
			t.Errorf("when everything has ended: %v", err)
		}
	})
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"demo", "--help"}, {"env", "--help"}, {"publish", "--help"}, {"encoders", "--help"}, {"version", "--help"}, {"version"}} {
		out, err := millrace(args...).CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Errorf("millrace %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "${") {
				t.Errorf("millrace %s: %s", strings.Join(args, " "), line)
			}
		}
	}
}
