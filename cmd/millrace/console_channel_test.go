package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/millrace/millrace/internal/token"
)

// A consoleTest is one server and one browser that is signed in to it, for what
// operators do there one after the other.
type consoleTest struct {
	*server
	*browser
	t *testing.T // of the part that runs
}

// part does something on a screen that is so many pixels wide.
func (c *consoleTest) part(name string, width int64, f func(*consoleTest)) bool {
	return c.t.Run(name, func(t *testing.T) {
		s, b := *c.server, *c.browser
		s.t, b.t = t, t
		b.resize(width)
		f(&consoleTest{&s, &b, t})
		b.clean()
	})
}

const narrow, phone, desk = 360, 390, 1400 // px

// A consolePart is a part of the test, on a screen of one width.
type consolePart struct {
	name  string
	width int64
	do    func(*consoleTest)
}

// run does the parts in order, until one fails: the next would not find what it makes.
func (c *consoleTest) run(parts ...consolePart) {
	for _, p := range parts {
		if !c.part(p.name, p.width, p.do) {
			return
		}
	}
}

// What operators do in the console, beginning with the link that `millrace demo` prints.
func TestConsole(t *testing.T) {
	t.Parallel() // it mostly waits
	data := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(data, "buckets"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "buckets", "broken"), nil, 0o644); err != nil { // no folder can be made in its place
		t.Fatal(err)
	}
	hook := newRefusingHook(t)
	s := startCommand(t, data, "demo", "--transcode", "off", "--faults", "--event-target", "hook="+hook.URL, "--event-webhook-private", "--event-max-age", "1s")
	c := &consoleTest{s, openBrowser(t, "about:blank", knowsElsewhere()), t}
	c.run(
		consolePart{"elsewhere", desk, operatorIsElsewhere},
		consolePart{"demo", desk, operatorRunsDemo},
		consolePart{"channel", phone, operatorMakesChannel},
		consolePart{"recording", phone, operatorRecords},
		consolePart{"stream", phone, operatorPublishes},
		consolePart{"access", desk, operatorRestrictsAccess},
		consolePart{"sessions", phone, operatorReadsSessions},
		consolePart{"events", desk, func(c *consoleTest) { operatorSendsEventsAgain(c, hook) }},
		consolePart{"server", desk, operatorReadsServer},
		consolePart{"delete", phone, operatorDeletes},
	)
}

// named is the channel with a name.
func (c *consoleTest) named(name string) types.ChannelSummary {
	c.t.Helper()
	list, err := c.ivs().ListChannels(c.t.Context(), &awsivs.ListChannelsInput{FilterByName: &name})
	if err != nil || len(list.Channels) != 1 {
		c.t.Fatalf("ListChannels = %+v, %v", list, err)
	}
	return list.Channels[0]
}

// show follows the link to a view.
func (c *consoleTest) show(view string) {
	c.t.Helper()
	c.press(fmt.Sprintf(`#views a[href="#%s"]`, view))
}

// showChannel goes to the view of a channel.
func (c *consoleTest) showChannel(name string) {
	c.t.Helper()
	c.show("")
	c.until(fmt.Sprintf(`(row => row && (row.click(), true))([...document.querySelectorAll('#channel-list button')].find(row => row.checkVisibility() && row.innerText.includes(%q)))`, name))
	c.until(fmt.Sprintf(`document.querySelector('#channel-name').innerText == %q && document.querySelector('#channel').checkVisibility()`, name))
}

