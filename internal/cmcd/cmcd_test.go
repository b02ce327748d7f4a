package cmcd_test

import (
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/cmcd"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text string
		want cmcd.Report
		ok   bool
	}{
		// What hls.js and shaka send.
		{`bl=2100,br=3500,bs,cid="a,b=c",d=2000,mtp=25400,ot=v,sf=h,sid="6e2fb550-c457-11e9-bb97-0800200c9a66",st=l,su,tb=6000`,
			cmcd.Report{Starved: true, Startup: true, Bitrate: 3500, Throughput: 25400, Buffer: 2100 * time.Millisecond}, true},
		{`v=2,ltc=3200,msd=740,br=(2500;v 128;a),nor=("a,b" "c"),sta=r,su=?0`,
			cmcd.Report{Starved: true, Bitrate: 2500, Latency: 3200 * time.Millisecond, StartDelay: 740 * time.Millisecond}, true},
		{`sta=e`, cmcd.Report{Ended: true}, true},
		{`sid="quote \" and , comma",bs`, cmcd.Report{Starved: true}, true},
		// What no player should send.
		{`br=-1,bl=1e300,mtp=NaN,ltc=99999999999999999999,msd=x`, cmcd.Report{}, true},
		{`br=Infinity,bl=(`, cmcd.Report{}, true},
		{`com.example-key="x",unknown`, cmcd.Report{}, false},
		{``, cmcd.Report{}, false},
		{`sid="never closed,bs`, cmcd.Report{}, true},
		{strings.Repeat("bs,", 2000), cmcd.Report{}, false}, // too long
	} {
		if got, ok := cmcd.Parse(tt.text); got != tt.want || ok != tt.ok {
			t.Errorf("%.80s: %+v, %v, want %+v, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

func TestOfRequest(t *testing.T) {
	r := httptest.NewRequest("GET", "/x.ts?CMCD="+url.QueryEscape(`br=100,sid="s"`), nil)
	if got, ok := cmcd.OfRequest(r); !ok || got.Bitrate != 100 {
		t.Errorf("query: %+v, %v", got, ok)
	}
	r = httptest.NewRequest("GET", "/x.ts", nil)
	if _, ok := cmcd.OfRequest(r); ok {
		t.Error("a request without CMCD has a report")
	}
	r.Header.Set("CMCD-Object", "br=200,ot=v")
	r.Header.Set("CMCD-Status", "bs")
	if got, ok := cmcd.OfRequest(r); !ok || got.Bitrate != 200 || !got.Starved {
		t.Errorf("headers: %+v, %v", got, ok)
	}
}

// Reports that go with no request are lines, in their order.
func TestParseEvents(t *testing.T) {
	got := cmcd.ParseEvents("e=ps,sta=s,ts=1,v=2\r\n\nnothing\ne=t,sta=p,bl=1500,ltc=3000\ne=ps,sta=r")
	want := []cmcd.Report{{Startup: true}, {Buffer: 1500 * time.Millisecond, Latency: 3 * time.Second}, {Starved: true}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := len(cmcd.ParseEvents(strings.Repeat("bs\n", 1000))); n != 64 {
		t.Errorf("%d reports of one body", n)
	}
}

func FuzzParseEvents(f *testing.F) {
	f.Add("e=ps,sta=s,ts=1\ne=t,bl=(2100 100),sid=\"a\nb\"\n")
	f.Fuzz(func(t *testing.T, body string) {
		reports := cmcd.ParseEvents(body)
		if len(reports) > 64 || len(reports) > strings.Count(body, "\n")+1 {
			t.Errorf("%q: %d reports", body, len(reports))
		}
		for _, r := range reports {
			if r.Buffer < 0 || r.Latency < 0 || r.StartDelay < 0 || r.Bitrate < 0 || r.Bitrate > 1_000_000 {
				t.Errorf("%q: %+v", body, r)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(`bl=2100,br=3500,bs,cid="a,b",nor=("x" "y"),sta=r,ltc=(1;v 2)`)
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := cmcd.Parse(text)
		if !ok && r != (cmcd.Report{}) {
			t.Errorf("%q is no report, and says %+v", text, r)
		}
		for _, d := range []time.Duration{r.Buffer, r.Latency, r.StartDelay} {
			if d < 0 || d > time.Hour {
				t.Errorf("%q: a duration of %v", text, d)
			}
		}
		if r.Bitrate < 0 || r.Bitrate > 1_000_000 || r.Throughput < 0 || r.Throughput > 1_000_000 {
			t.Errorf("%q: %+v", text, r)
		}
	})
}
