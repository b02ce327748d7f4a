package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/token"
)

// An operator sees who watches a stream and how it plays for each of them, ends the
// sessions of one viewer, and has a fault for as long as it is to last.
func TestConsoleViewers(t *testing.T) {
	p := startPrivate(t, testInputs, "--faults")
	media := p.start(token.Claims{ViewerID: "mallory", ViewerVersion: 3})
	ended := stallingPlayer(t, media)
	b := openBrowser(t, "about:blank")
	b.open(p.consoleLink(*p.channel.Arn))
	b.until(`document.querySelector('#state').dataset.state == 'live'`)
	b.until(`[...document.querySelectorAll('#charts figure')].some(f => f.innerText.includes('Viewers who stalled'))`)
	b.press("#show-viewers")
	const row = `[...document.querySelectorAll('#viewer-sessions tbody tr')].find(row => row.innerText.includes('mallory'))`
	b.until(row + `?.dataset.stalled == 'true'`)
	for _, want := range []string{"one in the last minute", "2.5 Mbit/s", "2.4 s", "this machine"} {
		b.until(fmt.Sprintf(`%s?.innerText.includes(%q)`, row, want))
	}
	b.until(`/^\d+ now\. \d+ of their players reports? how/.test(document.querySelector('#viewer-count').innerText)`)
	b.until(`document.querySelectorAll('#viewer-sessions tbody tr').length > 1 && document.querySelectorAll('#viewer-sessions button').length == 1`) // the console's own token names no viewer
	b.look("console-viewers")
	b.press("#viewer-sessions button")
	b.look("console-end-viewer")
	b.press("#end-viewer")
	b.until(`document.querySelector('#viewer-sessions') && !` + row)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the viewer who was revoked still watches")
	}
	b.press("dialog .dialog-buttons button")
	b.choose("#actions [name=length]", "5 s")
	b.press("#actions form:nth-of-type(3) button")
	b.until(`document.querySelector('#actions [role=status]')?.innerText == 'Fault requested for 5 s: Starvation.'`)
	b.clean()
}

// stallingPlayer loads a segment and reports once a second that its buffer has run empty,
// until it is refused: then it closes the channel that it returns.
func stallingPlayer(t *testing.T, media string) <-chan struct{} {
	var segment string
	wait(t, "a segment", func() bool {
		segment, _ = uris(ask(t, "GET", media).body)
		return segment != ""
	})
	if answer := ask(t, "GET", media[:strings.LastIndexByte(media, '/')+1]+segment); answer.status != http.StatusOK { // a viewer counts from there on
		t.Fatalf("%s = %d", segment, answer.status)
	}
	done := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			answer, err := tryAsk(ctx, "GET", media+"?CMCD="+url.QueryEscape("bl=900,br=2500,bs,ltc=2400"))
			if err == nil && answer.status == http.StatusForbidden {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second): // as players report
			}
		}
	}()
	return done
}

// An operator finds the sessions of a long history that a filter lets through, and not
// only among those that are listed; takes them away with what the encoder sent; and gets a
// URL for a phone, whose key is shown when that is asked for.
func TestConsoleHistory(t *testing.T) {
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: "BASIC"})
	address := rtmpURL(s.rtmp, key)
	encoder := publish(t, address, append(append([]string{}, testInputs...), testCodecs...)...)
	stream := s.live(channel.Arn)
	encoder.leave()
	encoder.wait()
	s.ended(channel.Arn, stream.StreamId)
	const never = 21 // with the one that was live, more than the console lists at first
	for i := range never {
		if i%9 == 8 { // one stream key begins ten sessions in a burst
			address = rtmpURL(s.rtmp, s.replaceKey(channel.Arn))
		}
		wait(t, "an encoder to connect", func() bool {
			client, err := rtmp.Dial(t.Context(), address, nil)
			if err == nil {
				client.Close()
			}
			return err == nil
		})
	}
	b := openBrowser(t, "about:blank")
	b.open(s.consoleLink(*channel.Arn))
	b.until(`document.querySelectorAll('#sessions li').length == 20 && document.querySelector('#older')`)
	b.choose("#sessions-body select", "Shorter than a minute")
	b.until(fmt.Sprintf(`document.querySelectorAll('#sessions li').length == 1 && document.querySelector('#searched').innerText == '1 of the %d sessions matches.'`, never+1))
	b.look("console-searched")
	b.until(`(make => URL.createObjectURL = blob => (blob.text().then(text => window.saved = text), make(blob)))(URL.createObjectURL.bind(URL))`)
	b.press("#export-csv")
	b.until(`window.saved?.split('\r\n').length == 3`)
	table := strings.Split(b.texts(`[window.saved]`)[0], "\r\n")
	for _, want := range []string{"640x360", "mp4a", *stream.StreamId} {
		if !strings.Contains(table[1], want) {
			t.Errorf("the CSV has no %s:\n%s\n%s", want, table[0], table[1])
		}
	}
	b.press("#export-json")
	b.until(`window.saved.startsWith('{') && JSON.parse(saved).streamSessions[0].truncatedEvents.length >= 4 && JSON.parse(saved).streamSessions[0].metrics.IngestVideoBitrate.length`)
	b.choose("#sessions-body select", "All")
	b.until(`document.querySelectorAll('#sessions li').length == 20 && !document.querySelector('#searched')`)

	b.press("#phone")
	b.until(`document.querySelector('#phone-url').innerText.includes('•') && !document.querySelector('#phone-code')`)
	b.press("#show-phone-code")
	b.until(fmt.Sprintf(`document.querySelector('#phone-url').innerText == %q && document.querySelector('#phone-code path').getAttribute('d').length > 1000`, address))
	b.look("console-phone")
	b.press("#show-phone-code")
	b.until(`!document.querySelector('#phone-code') && !document.body.innerText.includes('sk_')`)
	b.clean()
}

// replaceKey deletes the stream key of a channel and makes another one.
func (s *server) replaceKey(arn *string) (value string) {
	s.t.Helper()
	ctx, api := s.t.Context(), s.ivs()
	keys, err := api.ListStreamKeys(ctx, &awsivs.ListStreamKeysInput{ChannelArn: arn})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, key := range keys.StreamKeys {
		if _, err := api.DeleteStreamKey(ctx, &awsivs.DeleteStreamKeyInput{Arn: key.Arn}); err != nil {
			s.t.Fatal(err)
		}
	}
	made, err := api.CreateStreamKey(ctx, &awsivs.CreateStreamKeyInput{ChannelArn: arn})
	if err != nil {
		s.t.Fatal(err)
	}
	return *made.StreamKey.Value
}