// operatorRunsDemo signs in, with the link that the demo prints and without, and stops the
// stream, which comes back.
func operatorRunsDemo(b *consoleTest) {
	line := b.waitLog("Console  ")
	waitPlayable(b.t, b.api+"/"+after(b.waitLog("Playback  "), b.api+"/"))
	for _, want := range []string{" channel create mine --insecure-ingest --http", "ffmpeg at rtmp://" + b.rtmp + "/app/ with", `eval "$(`, "env --http", "aws ivs get-stream --channel-arn arn:aws:ivs:"} {
		if !strings.Contains(b.log.String(), want) {
			b.t.Errorf("the demo does not print %q:\n%s", want, b.log)
		}
	}
	b.open(b.api + "/console/")
	b.until(`document.activeElement.id == 'key'`)
	b.write("#key", "AKIAWRONG")
	b.write("#secret", "wrong")
	b.press("#signin-form button")
	b.until(`document.querySelector('#problem').checkVisibility() && document.querySelector('#key').value == 'AKIAWRONG' && document.querySelector('#secret').value == 'wrong'`)
	b.look("console-sign-in")
	b.tabs()
	b.open("about:blank") // from one fragment to another, the page would stay
	b.open(b.api + "/console/#" + after(line, "/console/#"))
	b.until(`document.querySelector('#channel-name').innerText == 'demo' && document.querySelector('#state').dataset.state == 'live' && document.querySelector('#video').currentTime > 1`)
	arn := b.named("demo").Arn
	first := b.server.live(arn)
	b.press("#stop")
	b.press("#stop-yes")
	b.ended(arn, first.StreamId)
	second := b.server.live(arn)
	b.until(fmt.Sprintf(`document.querySelector('#state').dataset.state == 'live' && document.querySelector('#stream-id').textContent == %q && document.querySelector('#video').currentTime > 1`, *second.StreamId))

	const problem = `document.querySelector('#problem').innerText`
	b.press("#sign-out")
	b.until(`document.querySelector('#signin') && sessionStorage.length == 0 && !location.hash`)
	b.open("about:blank")
	b.open(b.api + "/console/#" + after(line, "/console/#"))
	b.until(problem + `.startsWith('This sign-in link has been used') && sessionStorage.length == 0 && !location.hash.includes('sign-in')`)
	b.signIn()
	b.until(`document.querySelector('#channel-list').childElementCount == 1 && !` + problem)
	b.clean("status of 403") // of the wrong key, and of the link
}

// after returns the rest of a line after a text.
func after(line, text string) string {
	_, rest, _ := strings.Cut(line, text)
	return rest
}

func operatorMakesChannel(b *consoleTest) {
	b.tabs()
	b.press("#new-channel")
	const inDialog = `document.activeElement.closest('dialog[open]')`
	b.until(`document.activeElement == document.querySelector('dialog[open] [name=name]')`)
	b.look("console-new-channel")
	b.key(kb.Escape)
	b.until(`!document.querySelector('dialog[open]') && document.activeElement.id == 'new-channel'`)
	b.key(kb.Enter)
	b.until(inDialog)
	for range 30 { // more than there are
		b.key(kb.Tab)
		b.until(inDialog + ` || document.activeElement == document.body`) // or the browser's own bar
	}
	b.press("dialog .dialog-buttons .plain")
	b.until(`!document.querySelector('dialog[open]') && document.activeElement.id == 'new-channel'`)
	b.press("#new-channel")
	b.write(`dialog [name=name]`, "not a name!")
	b.press("#save-channel")
	b.until(`document.querySelector('dialog [name=name]:invalid').value == 'not a name!'`)
	b.write(`dialog [name=name]`, "stage")
	b.press("dialog [value=FRAGMENTED_MP4]")
	b.until(`document.querySelectorAll('dialog [name=multitrack]').length == 3 && !document.querySelector('dialog [name=multitrackResolution]')`)
	b.press("dialog [value=ALLOW]")
	b.until(`document.querySelector('dialog [name=multitrackResolution]:checked')?.value == 'FULL_HD'`)
	b.press("dialog [value=TS]")
	b.until(`!document.querySelector('dialog [name=multitrack]')`)
	b.press("dialog [value=BASIC]")
	b.write(`dialog [name=tags]`, "team")
	b.press("#save-channel")
	b.until(`document.querySelector('dialog .wrong')?.innerText.includes('team')`)
	b.write(`dialog [name=tags]`, "team=live")
	b.press("#save-channel")
	b.until(`!document.querySelector('dialog[open]') && document.querySelector('#channel-name')?.innerText == 'stage'`)
	if c := b.named("stage"); c.Tags["team"] != "live" || c.Type != "BASIC" {
		b.t.Fatalf("the channel is %+v", c)
	}
}

