//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/token"
)

// privateRounds is how often viewers of each channel are measured in turn: what
// the machine does beside it falls on both.
const privateRounds = 3

// benchPrivate compares viewers of a private channel, each with a token that
// names it, with as many of a public one on the same server.
func benchPrivate(ctx context.Context, b *bench, count int) error {
	s, public, stop, err := startBroadcast(ctx, b, "LOW", "TS", "1280x720", "5900")
	if err != nil {
		return err
	}
	defer stop()
	key, err := s.importKey()
	if err != nil {
		return err
	}
	private, err := s.newChannel(map[string]any{"name": "private", "latencyMode": "LOW", "containerFormat": "TS", "authorized": true})
	if err != nil {
		return err
	}
	leave, err := s.publish("--size", "1280x720", "--bitrate", "5900", "private")
	if err != nil {
		return err
	}
	defer leave()
	if err := s.waitLive(ctx, 2); err != nil {
		return err
	}
	if err := sleep(ctx, 8*time.Second); err != nil {
		return err
	}
	var ratios []float64
	for round := range privateRounds {
		open, err := s.watched(ctx, "LOW", count, func(int) (channel, error) { return public, nil })
		if err != nil {
			return err
		}
		closed, err := s.watched(ctx, "LOW", count, func(i int) (channel, error) { return private.with(key, i) })
		if err != nil {
			return err
		}
		open.report(fmt.Sprintf("%d viewers, LL-HLS, 6 Mbit/s, public, round %d", count, round+1))
		closed.report(fmt.Sprintf("%d viewers, LL-HLS, 6 Mbit/s, private, round %d", count, round+1))
		ratios = append(ratios, float64(closed.perRequest())/float64(open.perRequest()))
	}
	slices.Sort(ratios)
	report(fmt.Sprintf("%d viewers, LL-HLS, 6 Mbit/s: CPU for a request, private ÷ public, median of %d", count, privateRounds),
		"%.3f (%.3f to %.3f)", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
	return nil
}

// importKey imports a new key pair and returns its private half.
func (s *server) importKey() (*ecdsa.PrivateKey, error) {
	private, public, err := token.GenerateKey()
	if err != nil {
		return nil, err
	}
	var out struct{}
	if err := s.call("ImportPlaybackKeyPair", map[string]any{"publicKeyMaterial": string(public)}, &out); err != nil {
		return nil, err
	}
	return token.ParsePrivateKey(private)
}

// with is the channel with a token for the viewer with that number.
func (c channel) with(key *ecdsa.PrivateKey, viewer int) (channel, error) {
	signed, err := token.Claims{ChannelARN: c.arn, Expires: time.Now().Add(token.MaxShortLife), ViewerID: "viewer-" + strconv.Itoa(viewer)}.Sign(key)
	c.playback += "?token=" + signed
	return c, err
}
