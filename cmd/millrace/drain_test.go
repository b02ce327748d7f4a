package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// Streams that can move, and then requests, share the time of --drain.
func TestDrain(t *testing.T) {
	for name, tt := range map[string]struct {
		nodeURL           string
		live              time.Duration // until the last stream ends
		streams, requests time.Duration // how long they may continue
	}{
		"streams move":      {"http://10.0.0.5:8080", 3 * time.Second, 3 * time.Second, 7 * time.Second},
		"streams stay":      {"http://10.0.0.5:8080", time.Hour, 10 * time.Second, leastTime},
		"no streams":        {"http://10.0.0.5:8080", 0, 0, 10 * time.Second},
		"without a cluster": {"", time.Hour, 0, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config{Drain: 10 * time.Second, clusterFlags: clusterFlags{NodeURL: tt.nodeURL}}
				last := time.Now().Add(tt.live)
				d := newDrain(cfg, func() int {
					if time.Now().Before(last) {
						return 1
					}
					return 0
				}, slog.New(slog.DiscardHandler))
				signal, stopping := context.WithCancel(t.Context())
				ending, stop := d.after(signal)
				defer stop()
				stopping()
				asked := time.Now()
				<-ending.Done()
				if took := time.Since(asked).Round(100 * time.Millisecond); took != tt.streams {
					t.Errorf("streams are ended after %v, want %v", took, tt.streams)
				}
				select {
				case <-d.began:
				default:
					t.Error("it has not begun to drain")
				}
				if left := d.left().Round(100 * time.Millisecond); left != tt.requests {
					t.Errorf("requests have %v then, want %v", left, tt.requests)
				}
			})
		})
	}
}