// operatorRecords makes a recording configuration that fails, and one that does
// not, and has the channel recorded.
func operatorRecords(b *consoleTest) {
	b.show("view=recording")
	b.press("#new-recording")
	b.write(`dialog [name=bucket]`, "broken")
	b.press("dialog [type=submit]")
	b.until(`document.querySelector('#recording-configurations [data-state=CREATE_FAILED] .wrong')?.innerText.includes('broken')`)
	b.press("#new-recording")
	b.write(`dialog [name=name]`, "archive")
	b.write(`dialog [name=bucket]`, "shows")
	b.press("dialog [value=CUSTOM]")
	b.until(`document.querySelector('[name=rendition-HD]').checked`)
	b.press("dialog [value=ALL]")
	b.write(`dialog [name=intervalSeconds]`, "10")
	b.look("console-new-recording")
	b.press("dialog [type=submit]")
	b.until(`document.querySelector('#recording-configurations li[data-state=ACTIVE]')?.innerText.includes('a thumbnail every 10 s')`)
	b.choose("[data-state=ACTIVE] .attach select", "stage")
	b.press("[data-state=ACTIVE] .attach button")
	b.until(`document.querySelector('#recording-configurations li[data-state=ACTIVE]')?.innerText.includes('Used by stage')`)
	if c := b.named("stage"); !strings.Contains(aws.ToString(c.RecordingConfigurationArn), ":recording-configuration/") {
		b.t.Errorf("the channel is %+v", c)
	}
	b.press("#new-ads")
	b.look("console-new-ads")
	b.write(`dialog [name=name]`, "breaks")
	b.write(`dialog [name=arns]`, "arn:aws:mediatailor:us-west-2:123456789012:playbackConfiguration/spots")
	b.press("dialog [type=submit]")
	b.until(`document.querySelector('#ad-configurations .items')?.innerText.includes('playbackConfiguration/spots')`)
	b.retags("breaks", func() map[string]string {
		ads, err := b.ivs().ListAdConfigurations(b.t.Context(), &awsivs.ListAdConfigurationsInput{})
		if err != nil || len(ads.AdConfigurations) != 1 {
			b.t.Fatalf("the ad configurations are %+v, %v", ads, err)
		}
		return ads.AdConfigurations[0].Tags
	})
	b.choose("#ad-configurations .attach select", "stage")
	b.press("#ad-configurations .attach button")
	b.until(`document.querySelector('#ad-configurations .items')?.innerText.includes('Used by stage')`)
	b.look("console-recording")
	b.tabs()
	b.showChannel("stage")
}

