//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/wiretest"
)

// Where recordings go in a scenario.
const (
	notRecorded = ""
	intoFolder  = "recorded into a folder"
	intoS3      = "recorded to an S3 server"
)

const benchBucket = "bench"

// startRecorder runs a server that records into a place. stop ends it.
func startRecorder(ctx context.Context, b *bench, place string) (s *server, stop func(), err error) {
	if place != intoS3 {
		s, err = startServer(b)
		if err != nil {
			return nil, nil, err
		}
		return s, s.stop, nil
	}
	stopS3, err := startS3(ctx)
	if err != nil {
		return nil, nil, err
	}
	s, err = startServerOn(b, strconv.Itoa(serverCore), "GOMAXPROCS=1", "--transcode", "off", "--buckets", "s3://")
	if err != nil {
		stopS3()
		return nil, nil, err
	}
	return s, func() { s.stop(); stopS3() }, nil
}

// startS3 builds versitygw and runs it on the load's core, with a bucket, and
// has the environment name it.
func startS3(ctx context.Context) (stop func(), err error) {
	const user, secret = "bench", "benchs-secret"
	dir, err := os.MkdirTemp("", "millrace-bench-s3-")
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "versitygw")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/versity/versitygw/cmd/versitygw")
	build.Dir = "internal/bucket/testdata/versitygw"
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("building versitygw: %w: %.500s", err, out), os.RemoveAll(dir))
	}
	address, err := wiretest.FindAddress()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	for _, folder := range []string{"meta", filepath.Join("data", benchBucket)} { // a folder in data is a bucket
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	gateway := exec.Command("taskset", "-c", strconv.Itoa(loadCore), program, "--port", address, "--access", user, "--secret", secret, "--quiet",
		"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))
	if err := gateway.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	settings := map[string]string{"AWS_ENDPOINT_URL_S3": "http://" + address, "AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}
	stop = func() {
		_ = gateway.Process.Kill()
		_ = gateway.Wait()
		os.RemoveAll(dir)
		for name := range settings {
			_ = os.Unsetenv(name) // it cannot fail with these
		}
	}
	for name, value := range settings {
		_ = os.Setenv(name, value)
	}
	for range 200 {
		answer, err := http.Get("http://" + address)
		if err == nil {
			return stop, answer.Body.Close()
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			break
		}
	}
	stop()
	return nil, errors.New("versitygw does not answer")
}

// benchRecordedLatency measures parts as benchViewers does, of a stream that is
// recorded.
func benchRecordedLatency(ctx context.Context, b *bench) error {
	s, ch, stop, err := startRecorded(ctx, b)
	if err != nil {
		return err
	}
	defer stop()
	leave, err := s.publish("--size", "1280x720", "--bitrate", "5900", "bench")
	if err != nil {
		return err
	}
	defer leave()
	if err := errors.Join(s.waitLive(ctx, 1), sleep(ctx, 8*time.Second)); err != nil {
		return err
	}
	w, err := s.watched(ctx, "LOW", 1, func(int) (channel, error) { return ch, nil })
	if err != nil {
		return err
	}
	w.reportAges("1 viewer, LL-HLS, 6 Mbit/s, " + intoFolder)
	return nil
}

// startRecorded runs a server with one channel, "bench", that is recorded into a
// folder.
func startRecorded(ctx context.Context, b *bench) (s *server, ch channel, stop func(), err error) {
	if s, stop, err = startRecorder(ctx, b, intoFolder); err != nil {
		return nil, ch, nil, err
	}
	recording, err := s.createRecordingConfiguration(ctx)
	if err == nil {
		ch, err = s.createRecordedChannel("bench", "LOW", "TS", recording)
	}
	if err != nil {
		stop()
		return nil, ch, nil, err
	}
	return s, ch, stop, nil
}

// benchRecordingTimes measures when a recording can be played, and when it is
// complete and said to be.
func benchRecordingTimes(ctx context.Context, b *bench) error {
	s, ch, stop, err := startRecorded(ctx, b)
	if err != nil {
		return err
	}
	defer stop()
	const runs = 5
	var playable, ended []time.Duration
	for range runs {
		leave, err := s.publish("--size", "854x480", "--bitrate", "1100", "bench")
		if err != nil {
			return err
		}
		if err := s.waitLive(ctx, 1); err != nil {
			leave()
			return err
		}
		live := time.Now()
		err = s.awaitRecording(ctx, func(folder string) bool {
			return holds(folder, "media/hls/master.m3u8", "playlist.m3u8") && listsMedia(folder)
		})
		playable = append(playable, time.Since(live))
		leave()
		left := time.Now()
		if err == nil {
			err = s.awaitRecording(ctx, func(folder string) bool { return holds(folder, "events/recording-ended.json", "recording_ended_at") })
		}
		if err == nil {
			err = s.awaitEvent(ctx, ch, "Recording End")
		}
		if err != nil {
			return err
		}
		ended = append(ended, time.Since(left))
		if err := os.RemoveAll(filepath.Join(s.data, "buckets", benchBucket, "ivs")); err != nil { // the next one is alone
			return err
		}
	}
	slices.Sort(playable)
	slices.Sort(ended)
	report("go-live → the recording can be played, median of 5 (worst)", "%.1f s (%.1f s)", playable[runs/2].Seconds(), playable[runs-1].Seconds())
	report("end of stream → Recording End, and all of it in the bucket, median of 5 (worst)", "%.2f s (%.2f s)", ended[runs/2].Seconds(), ended[runs-1].Seconds())
	return nil
}

// awaitRecording waits until what a recording has in its bucket is enough.
func (s *server) awaitRecording(ctx context.Context, enough func(folder string) bool) error {
	for range 3000 {
		folders, err := filepath.Glob(filepath.Join(s.data, "buckets", benchBucket, "ivs/v1/*/*/*/*/*/*/*/*"))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(folders, enough) {
			return nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("the recording is not in its bucket within half a minute")
}

func holds(folder, name, text string) bool {
	b, err := os.ReadFile(filepath.Join(folder, name))
	return err == nil && strings.Contains(string(b), text)
}

// listsMedia reports whether a media playlist lists a file that is there.
func listsMedia(folder string) bool {
	playlists, _ := filepath.Glob(filepath.Join(folder, "media/hls/*/playlist.m3u8"))
	for _, name := range playlists {
		b, err := os.ReadFile(name)
		if list := uris(string(b)); err == nil && len(list) > 0 {
			_, err := os.Stat(filepath.Join(filepath.Dir(name), list[0]))
			return err == nil
		}
	}
	return false
}

// awaitEvent waits for an event of a channel's latest session.
func (s *server) awaitEvent(ctx context.Context, ch channel, name string) error {
	for range 3000 {
		var out struct {
			StreamSession struct{ TruncatedEvents []struct{ Name string } }
		}
		if err := s.call("GetStreamSession", map[string]any{"channelArn": ch.arn}, &out); err != nil {
			return err
		}
		for _, e := range out.StreamSession.TruncatedEvents {
			if e.Name == name {
				return nil
			}
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("no %s within half a minute", name)
}
