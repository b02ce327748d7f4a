package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/chromedp/chromedp"
)

// What a newcomer does in the console, on a server without a channel: make one,
// publish to it with the key that is shown, send metadata, stop it, make it
// private and delete it.
func TestConsoleChannel(t *testing.T) {
	s := startServer(t, "", "--faults")
	b := openBrowser(t, "about:blank")
	b.open(s.consoleLink(""))
	b.until(`document.querySelector('#no-channels').checkVisibility()`)
	b.press("#new-channel")
	b.until(`document.querySelector('dialog[open] [name=name]')`)
	b.look("console-new-channel")
	b.write(`dialog [name=name]`, "not a name!")
	b.press("#save-channel")
	b.until(`document.querySelector('dialog [name=name]:invalid').value == 'not a name!'`)
	b.write(`dialog [name=name]`, "stage")
	b.press("dialog [value=BASIC]")
	b.write(`dialog [name=tags]`, "team")
	b.press("#save-channel")
	b.until(`document.querySelector('dialog .wrong').innerText.includes('team')`)
	b.write(`dialog [name=tags]`, "team=live")
	b.press("#save-channel")
	b.until(`!document.querySelector('dialog[open]') && document.querySelector('#channel-name').innerText == 'stage'`)
	list, err := s.ivs().ListChannels(t.Context(), &awsivs.ListChannelsInput{})
	if err != nil || len(list.Channels) != 1 || list.Channels[0].Tags["team"] != "live" || list.Channels[0].Type != "BASIC" {
		t.Fatalf("ListChannels = %+v, %v", list, err)
	}
	arn := list.Channels[0].Arn

	b.press("#show-key")
	b.until(`document.querySelector('#stream-key').innerText.startsWith('sk_')`)
	old := b.texts(`[document.querySelector('#stream-key').innerText]`)[0]
	b.press("#replace-key")
	b.press("dialog[open] .danger")
	b.until(`!document.querySelector('dialog[open]')`)
	b.press("#show-key")
	b.until(fmt.Sprintf(`(k => k.startsWith('sk_') && k != %q)(document.querySelector('#stream-key').innerText)`, old))
	shown := b.texts(`['#ingest-url', '#stream-key', '#watch-url', '#embed'].map(id => document.querySelector(id).innerText)`)
	if !strings.HasPrefix(shown[2], s.api+"/watch/") || !strings.Contains(shown[3], `src="`+shown[2]+`"`) {
		t.Errorf("the page is %q, embedded by %q", shown[2], shown[3])
	}

	encoder := publish(t, shown[0]+shown[1], slices.Concat(testInputs, testCodecs)...)
	stream := s.live(arn)
	b.until(`document.querySelector('#state').dataset.state == 'live' && document.querySelector('#video').currentTime > 0`)
	b.write(`#metadata`, "goal")
	b.press("#actions button")
	b.until(`document.querySelector('#actions [role=status]').innerText == 'Metadata sent.' && !document.querySelector('#metadata').value`)
	b.press("#actions form:nth-of-type(3) button")
	b.until(`document.querySelector('#actions [role=status]').innerText == 'Requested for 20 s: starvation.'`)
	b.until(`document.querySelector('#health').dataset.health == 'STARVING'`)
	b.look("console-live")

	b.press("#stop")
	b.press("#stop-yes")
	s.ended(arn, stream.StreamId)
	encoder.wait()
	b.until(`document.querySelector('#state').dataset.state == 'ended'`)
	b.press("#edit-channel")
	b.press("dialog [name=authorized]")
	b.press("#save-channel")
	b.until(`!document.querySelector('dialog[open]')`)
	if out, err := s.ivs().GetChannel(t.Context(), &awsivs.GetChannelInput{Arn: arn}); err != nil || !out.Channel.Authorized || *out.Channel.Name != "stage" {
		t.Errorf("after the change GetChannel = %+v, %v", out, err)
	}
	b.press("#edit-channel")
	b.press("#delete-channel")
	b.press("dialog[open] .dialog-buttons .danger")
	b.until(`document.querySelector('#no-channels').checkVisibility() && document.querySelector('#channel').hidden`)
	b.clean()
}

// press clicks an element when it is there.
func (b *browser) press(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(e => e && e.checkVisibility() && !e.disabled && (e.click(), true))(document.querySelector(%q)) || false`, selector))
}

// write types text into a field in place of what is in it.
func (b *browser) write(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q) && (document.querySelector(%[1]q).select(), true)`, selector))
	if err := chromedp.Do(b.ctx, chromedp.SendKeys(chromedp.CSS(selector), text)); err != nil {
		b.t.Fatal(err)
	}
}