// operatorPublishes publishes with the key that is shown, sends metadata, stops the stream,
// and has a recording.
func operatorPublishes(b *consoleTest) {
	b.press("#show-key")
	b.until(`document.querySelector('#stream-key')?.innerText.startsWith('sk_')`)
	old := b.texts(`[document.querySelector('#stream-key')?.innerText]`)[0]
	b.press("#replace-key")
	b.look("console-replace-key")
	b.press("dialog[open] .danger")
	b.until(`!document.querySelector('dialog[open]')`)
	b.press("#show-key")
	b.until(fmt.Sprintf(`(k => k.startsWith('sk_') && k != %q)(document.querySelector('#stream-key')?.innerText)`, old))
	shown := b.texts(`['#ingest-url', '#stream-key', '#watch-url', '#embed'].map(id => document.querySelector(id)?.innerText)`)
	if !strings.HasPrefix(shown[2], b.api+"/watch/") || !strings.Contains(shown[3], `src="`+shown[2]+`"`) || !strings.Contains(shown[3], "title=") {
		b.t.Errorf("the page is %q, embedded by %q", shown[2], shown[3])
	}

	arn := b.named("stage").Arn
	command := b.texts(`[document.querySelector('#ffmpeg')?.innerText]`)[0]
	if !strings.Contains(command, shown[0]+shown[1]) {
		b.t.Fatalf("the command %q does not publish to %q", command, shown[0]+shown[1])
	}
	small := strings.NewReplacer("1280x720", "640x360", "2500k", "800k") // the machine may be slow
	encoder := startEncoder(b.t, exec.Command("sh", "-c", "exec "+small.Replace(command)))
	stream := b.server.live(arn)
	b.until(`document.querySelector('#state').dataset.state == 'live' && document.querySelector('#video').currentTime > 0`)
	b.until(`document.querySelector('#renditions')?.innerText.includes('640×360')`)
	here := b.texts(`[location.href]`)[0]
	b.playsWithoutSigningIn()
	b.open(here)
	b.write(`#metadata`, "goal")
	b.press("#actions button")
	b.until(`document.querySelector('#actions [role=status]')?.innerText == 'Metadata sent.' && !document.querySelector('#metadata').value`)
	b.press("#actions form:nth-of-type(2) button")
	b.until(`document.querySelector('#actions [role=status]')?.innerText == 'An ad break of 15 s has started.'`)
	b.show("view=overview")
	const tiles = `[...document.querySelectorAll('.wall .tile')]`
	b.until(tiles + `.length == 2 && ` + tiles + `.every(tile => tile.innerText.includes('bit/s')) && document.querySelector('.totals')?.innerText.includes('of 2 channels')`)
	b.until(`document.querySelector('#machine')?.innerText.includes('% of')`)
	b.look("console-overview")
	b.tabs()
	for _, path := range []string{"streams", "server", "events/targets", "buckets/shows", "buckets/broken"} {
		b.call("GET", "/_millrace/"+path) // checks that the answer is as described
	}
	for _, path := range []string{"health", "metrics", "viewers", "recordings"} {
		b.call("GET", "/_millrace/channels/"+(*arn)[strings.LastIndex(*arn, "/")+1:]+"/"+path)
	}
	b.until(`(tile => tile && (tile.click(), true))(` + tiles + `.find(tile => tile.innerText.includes('stage')))`)
	b.until(`document.querySelector('#channel-name').innerText == 'stage' && document.querySelector('#state').checkVisibility() && document.querySelector('#state').dataset.state == 'live'`)
	b.press("#actions form:nth-of-type(3) button")
	b.until(`document.querySelector('#actions [role=status]')?.innerText == 'Fault requested for 20 s: Starvation.'`)
	b.until(`document.querySelector('#health').dataset.health == 'STARVING'`)
	b.look("console-live")

	b.press("#stop")
	b.until(`document.activeElement.textContent == 'Keep it on air' && document.querySelector('dialog[open] h2')?.textContent == 'Stop the stream of stage?'`)
	b.look("console-stop")
	b.key(kb.Escape)
	b.until(`!document.querySelector('dialog[open]') && document.activeElement.id == 'stop'`)
	if now := b.server.live(arn); *now.StreamId != *stream.StreamId {
		b.t.Error("the stream was stopped without being confirmed")
	}
	for _, key := range []string{kb.Enter, kb.Tab, kb.Enter} {
		b.key(key)
	}
	b.ended(arn, stream.StreamId)
	encoder.wait()
	b.until(`document.querySelector('#state').dataset.state == 'ended' && document.querySelector('#notice').innerText.includes('The stream ended') && !document.querySelector('#stop')`)
	b.press("#recordings [data-state=ended] button")
	const plays = `(v => v && v.videoWidth == 640 && v.currentTime > (window.from ??= v.currentTime) + 1)(document.querySelector('dialog.recording video'))`
	b.until(plays)
	b.look("console-recording-played")
	b.until(`(delete window.from, document.querySelector('dialog.recording video').currentTime = 0, document.querySelector('dialog.recording video').play(), true)`)
	b.resize(desk)
	b.until(plays)
	b.press("dialog.recording .card-head button")
	b.until(`!document.querySelector('dialog[open]')`)
}

// playsWithoutSigningIn plays a playback URL in the console, which needs no credentials
// for that, and waits for one that is offline.
func (c *consoleTest) playsWithoutSigningIn() {
	c.t.Helper()
	play := func(playback string) string {
		_, path, _ := strings.Cut(playback, "/api/")
		return c.api + "/console/#play=" + url.QueryEscape("/api/"+path)
	}
	list, err := c.ivs().GetChannel(c.t.Context(), &awsivs.GetChannelInput{Arn: c.named("stage").Arn})
	if err != nil {
		c.t.Fatal(err)
	}
	c.open("about:blank")
	c.open(play(*list.Channel.PlaybackUrl))
	c.until(`document.querySelector('#state').dataset.state == 'live' && document.querySelector('#video').currentTime > 1 && Number(document.querySelector('#latency').dataset.seconds) > 0.1`)
	c.until(`!document.querySelector('#channel .title-buttons')`) // what only operators may do
	c.look("console-play")
	c.open("about:blank")
	c.open(play(strings.Replace(*list.Channel.PlaybackUrl, ".channel.", ".channel.none", 1)))
	c.until(`document.querySelector('#notice-title').innerText == 'Offline'`)
	c.clean()
	c.open("about:blank")
}

