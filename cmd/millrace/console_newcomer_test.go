package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
)

// What a newcomer does after `make run`, at a desk and on a phone, each time from the start:
// follows the links, makes a second channel that is recorded, publishes to it with the
// command that the console copies, watches it, stops it, and plays the recording. All
// settings are the defaults, those of the program and those of the console's forms.
func TestConsoleNewcomer(t *testing.T) {
	for _, width := range []int64{desk, phone} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			s := startProcess(t, "", func(p *exec.Cmd) {
				p.Env = slices.DeleteFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "MILLRACE_TRANSCODE=") })
			}, "demo")
			n := &newcomer{&consoleTest{s, openBrowser(t, "about:blank"), t}, width}
			n.resize(width)
			n.followsLinks()
			n.makesChannel()
			n.publishes()
		})
	}
}

// A newcomer has a screen of a width.
type newcomer struct {
	*consoleTest
	width int64
}

// sees checks that the page fits the screen. It keeps a screenshot if asked to.
func (n *newcomer) sees(name string) {
	n.t.Helper()
	if wide := n.number(`document.documentElement.scrollWidth`); wide > float64(n.width) {
		n.t.Errorf("%s: %.0f px wide, on a screen of %d px", name, wide, n.width)
	}
	if *screenshots != "" {
		n.keep(filepath.Join(*screenshots, fmt.Sprintf("newcomer-%s-%d.png", name, n.width)))
	}
}

// followsLinks watches the demo on the viewers' page, and then in the console.
func (n *newcomer) followsLinks() {
	line, page := n.waitLog("Console  "), after(n.waitLog("Watch  "), "Watch ")
	n.open(strings.TrimSpace(page))
	n.until(playing)
	n.sees("demo")
	n.open(n.api + "/console/#" + after(line, "/console/#"))
	n.until(`document.querySelector('#channel-name')?.innerText == 'demo' && document.querySelector('#state').dataset.state == 'live' && document.querySelector('#video').currentTime > 1`)
	n.sees("console")
}

func (n *newcomer) makesChannel() {
	n.show("view=recording")
	n.press("#new-recording")
	n.write(`dialog [name=name]`, "archive")
	n.write(`dialog [name=bucket]`, "shows")
	n.press("dialog [type=submit]")
	n.until(`document.querySelector('#recording-configurations li[data-state=ACTIVE]')`)
	n.sees("recording")
	n.show("")
	n.press("#new-channel")
	n.write(`dialog [name=name]`, "stage")
	n.choose(`dialog [name=recording]`, "archive")
	n.sees("new-channel")
	n.press("#save-channel")
	n.until(`!document.querySelector('dialog[open]') && document.querySelector('#channel-name')?.innerText == 'stage'`)
	if c := n.named("stage"); c.Type != types.ChannelTypeStandardChannelType {
		n.t.Errorf("the channel is %+v", c)
	}
}

// publishes also watches, stops the stream and plays its recording.
func (n *newcomer) publishes() {
	command := n.copied("#copy-ffmpeg", "ffmpeg ")
	encoder := startEncoder(n.t, exec.Command("sh", "-c", "exec "+command))
	arn := n.named("stage").Arn
	stream := n.server.live(arn)
	n.until(`document.querySelector('#state').dataset.state == 'live' && document.querySelector('#video').currentTime > 0`)
	n.until(`['1280×720', '852×480', '640×360', '284×160'].every(size => document.querySelector('#renditions')?.innerText.includes(size))`)
	n.sees("live")
	page, here := n.copied("[data-copy=watch-url]", n.api+"/watch/"), n.texts(`[location.href]`)[0]
	n.open(page)
	n.until(playing + ` && document.querySelector('#video').currentTime > (window.from ??= document.querySelector('#video').currentTime) + 1`)
	n.until(`[...document.querySelector('#quality').options].map(o => o.value).join() == 'auto,720p,480p,360p,160p'`)
	n.sees("watch")

	n.open(here)
	n.press("#stop")
	n.press("#stop-yes")
	n.ended(arn, stream.StreamId)
	encoder.wait()
	n.until(`document.querySelector('#state').dataset.state == 'ended'`)
	n.press("#recordings [data-state=ended] button")
	n.until(`(v => v?.videoWidth && v.currentTime > (window.from ??= v.currentTime) + 1)(document.querySelector('dialog.recording video'))`)
	n.sees("recorded")
}

// copied presses a button that copies a text with a prefix, and returns the text, as it is
// pasted elsewhere.
func (b *browser) copied(selector, prefix string) string {
	b.t.Helper()
	if _, err := chromedp.CallBrowser(b.ctx, cdpbrowser.SetPermission, cdpbrowser.SetPermissionParams{
		Permission: &cdpbrowser.PermissionDescriptor{Name: "clipboard-read"}, Setting: cdpbrowser.PermissionSettingGranted}); err != nil {
		b.t.Fatal(err)
	}
	b.press(selector)
	b.until(fmt.Sprintf(`(navigator.clipboard.readText().then(text => window.pasted = text, () => {}), window.pasted?.startsWith(%q))`, prefix))
	return b.texts(`[window.pasted]`)[0]
}
