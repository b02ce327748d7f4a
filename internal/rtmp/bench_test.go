package rtmp_test

import (
	"context"
	"testing"

	"github.com/millrace/millrace/internal/rtmp"
)

// BenchmarkPublish is one frame of 5,000 bytes from Client to handler, over
// loopback: both sides together.
func BenchmarkPublish(b *testing.B) {
	received := make(chan int, 1)
	addr := serve(b, &rtmp.Server{Handle: func(_ context.Context, p *rtmp.Publisher) error {
		n, err := 0, p.Accept()
		for err == nil {
			if _, err = p.ReadFrame(); err == nil {
				n++
			}
		}
		received <- n
		return err
	}}, nil)
	c := dial(b, addr)
	f := frames(b, 1, 5000)[0]
	b.ReportAllocs()
	b.SetBytes(5000)
	sent := 0
	for b.Loop() {
		if err := c.WriteFrame(f); err != nil {
			b.Fatal(err)
		}
		sent++
	}
	b.StopTimer()
	if err := c.Close(); err != nil {
		b.Error(err)
	}
	if n := <-received; n != sent {
		b.Errorf("%d of %d frames arrived", n, sent)
	}
}
