package rtmp

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/millrace/millrace/internal/amf0"
	"github.com/millrace/millrace/internal/flv"
)

func TestNamesAndQueries(t *testing.T) {
	for _, tt := range []struct {
		app, name, wantKey string
		wantQuery          url.Values
	}{
		{"app", "key", "key", url.Values{}},
		{"app/", "key", "key", url.Values{}},
		{"/app", "/key", "key", url.Values{}},
		{"app?a=1", "key?b=2", "key", url.Values{"a": {"1"}, "b": {"2"}}},
		{"app", "key?priority=3&keyframeInterval=2", "key", url.Values{"priority": {"3"}, "keyframeInterval": {"2"}}},
		{"app", "key?%zz=1&ok=1&;", "key", url.Values{"ok": {"1"}}},
		{"app", "key?", "key", url.Values{}},
		{"app", strings.Repeat("k", 1024), strings.Repeat("k", 1024), url.Values{}},
		{"app/sk_pasted", "", "sk_pasted", url.Values{}},
		{"app/sk_pasted/", "?priority=2", "sk_pasted", url.Values{"priority": {"2"}}},
		{"app/sk_pasted?priority=2", "", "sk_pasted", url.Values{"priority": {"2"}}},
		{"app/sk_pasted", "sk_key", "sk_key", url.Values{}},
		{"app/sk_pasted", "stream", "sk_pasted", url.Values{}},
		{"app/instance", "key", "key", url.Values{}},
		{"app", "rtmp://ingest.example/app/sk_key", "sk_key", url.Values{}},
	} {
		bubble(t, &Server{App: "app"}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			c := shake(t, dial())
			defer c.nc.Close()
			c.call(t, 0, "_result", connectTo(tt.app, amf0.Property{Key: "flashVer", Value: amf0.String("FMLE/3.0")})...)
			c.call(t, 1, "onStatus", publishKey(tt.name)...)
			c.nc.Close()
			p := (<-ends).p
			if p.App != "app" || p.StreamKey != tt.wantKey || p.FlashVer != "FMLE/3.0" || p.TLS {
				t.Errorf("%q, %q: %+v", tt.app, tt.name, p)
			}
			if diff := cmp.Diff(tt.wantQuery, p.Query); diff != "" {
				t.Errorf("%q, %q:\n%s", tt.app, tt.name, diff)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	null, undefined := amf0.Null{}, amf0.Undefined{}
	result := func(id amf0.Number, v amf0.Value) []command {
		return []command{{"_result", id, []amf0.Value{null, v}}}
	}
	call := func(name string, id amf0.Number, more ...amf0.Value) []amf0.Value {
		return append([]amf0.Value{amf0.String(name), id, null}, more...)
	}
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := shake(t, dial())
		defer c.nc.Close()
		c.call(t, 0, "_result", connectTo("app")...)
		for _, tt := range []struct {
			send []amf0.Value
			want []command
		}{
			{call("releaseStream", 2, amf0.String("key")), result(2, undefined)},
			{call("FCPublish", 3, amf0.String("key")), append([]command{{"onFCPublish", 0, []amf0.Value{
				null, status("status", "NetStream.Publish.Start", "Stream key received"),
			}}}, result(3, undefined)...)},
			{call("createStream", 4), result(4, amf0.Number(1))},
			{call("_checkbw", 5), result(5, undefined)},
			{call("somethingNew", 6), result(6, undefined)},
		} {
			if diff := cmp.Diff(tt.want, c.call(t, 0, "_result", tt.send...), cmp.AllowUnexported(command{})); diff != "" {
				t.Errorf("%v:\n%s", tt.send[0], diff)
			}
		}
		// These get no answer, so the next one is createStream's.
		for _, silent := range [][]amf0.Value{call("somethingNew", 0), call("_result", 7), call("onStatus", 8), {amf0.String("onBWDone")}} {
			c.sendCommand(0, silent...)
		}
		got := c.call(t, 0, "_result", call("createStream", 9)...)
		if diff := cmp.Diff(result(9, amf0.Number(1)), got, cmp.AllowUnexported(command{})); diff != "" {
			t.Errorf("after calls that want no answer:\n%s", diff)
		}
	})
}

func TestConnectSaysWhatEnhancedEncodersMaySend(t *testing.T) {
	list := amf0.Property{Key: "fourCcList", Value: amf0.StrictArray{amf0.String("hvc1"), amf0.String("avc1")}}
	for _, tt := range []struct {
		send []amf0.Value
		want amf0.Value
	}{
		{connectTo("app"), nil},
		{connectTo("app", list), amf0.StrictArray{amf0.String("avc1"), amf0.String("mp4a")}},
	} {
		bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			c := shake(t, dial())
			defer c.nc.Close()
			answer := c.call(t, 0, "_result", tt.send...)[0]
			if diff := cmp.Diff(tt.want, amf0.Get(answer.arg(0), "fourCcList")); diff != "" {
				t.Errorf("properties: %s", diff)
			}
			info := answer.arg(1)
			if amf0.Get(info, "code") != amf0.String("NetConnection.Connect.Success") || amf0.Get(info, "objectEncoding") != amf0.Number(0) {
				t.Errorf("information: %v", info)
			}
		})
	}
}

func TestAMF3Wrapper(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := shake(t, dial())
		c.call(t, 0, "_result", connectTo("app")...)
		c.send(chunkCommand, message{kind: kindCommandAMF3, stream: 1, body: amf0.Append([]byte{0}, publishKey("key")...)})
		c.await(t, "onStatus")
		c.send(chunkData, message{kind: kindDataAMF3, stream: 1, body: flv.AppendMetadata([]byte{0}, flv.Metadata{FrameRate: 25})})
		c.send(chunkCommand, message{kind: kindCommandAMF3, body: amf0.Append([]byte{0}, amf0.String("deleteStream"), amf0.Number(6))})
		c.await(t, "onStatus")
		c.nc.Close()
		e := <-ends
		if m := e.p.Metadata(); m.FrameRate != 25 || !errors.Is(e.err, io.EOF) {
			t.Errorf("metadata %v; end %v", m, e.err)
		}
	})
}

// Before an encoder is accepted it cannot make the server hold much.
func TestCommandsAreBounded(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := shake(t, dial())
		defer c.nc.Close()
		c.setChunkSize(1 << 20)
		c.send(chunkCommand, message{kind: kindCommand, body: make([]byte, maxCommand+1)})
		if m, err := c.readAny(); err == nil {
			t.Errorf("the server answered %+v", m)
		}
	})
}

func TestCommandBeforeConnect(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := shake(t, dial())
		defer c.nc.Close()
		c.sendCommand(1, publishKey("key")...)
		if m, err := c.readAny(); err == nil {
			t.Errorf("the server answered %+v", m)
		}
	})
}

func TestPlayAndBadNames(t *testing.T) {
	for code, send := range map[string][]amf0.Value{
		"NetStream.Play.Failed": {amf0.String("play"), amf0.Number(0), amf0.Null{}, amf0.String("key")},
		CodeBadName:             publishKey(strings.Repeat("k", 1025)),
	} {
		bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			c := shake(t, dial())
			defer c.nc.Close()
			c.call(t, 0, "_result", connectTo("app")...)
			got := c.call(t, 1, "onStatus", send...)
			if info := got[0].arg(1); amf0.Get(info, "code") != amf0.String(code) || amf0.Get(info, "level") != amf0.String("error") {
				t.Errorf("answered %v, want %s", info, code)
			}
		})
	}
}
