package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

type demoCommand struct{ config }

func (c *demoCommand) Run(ctx context.Context) error {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return errors.New("demo needs ffmpeg to make its test picture: install it (apt-get install ffmpeg), or run `make run`")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	done <- nil // replaced by the broadcast's end once it runs
	err := serve(ctx, c.config, func(r running) {
		<-done
		go func() {
			err := broadcast(ctx, r)
			if err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("the test broadcast: %w", err))
			}
			done <- err
		}()
	})
	cancel(nil)
	<-done
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// broadcast publishes the test picture to the channel "demo" until ctx is
// done, and says where it can be seen once it is live.
func broadcast(ctx context.Context, r running) error {
	channel, key, err := demoChannel(ctx, r)
	if err != nil {
		return err
	}
	go announce(ctx, r, channel, key)
	source, err := startTestPicture(ctx, testPicture{Size: "1280x720", FPS: 30, Bitrate: 2500, Live: true})
	if err != nil {
		return err
	}
	defer source.Close()
	return publishTo(ctx, fmt.Sprintf("rtmp://%s/app/%s", reachable(r.RTMP), key.Value), source, nil)
}

// demoChannel finds the channel "demo", or creates it. It takes plain RTMP, so
// that OBS can publish to it without trusting our certificate.
func demoChannel(ctx context.Context, r running) (ivs.Channel, ivs.StreamKey, error) {
	channel, key, err := channelNamed(ctx, r.store, r.scope(), "demo")
	if !ivs.Is(err, ivs.NotFound) {
		return channel, key, err
	}
	return createChannel(ctx, r.store, r.scope(), "demo")
}

// announce prints where to look, as soon as there is something to see.
func announce(ctx context.Context, r running, channel ivs.Channel, key ivs.StreamKey) {
	for r.hub.Channel(channel.ARN) == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	fragment := url.Values{"key": {r.rootKey.AccessKeyID}, "secret": {r.rootKey.SecretAccessKey}, "region": {r.Region}, "channel": {channel.ARN}}
	fmt.Printf(`
The channel "demo" is live.

  Watch       %s/console/#%s
  Playback    %s
  AWS CLI     eval "$(%s env%s)"
              aws ivs get-stream --channel-arn %s
              (a CLI older than 2.13 also needs --endpoint-url "$AWS_ENDPOINT_URL_IVS")
  Your own    aws ivs create-channel --name mine --insecure-ingest
  broadcast   then point OBS or ffmpeg at rtmp://%s/app/ with the stream key that it prints

Ctrl-C stops it.

`, r.httpURL(), fragment.Encode(), r.endpoints().PlaybackURL(channel.ARN), os.Args[0], r.envFlags(), channel.ARN, reachable(r.RTMP))
}

// envFlags are the flags that `millrace env` needs to find this server, where
// it differs from the defaults.
func (c config) envFlags() (flags string) {
	if c.HTTP != "127.0.0.1:8080" {
		flags += " --http " + c.HTTP
	}
	if os.Getenv("MILLRACE_DATA") == "" && !isDefaultData(c.Data) {
		flags += " --data " + shellQuote(c.Data)
	}
	return flags
}
