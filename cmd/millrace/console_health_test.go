package main

import (
	"fmt"
	"io"
	"net"
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
	b.until(`(first => first.dataset.name == 'Starvation Start' && first.dataset.kind == 'warning')(document.querySelector('#events li')) && document.querySelector('#verdict').dataset.tone == 'bad'`)
	b.until(`document.querySelector('#shade-key').checkVisibility() && ` + allCharts(shadeRuns("f")+".length > 0"))
	b.look("console-starving")
	line.bitrate.Store(0)
	b.until(`document.querySelector('#events li').dataset.name == 'Starvation End' && document.querySelector('#verdict').dataset.tone == 'good'`)

	b.click("#stop")
	b.click("#stop-yes")
	b.until(`document.querySelector('#state').dataset.state == 'ended'`)
	b.until(`/^The encoder fell behind (once|\d+ times), for [^:]+: viewers saw the video stall\./.test(` + verdict + `)`)
}

// chart is a JavaScript expression for the chart with a name.
func chart(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('#charts figure')].find(f => f.querySelector('.chart-name').textContent == %q)`, name)
}

// allCharts is JavaScript for a condition that the figure f of each of the five charts meets.
func allCharts(condition string) string {
	return `(figures => figures.length == 5 && figures.every(f => f.querySelector('canvas') && ` + condition + `))([...document.querySelectorAll('#charts figure')])`
}

// drawn is JavaScript for a function of a chart's figure, a variable of the style sheet
// and bounds of opacity (0 to 255): where that colour is drawn, as runs of columns
// between the edges of the plot, which are at 0 and 1. Columns that are four pixels apart
// or less are of one run.
const drawn = `((figure, variable, least, most) => {
	const canvas = figure.querySelector('canvas'), plot = figure.querySelector('.u-over')
	const probe = figure.appendChild(document.createElement('i'))
	probe.style.color = 'var(' + variable + ')'
	const ink = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number)
	probe.remove()
	const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
	const is = i => data[i + 3] >= least && data[i + 3] <= most && [0, 1, 2].every(k => Math.abs(data[i + k] - ink[k]) < 12)
	const runs = []
	for (let x = 0; x < canvas.width; x++) {
		let y = 0
		while (y < canvas.height && !is(4 * (y * canvas.width + x))) y++
		if (y == canvas.height) continue
		if (runs.at(-1)?.[1] >= x - 4) runs.at(-1)[1] = x + 1
		else runs.push([x, x + 1])
	}
	const scale = canvas.width / canvas.clientWidth
	return runs.map(run => run.map(x => (x / scale - plot.offsetLeft) / plot.clientWidth))
})`

// lineRuns are the runs of a chart's line, and shadeRuns those of its shading.
func lineRuns(figure string) string  { return drawn + "(" + figure + ", '--accent', 128, 255)" }
func shadeRuns(figure string) string { return drawn + "(" + figure + ", '--bad', 35, 75)" }

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
