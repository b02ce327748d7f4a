package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// A viewer chooses a rendition, and has the page choose again; shows captions and hides them;
// and goes on watching through an ad break, which changes nothing for viewers.
func TestWatchPageMenus(t *testing.T) {
	s := startServer(t, "", withLadder...)
	ads, err := s.ivs().CreateAdConfiguration(t.Context(), &awsivs.CreateAdConfigurationInput{MediaTailorPlaybackConfigurations: []types.MediaTailorPlaybackConfiguration{
		{PlaybackConfigurationArn: aws.String("arn:aws:mediatailor:us-west-2:000000000000:playbackConfiguration/demo")}}})
	if err != nil {
		t.Fatal(err)
	}
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, AdConfigurationArn: ads.AdConfiguration.Arn})
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "640x360", FPS: 30, Bitrate: 500})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	go publishTo(ctx, rtmpURL(s.rtmp, key), &captionSource{source: &paced{source: clip.loop()}}, nil)
	stream := s.live(channel.Arn)
	wait(t, "the ladder", func() bool { return len(renditions(t, *channel.PlaybackUrl)) == 2 })

	b := openBrowser(t, "about:blank")
	b.open(s.watchLink(*channel.PlaybackUrl))
	b.until(playing)
	b.watchInQualities()
	b.watchWithCaptions()
	b.resize(phone)
	b.until(fmt.Sprintf(`innerWidth == %d && document.querySelector('#full').getBoundingClientRect().right <= innerWidth`, phone))
	b.resize(desk)
	b.look("watch-captions")

	// What a viewer has chosen stays for the next stream.
	b.choose("#quality", "160p")
	leave()
	s.ended(channel.Arn, stream.StreamId)
	b.until(`document.querySelector('#notice-title').innerText == 'The stream has ended'`)
	go publishTo(t.Context(), rtmpURL(s.rtmp, key), &captionSource{source: &paced{source: clip.loop()}}, nil) // ends with the test
	stream = s.live(channel.Arn)
	b.until(playing + ` && document.querySelector('#video').videoHeight == 160 && document.querySelector('#quality').value == '160p'`)
	b.until(`captionsOf().filter(track => track.mode == 'showing').some(track => [...track.activeCues].some(cue => /MILL RUNS \d\d/.test(cue.text)))`)
	b.key("c")
	b.until(`!captionsOf().some(track => track.mode == 'showing') && document.querySelector('#captions').ariaPressed == 'false'`)
	b.clean()

	b.open(frame(t, s.watchLink(*channel.PlaybackUrl)))
	b.until(`state() == 'Playing'`)
	b.until(`(command('setQuality', '160p'), details('PlayerQualityChanged').at(-1)?.name == '160p')`)
	b.until(`(command('getState'), details('PlayerInfo').at(-1)?.quality.height == 160)`)
	b.until(`(command('setQuality', 'auto'), command('getState'), state() == 'Playing')`)
	b.until(`told.length = 0, true`)
	if _, err := s.ivs().InsertAdBreak(t.Context(), &awsivs.InsertAdBreakInput{ChannelArn: channel.Arn, DurationSeconds: aws.Int32(2)}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the end of the break in the playlist", func() bool {
		_, _, media := playlists(t, *stream.PlaybackUrl)
		return strings.Contains(media, "SCTE35-IN=")
	})
	if _, err := s.ivs().PutMetadata(t.Context(), &awsivs.PutMetadataInput{ChannelArn: channel.Arn, Metadata: aws.String("after the break")}); err != nil {
		t.Fatal(err)
	}
	b.until(`has('PlayerTextMetadataCue', undefined) && details('PlayerTextMetadataCue')[0].text == 'after the break'`)
	// A busy machine may have stalled meanwhile.
	if others := b.texts(`told.map(m => m.type).filter(type => !['PlayerTextMetadataCue', 'PlayerInfo', 'PlayerQualityChanged', 'PlayerStateChanged', 'PlayerRebuffering', 'Buffering', 'Playing'].includes(type))`); len(others) > 0 {
		t.Errorf("the break leads to %q", others)
	}
	b.clean()
}

// playing holds in a viewers' page that plays, in whatever rendition.
const playing = `document.querySelector('#player')?.dataset.state == 'Playing' && document.querySelector('#video').currentTime > 0`

// watchInQualities chooses each entry of the page's menu. The picture follows, and the
// page's choice is automatic again in the end.
func (b *browser) watchInQualities() {
	b.t.Helper()
	b.until(`[...document.querySelector('#quality').options].map(o => o.value).join() == 'auto,360p,160p' && document.querySelector('#quality').checkVisibility()`)
	b.until(`/^Auto \((360|160)p\)$/.test(document.querySelector('#quality').options[0].text)`)
	for _, height := range []int{160, 360, 160} {
		b.choose("#quality", fmt.Sprintf("%dp", height))
		b.until(fmt.Sprintf(`document.querySelector('#video').videoHeight == %d`, height))
		b.until(fmt.Sprintf(`document.querySelector('#quality').value == '%dp' && document.querySelector('#quality').options[0].text == 'Auto'`, height))
		b.until(`window.at = document.querySelector('#video').currentTime, true`)
		b.until(`document.querySelector('#video').currentTime > at + 1 && ` + playing)
	}
	b.look("watch-quality")
	// The line is fast: left to itself, the page chooses the best.
	b.choose("#quality", "Auto")
	b.until(`document.querySelector('#video').videoHeight == 360 && document.querySelector('#quality').options[0].text == 'Auto (360p)' && document.querySelector('#quality').value == 'auto'`)
}

// watchWithCaptions shows the captions: whole lines, one each second.
func (b *browser) watchWithCaptions() {
	b.t.Helper()
	b.until(`window.captionsOf = () => [...document.querySelector('#video').textTracks].filter(track => track.kind == 'captions'), true`)
	b.until(`document.querySelector('#captions').checkVisibility() && document.querySelector('#captions').ariaPressed == 'false' && !captionsOf().some(track => track.mode == 'showing')`)
	b.until(`dispatchEvent(new Event('pointermove'))`) // controls that are hidden take no click
	b.click("#captions")
	b.until(`document.querySelector('#captions').ariaPressed == 'true' && captionsOf().filter(track => track.mode == 'showing').length == 1`)
	b.until(`[...captionsOf()[0].activeCues].some(cue => /MILL RUNS \d\d/.test(cue.text))`)
	b.until(`(lines => lines.some(n => [1, 2, 3].every(i => lines.includes(n + i))))(
		[...captionsOf()[0].cues].flatMap(cue => [...cue.text.matchAll(/MILL RUNS (\d\d)/g)]).map(([, n]) => Number(n)))`)
}
