package record

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
)

// A server that stops does not wait for thumbnails of a stream whose end does not
// come.
func TestThumbnailsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &recording{cancelled: make(chan struct{})}
		c.Configuration.ThumbnailConfiguration = ivs.ThumbnailConfiguration{RecordingMode: ivs.ThumbnailsInterval, TargetIntervalSeconds: 10}
		s := &source{Stream: Stream{Media: &hls.Stream{}}, ended: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.makeThumbnails(ctx, s)
		}()
		synctest.Wait()
		cancel()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("thumbnails are still made")
			close(s.ended)
			<-done
		}
	})
}