// operatorReadsSessions filters the history of two sessions, compares them and
// takes it away.
func operatorReadsSessions(b *consoleTest) {
	b.showChannel("stage")
	b.until(`document.querySelectorAll('#sessions button').length == 2`)
	b.choose("#sessions-body select", "Never live")
	b.until(`!document.querySelector('#sessions button') && document.querySelector('#sessions-body [role=status]')?.innerText == 'None of the 2 sessions matches.'`)
	b.choose("#sessions-body select", "All")
	b.press("#sessions li:nth-child(1) [name=compare]")
	b.press("#sessions li:nth-child(2) [name=compare]")
	b.press("#compare")
	b.until(`document.querySelectorAll('.comparison thead th').length == 2 && document.querySelector('.comparison')?.innerText.includes('The encoder fell behind')`)
	b.look("console-compare")
	b.press("dialog .dialog-buttons button")
	b.until(`(make => URL.createObjectURL = blob => (blob.text().then(text => window.saved = text), make(blob)))(URL.createObjectURL.bind(URL))`)
	b.press("#export-csv")
	b.until(`window.saved?.split('\r\n').length == 4 && saved.startsWith('streamId,startTime,endTime,')`)
	b.press("#export-json")
	b.until(`window.saved.startsWith('{') && JSON.parse(saved).streamSessions.length == 2`)
}

// operatorRestrictsAccess makes the channel private, a key pair and a token in the
// browser, and a restriction policy; watches with the token, and revokes the viewer.
func operatorRestrictsAccess(b *consoleTest) {
	address := makeChannelPrivate(b)
	b.show("view=access")
	key := makeKeyPair(b)
	b.open("about:blank") // the tab forgets the key with the page
	b.open(b.api + "/console/#view=access")
	b.give("#tokens [type=file]", key)
	page := signToken(b)
	makePolicy(b)
	b.look("console-access")
	b.tabs()

	// The token opens the viewers' page, until its viewer is revoked.
	encoder := publish(b.t, address, slices.Concat(testInputs, testCodecs)...)
	b.server.live(b.named("stage").Arn)
	here := b.texts(`[location.href]`)[0]
	b.open(page)
	b.until(`document.querySelector('#video').videoWidth == 640 && document.querySelector('#video').currentTime > 1`)
	b.open(here)
	b.write(`#revocation [name=viewers]`, "mallory")
	b.press("#revoke")
	b.until(`document.querySelector('#revocation [role=status]')?.innerText == 'Revoked: mallory.'`)
	b.open(page)
	b.until(`document.querySelector('#notice-title')?.innerText == 'You cannot watch this stream'`)
	b.open(here)
	encoder.leave()
	encoder.wait()
	b.until(`document.querySelector('#key-pairs .items')`)
}

// makeChannelPrivate returns the URL that the channel's encoder publishes to.
func makeChannelPrivate(b *consoleTest) (address string) {
	b.press("#edit-channel")
	b.until(`document.querySelector('dialog [name=recording]').selectedOptions[0].label == 'archive'`)
	b.look("console-edit-channel")
	b.press("dialog [name=authorized]")
	b.press("#save-channel")
	b.until(`!document.querySelector('dialog[open]')`)
	c := b.named("stage")
	if !c.Authorized || *c.Name != "stage" {
		b.t.Errorf("after the change the channel is %+v", c)
	}
	b.press("#show-key")
	b.until(`document.querySelector('#stream-key')?.innerText.startsWith('sk_')`)
	return strings.Join(b.texts(`[document.querySelector('#ingest-url')?.innerText, document.querySelector('#stream-key')?.innerText]`), "")
}

