package main

import (
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/chromedp/chromedp"
)

// An operator watches in the console how a broadcast starves on a slow uplink and
// recovers, stops it, and reads what was wrong.
func TestBrowserShowsStarvation(t *testing.T) {
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	line := newLine(t, s.rtmp)
	publish(t, rtmpURL(line.address, key), slices.Concat(testInputs, testCodecs)...)
	s.live(channel.Arn)

	b := openBrowser(t, s.consoleLink(*channel.Arn))
	b.until(`document.querySelector('#health').dataset.health == 'HEALTHY' && document.querySelector('#verdict').dataset.tone == 'good'`)
	b.until(`[...document.querySelectorAll('#charts figure')].filter(f => f.querySelector('canvas') && /\d/.test(f.querySelector('.chart-summary').innerText)).length == 5`)

	line.bitrate.Store(150e3)
	const verdict = `document.querySelector('#verdict').textContent`
	b.until(`document.querySelector('#health').dataset.health == 'STARVING' && ` + verdict + `.includes('will stall')`)
	b.until(`document.querySelector('#events li').dataset.name == 'Starvation Start' && document.querySelector('#shade-key').checkVisibility()`)
	if *screenshots != "" {
		b.keep(filepath.Join(*screenshots, "starving.png"))
	}
	line.bitrate.Store(0)
	b.until(`document.querySelector('#events li').dataset.name == 'Starvation End' && document.querySelector('#verdict').dataset.tone == 'good'`)

	b.click("#stop")
	b.click("#stop-yes")
	b.until(`document.querySelector('#state').dataset.state == 'ended'`)
	b.until(`/^The encoder fell behind (once|\d+ times), for [^:]+: viewers saw the video stall\./.test(` + verdict + `)`)
}

func (b *browser) click(selector string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.t.Fatalf("click %s: %v", selector, err)
	}
}

// A line lets an encoder's bytes through to a server, at a bit rate that can be
// changed.
type line struct {
	address string
	bitrate atomic.Int64 // bit/s; 0 means no limit
	tasks   sync.WaitGroup
}

func newLine(t *testing.T, server string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &line{address: l.Addr().String()}
	n.tasks.Go(func() {
		for {
			encoder, err := l.Accept()
			if err != nil {
				return
			}
			n.tasks.Go(func() { n.connect(encoder, server) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		n.tasks.Wait()
	})
	return n
}

// connect carries a connection until either side closes it.
func (n *line) connect(encoder net.Conn, server string) {
	defer encoder.Close()
	out, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer out.Close()
	n.tasks.Go(func() {
		defer encoder.Close()
		io.Copy(encoder, out)
	})
	b := make([]byte, 4<<10)
	for {
		k, err := encoder.Read(b)
		if err != nil {
			return
		}
		if _, err := out.Write(b[:k]); err != nil {
			return
		}
		if rate := n.bitrate.Load(); rate > 0 {
			time.Sleep(time.Duration(k) * 8 * time.Second / time.Duration(rate)) // the uplink limits the bit rate
		}
	}
}
