package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/rtmp"
)

type demoCommand struct{ config }

func (c *demoCommand) Run(ctx context.Context) error {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return fmt.Errorf("the demo needs ffmpeg, which makes its test pattern: install it with %s", ffmpegInstall())
	}
	ctx, stop := context.WithCancelCause(ctx)
	var tasks sync.WaitGroup
	err := serve(ctx, c.config, func(r running) {
		tasks.Go(func() { stop(broadcast(ctx, r)) })
	})
	stop(err)
	tasks.Wait()
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		return fmt.Errorf("the test broadcast: %w", cause)
	}
	return err
}

// ffmpegInstall is the command that installs ffmpeg on this system.
func ffmpegInstall() string {
	switch runtime.GOOS {
	case "darwin":
		return "brew install ffmpeg"
	case "windows":
		return "winget install ffmpeg"
	case "freebsd":
		return "pkg install ffmpeg"
	}
	return "apt-get install ffmpeg, or this distribution's package manager"
}

// reconnectAfter is how long the demo's encoder waits before it reconnects, as OBS does.
const reconnectAfter = 3 * time.Second

// broadcast publishes the test pattern to the channel "demo" until ctx is
// done, and prints where to watch it once it is live. Like any encoder it reconnects after
// StopStream.
func broadcast(ctx context.Context, r running) error {
	channel, key, err := demoChannel(ctx, r)
	if err != nil {
		return err
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { announce(ctx, r, channel) })
	for {
		err := publishPattern(ctx, fmt.Sprintf("rtmp://%s/%s/%s", reachable(r.RTMP), rtmp.App, key.Value))
		if refused := (*rtmp.StatusError)(nil); err != nil && !errors.As(err, &refused) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reconnectAfter):
		}
	}
}

func publishPattern(ctx context.Context, address string) error {
	pattern, err := startTestPattern(ctx, testPattern{Size: "1280x720", FPS: 30, Bitrate: 2500, Live: true})
	if err != nil {
		return err
	}
	defer pattern.Close()
	return publishTo(ctx, address, pattern, nil)
}

// ladderCores are the processors that the demo's encoder, a ladder of renditions
// and a browser that decodes in software take together.
const ladderCores = 4

// demoChannel finds the channel "demo", or creates it. It takes plain RTMP, so
// that OBS can publish to it without trusting our certificate. On a small machine
// it is a BASIC channel: one rendition, without transcoding.
func demoChannel(ctx context.Context, r running) (ivs.Channel, ivs.StreamKey, error) {
	channel, key, err := channelNamed(ctx, r.store, r.scope(), "demo")
	if !ivs.Is(err, ivs.NotFound) {
		return channel, key, err
	}
	kind := ivs.TypeStandard
	if runtime.NumCPU() < ladderCores {
		kind = ivs.TypeBasic
	}
	return createChannel(ctx, r.store, r.scope(), "demo", kind)
}

// announce prints the links when the stream is live.
func announce(ctx context.Context, r running, channel ivs.Channel) {
	for r.hub.LiveSession(channel.ARN) == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	playback, program := r.endpoints().PlaybackURL(channel.ARN), shellQuote(os.Args[0])
	fmt.Printf(`
The channel "demo" is live.

  Watch       %s
  Console     %s
              (signs in once, within %d minutes; millrace env prints a new link)
  Playback    %s
  AWS CLI     eval "$(%s env%s)"
              aws ivs get-stream --channel-arn %s
              (a CLI older than 2.13 also needs --endpoint-url "$AWS_ENDPOINT_URL_IVS")
  Your own    %s channel create mine --insecure-ingest%s
  broadcast   then point OBS or ffmpeg at %s/ with the stream key that it prints

Ctrl-C stops it.

`, watchPage(playback), consoleLink(strings.TrimSuffix(r.PublicURL, "/"), r.control.NewSignInToken(), channel.ARN), api.SignInLifetime/time.Minute, playback,
		program, r.envFlags(), channel.ARN, program, r.envFlags(), r.ingest("rtmp", r.IngestRTMPPort))
}

// envFlags are the flags that commands such as `millrace env` need to find this server, where
// it differs from the defaults.
func (c config) envFlags() (flags string) {
	for _, f := range []struct {
		name, value string
		differs     bool
	}{
		{"--http", c.HTTP, c.HTTP != defaultHTTP},
		{"--https", c.HTTPS, c.HTTPS != off},
		{"--public-url", c.PublicURL, (c.HTTP != defaultHTTP || c.HTTPS != off) && strings.TrimSuffix(c.PublicURL, "/") != c.apiURL()},
		{"--data", c.Data, !isDefaultData(c.Data)},
		{"--region", c.Region, c.Region != "us-west-2"},
		{"--access-key-id", c.AccessKeyID, c.AccessKeyID != ""},
	} {
		if f.differs {
			flags += " " + f.name + " " + shellQuote(f.value)
		}
	}
	if c.SecretAccessKey != "" {
		flags += ` --secret-access-key "$SECRET"` // it came from the user: not to be printed
	}
	return flags
}