// makeKeyPair makes one in the browser, whose private key is shown once. It returns a file
// with that.
func makeKeyPair(b *consoleTest) (file string) {
	b.press("#import-key")
	b.write(`dialog [name=material]`, "-----BEGIN PRIVATE KEY-----")
	b.press("dialog [type=submit]")
	b.until(`document.querySelector('dialog .wrong')?.innerText.includes('paste the public key')`)
	b.look("console-import-key")
	b.press("dialog[open] .plain")
	b.press("#make-key")
	b.write(`dialog [name=name]`, "tokens")
	b.press("dialog [type=submit]")
	b.until(`document.querySelector('dialog [data-secret]')?.innerText.startsWith('-----BEGIN PRIVATE KEY-----')`)
	b.look("console-new-key")
	private := b.texts(`[document.querySelector('dialog [data-secret]')?.innerText]`)[0]
	if _, err := token.ParsePrivateKey([]byte(private)); err != nil {
		b.t.Errorf("the private key that is shown %v", err)
	}
	b.press("#key-done")
	b.until(`document.querySelector('#key-pairs .items')?.innerText.includes('tokens') && !document.body.innerHTML.includes('PRIVATE KEY')`)
	if kept := b.texts(`[JSON.stringify({...sessionStorage, ...localStorage})]`)[0]; strings.Contains(kept, "PRIVATE") {
		b.t.Errorf("the tab keeps %s", kept)
	}
	b.press(`[aria-label="Tags of tokens"]`)
	b.write(`dialog [name=tags]`, "team=live")
	b.look("console-tags")
	b.press("dialog [type=submit]")
	b.until(`document.querySelector('#key-pairs .items')?.innerText.includes('Tags: team=live')`)
	file = filepath.Join(b.t.TempDir(), "tokens.pem")
	if err := os.WriteFile(file, []byte(private), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return file
}

// signToken signs a token for the viewer mallory, and returns the page that it opens.
func signToken(b *consoleTest) (page string) {
	b.write(`#tokens [name=viewerId]`, "mallory")
	b.write(`#tokens [name=minutes]`, "60")
	b.press("#sign-token")
	b.until(`document.querySelector('#tokens .wrong')?.innerText.includes('10 minutes')`)
	b.write(`#tokens [name=minutes]`, "5")
	b.press("#sign-token")
	b.until(`document.querySelector('#made-token a')`)
	return b.texts(`[document.querySelector('#made-token a').href]`)[0]
}

func makePolicy(b *consoleTest) {
	b.press("#new-policy")
	b.write(`dialog [name=name]`, "home")
	b.write(`dialog [name=country]`, "switzerl")
	b.until(`document.querySelector('dialog .countries').innerText.trim().startsWith('Switzerland')`)
	b.until(`!document.querySelector('dialog [name=country]').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }))`) // and the form is not sent
	b.until(`document.querySelector('dialog .chips')?.innerText.includes('Switzerland') && !document.querySelector('dialog [name=country]').value`)
	b.look("console-new-policy")
	b.write(`dialog [name=origins]`, "https://example.com")
	b.press("dialog [type=submit]")
	b.until(`document.querySelector('#policies .items')?.innerText.includes('Countries: Switzerland')`)
	b.retags("home", func() map[string]string {
		list, err := b.ivs().ListPlaybackRestrictionPolicies(b.t.Context(), &awsivs.ListPlaybackRestrictionPoliciesInput{})
		if err != nil || len(list.PlaybackRestrictionPolicies) != 1 {
			b.t.Fatalf("the policies are %+v, %v", list, err)
		}
		return list.PlaybackRestrictionPolicies[0].Tags
	})
	policies, err := b.ivs().ListPlaybackRestrictionPolicies(b.t.Context(), &awsivs.ListPlaybackRestrictionPoliciesInput{})
	if err != nil || len(policies.PlaybackRestrictionPolicies) != 1 || !slices.Equal(policies.PlaybackRestrictionPolicies[0].AllowedCountries, []string{"CH"}) ||
		!slices.Equal(policies.PlaybackRestrictionPolicies[0].AllowedOrigins, []string{"https://example.com"}) {
		b.t.Errorf("the policies are %+v, %v", policies, err)
	}
}

// retags edits the tags of a resource that has none and is shown with a name. A wrong line
// takes no tag away.
func (c *consoleTest) retags(name string, tags func() map[string]string) {
	c.t.Helper()
	edit := func(text string) {
		c.press(fmt.Sprintf(`[aria-label="Edit %s"]`, name))
		c.write(`dialog [name=tags]`, text)
		c.press("dialog [type=submit]")
	}
	edit("team=live\nstage=1")
	c.until(`!document.querySelector('dialog[open]') && [...document.querySelectorAll('.items > li')].some(li => li.innerText.includes('Tags: team=live, stage=1') || li.innerText.includes('Tags: stage=1, team=live'))`)
	edit("team\nstage=1")
	c.until(`document.querySelector('dialog .wrong')?.innerText == 'Tags: “team” is not key=value.'`)
	if got := tags(); len(got) != 2 || got["team"] != "live" || got["stage"] != "1" {
		c.t.Errorf("after a wrong line, %s has the tags %v", name, got)
	}
	c.write(`dialog [name=tags]`, "stage=2")
	c.press("dialog [type=submit]")
	c.until(`!document.querySelector('dialog[open]')`)
	if got := tags(); len(got) != 1 || got["stage"] != "2" {
		c.t.Errorf("%s has the tags %v", name, got)
	}
}

// deleteAll deletes everything that a card lists.
func (c *consoleTest) deleteAll(card string) {
	c.t.Helper()
	c.until(fmt.Sprintf(`document.querySelector('%s .items > li')`, card))
	for left := int(c.number(fmt.Sprintf(`document.querySelectorAll('%s .items > li').length`, card))); left > 0; left-- {
		c.press(card + " .items > li .danger")
		c.press("dialog[open] .danger")
		c.until(fmt.Sprintf(`!document.querySelector('dialog[open]') && document.querySelectorAll('%s .items > li').length == %d`, card, left-1))
	}
}

// give has a field take a file.
func (c *consoleTest) give(selector, file string) {
	c.t.Helper()
	c.until(fmt.Sprintf(`document.querySelector(%q)`, selector))
	if err := chromedp.Do(c.ctx, chromedp.SetUploadFiles(chromedp.CSS(selector), []string{file})); err != nil {
		c.t.Fatal(err)
	}
}

// A refusingHook takes no event until it is opened.
type refusingHook struct {
	*httptest.Server
	open atomic.Bool
	took atomic.Int64
}

func newRefusingHook(t *testing.T) *refusingHook {
	h := &refusingHook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.open.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		h.took.Add(1)
	}))
	t.Cleanup(h.Close)
	return h
}

