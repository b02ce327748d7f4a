package main

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// framePage frames the viewers' page in a page of another origin, which keeps what it is told.
const framePage = `<!doctype html><html lang="en"><title>A site</title><body><script>
const told = []
addEventListener('message', ({ data }) => data.source == 'millrace-player' && told.push({ ...data, at: performance.now() }))
const command = (command, value) => frames[0].postMessage({ target: 'millrace-player', command, value }, '*')
const details = type => told.filter(m => m.type == type).map(m => m.detail)
const has = (type, detail) => details(type).some(d => detail === undefined || JSON.stringify(d) == JSON.stringify(detail))
const state = () => details('PlayerStateChanged').at(-1)
const documented = ['PlayerInitialized', 'PlayerStateChanged', 'Idle', 'Ready', 'Buffering', 'Playing', 'Ended', 'PlayerQualityChanged',
	'PlayerRebuffering', 'PlayerError', 'PlayerTextMetadataCue', 'PlayerMutedChanged', 'PlayerVolumeChanged', 'PlayerAudioBlocked',
	'PlayerPlaybackBlocked', 'PlayerInfo']
const unknown = () => told.map(m => m.type).filter(type => !documented.includes(type))
</script><iframe width=640 height=360 allow="autoplay; fullscreen" title="Live video" src="%s"></iframe></html>`

// frame serves a page that frames a viewers' page, to which it passes its own query.
func frame(t *testing.T, link string) string {
	t.Helper()
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, framePage, html.EscapeString(link+"?"+r.URL.RawQuery))
	}))
	t.Cleanup(host.Close)
	return host.URL
}

// A page of another origin frames the viewers' page, receives all events, also the text that
// PutMetadata sends, and commands it. Without a network it waits for it.
func TestWatchPageInFrame(t *testing.T) {
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: "BASIC", ContainerFormat: "FRAGMENTED_MP4"})
	b := openBrowser(t, "about:blank")
	b.open(frame(t, s.watchLink(*channel.PlaybackUrl)))
	b.until(`has('PlayerInitialized')`)
	// The first tries come after 1 s, 1.5 s and 2.25 s, each up to a fifth more or less.
	b.until(`details('PlayerError').length > 2`)
	b.until(`details('PlayerError').every(error => error.type == 'ErrorNotAvailable' && error.code == 404 && error.message)`)
	b.until(`(([first, , third]) => first.retryIn >= 800 && third.retryIn <= 2700 && third.retryIn > first.retryIn)(details('PlayerError'))`)
	b.until(`(([first, second]) => second.at - first.at > first.detail.retryIn - 50)(told.filter(m => m.type == 'PlayerError'))`)
	b.until(`state() == 'Buffering'`)

	encoder := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)
	b.until(`['Ready', 'Playing'].every(state => has(state) && has('PlayerStateChanged', state))`)
	b.until(`details('PlayerQualityChanged').some(q => q.name == '360p' && q.width == 640 && q.height == 360 && q.bitrate > 0 && q.framerate == 30 && q.codecs.includes('avc1'))`)
	if _, err := s.ivs().PutMetadata(t.Context(), &awsivs.PutMetadataInput{ChannelArn: channel.Arn, Metadata: aws.String("goal! <b>ü</b>")}); err != nil {
		t.Fatal(err)
	}
	b.until(`details('PlayerTextMetadataCue').some(cue => cue.text == 'goal! <b>ü</b>' && cue.startTime > 0)`)
	b.until(`(command('setMuted', false), has('PlayerMutedChanged', false))`)
	b.until(`(command('setVolume', 0.5), has('PlayerVolumeChanged', 0.5))`)
	b.until(`(command('pause'), state() == 'Idle' && has('Idle'))`)
	b.until(`(command('getState'), details('PlayerInfo').some(info => info.paused && !info.muted && info.state == 'Idle' && info.qualities.length == 1 && info.quality.height == 360 && info.latency > 0))`)
	b.until(`(command('play'), state() == 'Playing')`)
	b.until(`(command('pause'), state() == 'Idle')`)
	b.until(`(command('seekToLive'), state() == 'Playing')`)

	// A browser that knows that it has no network waits for one; else it asks again and again.
	b.until(`told.splice(0, told.length, ...told.filter(m => m.type != 'PlayerRebuffering'))`)
	b.offline(true)
	b.until(`has('PlayerRebuffering') && state() == 'Buffering'`)
	b.offline(false)
	b.until(`state() == 'Playing'`)
	b.block(s.api + "/api/video/*")
	b.until(`details('PlayerError').some(error => error.type == 'ErrorNetwork' && error.code == 0 && error.retryIn > 0)`)
	b.block()
	b.until(`state() == 'Playing'`)

	encoder.leave()
	s.ended(channel.Arn, stream.StreamId)
	b.until(`has('Ended') && state() == 'Ended'`)
	if _, err := s.ivs().UpdateChannel(t.Context(), &awsivs.UpdateChannelInput{Arn: channel.Arn, Authorized: true}); err != nil {
		t.Fatal(err)
	}
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	b.until(`details('PlayerError').some(error => error.type == 'ErrorAuthorization' && error.code == 403 && error.retryIn >= 24000 && error.retryIn <= 36000)`)
	if unknown := b.texts(`unknown()`); len(unknown) > 0 {
		t.Errorf("%q are not documented", unknown)
	}
	b.clean("ERR_INTERNET_DISCONNECTED", "ERR_BLOCKED_BY_CLIENT")
}