// operatorSendsEventsAgain finds events that a target did not take, and sends them
// again when it does.
func operatorSendsEventsAgain(b *consoleTest, hook *refusingHook) {
	b.show("view=events")
	b.until(`document.querySelector('#targets summary')?.innerText.includes('dead letter')`)
	b.press("#targets summary")
	b.until(`document.querySelector('#targets details .wrong')?.innerText.includes('500')`)
	b.look("console-events")
	b.tabs()
	hook.open.Store(true)
	b.press("#targets details button")
	wait(b.t, "one event at the target", func() bool { return hook.took.Load() > 0 })
	b.press("#targets > .items > li > .item-buttons button")
	b.until(`!document.querySelector('#targets summary')`)
}

func operatorReadsServer(b *consoleTest) {
	// A link is followed while the view before it still writes its own address.
	b.until(`(location.hash = '#view=server', history.replaceState(null, '', '#view=events'), true)`)
	b.until(`location.hash == '#view=server'`)
	b.until(`document.querySelector('#quotas')?.innerText.includes('2 of 5000') && document.querySelector('#quotas')?.innerText.includes('1 of 3')`)
	b.until(`document.querySelector('#machine')?.innerText.includes('% of') && /\d of \d+/.test(document.querySelector('#machine')?.innerText)`)
	b.look("console-server")
	b.tabs()
}

func operatorDeletes(b *consoleTest) {
	b.showChannel("stage")
	b.press("#edit-channel")
	b.press("#delete-channel")
	b.press("dialog[open] .dialog-buttons .danger")
	b.until(`document.querySelectorAll('#channel-list li').length == 1 && document.querySelector('#channel-name').innerText == 'demo'`)
	b.show("view=access")
	b.deleteAll("#key-pairs")
	b.deleteAll("#policies")
	b.show("view=recording")
	b.deleteAll("#recording-configurations")
	b.deleteAll("#ad-configurations")
	demo := b.named("demo").Arn
	wait(b.t, "the demo's channel to be deleted", func() bool { // its encoder comes back
		b.ivs().StopStream(b.t.Context(), &awsivs.StopStreamInput{ChannelArn: demo})
		_, err := b.ivs().DeleteChannel(b.t.Context(), &awsivs.DeleteChannelInput{Arn: demo})
		return err == nil
	})
	b.open(b.consoleLink(""))
	b.until(`document.querySelector('#no-channels')?.checkVisibility() && document.querySelector('#channel').hidden`)
	b.clean("status of 404") // for a channel that is deleted while the page asks for it
}

// focused collects what the Tab key focuses on a page, in order and once each, and
// of that what shows no outline. tabbable is what it is to reach: of radio buttons
// with one name, the browser gives the focus to one.
const focused = `(() => {
	window.tabbed = [], window.unmarked = []
	addEventListener('focusin', ({ target }) => {
		if (tabbed.includes(target)) return
		tabbed.push(target)
		if (getComputedStyle(target).outlineStyle == 'none') unmarked.push(target)
	}, { signal: (window.tabbing = new AbortController()).signal })
	document.body.tabIndex = -1
	document.body.focus()
	document.body.removeAttribute('tabindex')
	window.nameOf = e => e.id || e.ariaLabel || e.name || e.innerText || e.outerHTML
	window.tabbable = () => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, video[controls], [tabindex="0"]')]
		.filter(e => e.checkVisibility({ visibilityProperty: true }) && !e.disabled && e.tabIndex >= 0)
		.filter(e => e.type != 'radio' || e.checked)
	return tabbable().length
})()`

// tabs checks that the Tab key goes through all controls of a page in the order of
// the document, and that each shows that it has the focus. Controls may appear, or become
// enabled, while that is tried: then it is tried again.
func (b *browser) tabs() {
	b.t.Helper()
	var wrong []string
	for range 5 {
		if wrong = b.wrongTabs(); len(wrong) == 0 {
			return
		}
	}
	b.t.Errorf("the Tab key: %q", wrong)
}

// wrongTabs returns what is wrong with one way through the page.
func (b *browser) wrongTabs() []string {
	b.t.Helper()
	const within = 30 // stops in the browser's own controls of the video and of dates
	for range int(b.number(focused)) + within {
		b.key(kb.Tab)
	}
	return b.texts(`(() => {
		tabbing.abort()
		const found = tabbable().filter(e => !tabbed.includes(e)).map(e => 'Tab does not reach ' + nameOf(e))
		for (const [i, e] of tabbed.entries()) {
			if (i && e.isConnected && tabbed[i - 1].isConnected && e.compareDocumentPosition(tabbed[i - 1]) & Node.DOCUMENT_POSITION_FOLLOWING)
				found.push(nameOf(e) + ' comes after ' + nameOf(tabbed[i - 1]))
		}
		return found.concat(unmarked.map(e => 'no outline: ' + nameOf(e)))
	})()`)
}

// enter presses Enter on an element when it is there.
func (b *browser) enter(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(e => e?.checkVisibility() && !e.matches(':disabled, [aria-disabled=true]') && (e.focus(), true))(document.querySelector(%q))`, selector))
	b.key(kb.Enter)
}

// key presses a key where the focus is.
func (b *browser) key(key string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent(key)); err != nil {
		b.t.Fatal(err)
	}
}

// choose chooses the option with a label of a list.
func (b *browser) choose(selector, option string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(e => e && [...e.options].some(o => o.label == %[2]q && (e.value = o.value, e.dispatchEvent(new Event('change', { bubbles: true })))))(document.querySelector(%[1]q))`, selector, option))
}

// press clicks an element when it is there and nothing covers it.
func (b *browser) press(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(e => {
		if (!e?.checkVisibility() || e.matches(':disabled, [aria-disabled=true]')) return false
		e.scrollIntoView({ block: 'center', inline: 'center' })
		const { x, y, width, height } = e.getBoundingClientRect()
		if (!e.contains(document.elementFromPoint(x + width / 2, y + height / 2))) return false
		e.focus()
		e.click()
		return true
	})(document.querySelector(%q))`, selector))
}

// write types text into a field in place of what is in it.
func (b *browser) write(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q) && (document.querySelector(%[1]q).select(), true)`, selector))
	if err := chromedp.Do(b.ctx, chromedp.SendKeys(chromedp.CSS(selector), text)); err != nil {
		b.t.Fatal(err)
	}
}