// offline takes the page's network away, or gives it back.
func (b *browser) offline(off bool) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulateNetworkConditions, networkConditions{Offline: off, DownloadThroughput: -1, UploadThroughput: -1})
		return err
	})); err != nil {
		b.t.Fatal(err)
	}
}

// block makes the page's requests for some URLs fail, and only those.
func (b *browser) block(patterns ...string) {
	b.t.Helper()
	var blocked network.SetBlockedURLsParams
	for _, pattern := range patterns {
		blocked.URLPatterns = append(blocked.URLPatterns, &network.BlockPattern{URLPattern: pattern, Block: true})
	}
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		if _, err := cdp.Call(ctx, tab, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, tab, network.SetBlockedURLs, blocked)
		return err
	})); err != nil {
		b.t.Fatalf("blocking %q: %v", patterns, err)
	}
}

// limitedBrowser makes the browser one that plays nothing by itself (an iPhone in Low Power
// Mode), one that cannot decode H.264, or one that plays no HLS at all.
const limitedBrowser = `(() => {
	const { play } = HTMLMediaElement.prototype
	const supports = window.MediaSource?.isTypeSupported
	if (location.search == '?gesture') {
		addEventListener('click', () => HTMLMediaElement.prototype.play = play, { capture: true })
		HTMLMediaElement.prototype.play = () => Promise.reject(new DOMException('a gesture is needed', 'NotAllowedError'))
	}
	if (location.search == '?free') MediaSource.isTypeSupported = type => !type.includes('avc1') && supports.call(MediaSource, type)
	if (location.search == '?old') {
		delete window.MediaSource, delete window.ManagedMediaSource
		HTMLMediaElement.prototype.canPlayType = () => ''
	}
})()`

// Where the browser plays only without audio, only after a click, or not at all, the page
// does what is possible, and says so to the viewer and to the page that frames it.
func TestWatchPageInLimitedBrowser(t *testing.T) {
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: types.ChannelTypeBasicChannelType})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	s.live(channel.Arn)
	b := openBrowser(t, "about:blank", chromedp.Flag("autoplay-policy", "document-user-activation-required"))
	b.script(limitedBrowser)
	page := s.watchLink(*channel.PlaybackUrl)
	host := frame(t, page)

	b.open(host + "/?muted=false")
	b.until(`has('PlayerAudioBlocked') && has('PlayerMutedChanged', true) && state() == 'Playing'`)
	b.clean()
	b.open(page + "?muted=false")
	b.until(pagePlays)
	b.until(`document.querySelector('#video').muted`)
	b.click("#unmute")
	b.until(`!document.querySelector('#video').muted && document.querySelector('#unmute').hidden`)
	b.until(`delete window.from`)
	b.until(pagePlays)
	b.clean()

	b.open(host + "/?gesture")
	b.until(`has('PlayerPlaybackBlocked') && state() == 'Ready'`)
	b.clean()
	b.open(page + "?gesture")
	b.until(`document.querySelector('#start').checkVisibility() && document.querySelector('#video').paused`)
	b.look("watch-start")
	b.click("#start")
	b.until(pagePlays)
	b.clean()

	b.open(host + "/?free")
	b.until(`details('PlayerError').some(error => error.type == 'ErrorInvalidData' && error.code == 0 && error.retryIn > 0)`)
	b.clean()
	b.open(page + "?free")
	b.until(`document.querySelector('#notice-title').innerText == 'This browser cannot decode the video'`)
	b.clean()

	b.open(host + "/?old")
	b.until(`details('PlayerError').some(error => error.type == 'ErrorNotSupported' && error.code == 0 && !error.retryIn)`)
	b.clean()
	b.open(page + "?old")
	b.until(`document.querySelector('#notice-title').innerText == 'This browser cannot play the video'`)
	b.clean()
}
