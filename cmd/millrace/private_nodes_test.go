package main

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/store/storetest"
	"github.com/millrace/millrace/internal/token"
)

// Two servers on one PostgreSQL are one: what is used on one is used on the
// other, and who is revoked through one stops watching on the other.
func TestPrivateChannelOnTwoNodes(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	p := startPrivate(t, testInputs, "--database", database)
	other := startServer(t, "", "--database", database)
	elsewhere := strings.Replace(*p.channel.PlaybackUrl, p.api, other.api, 1)

	// The stream is on one node, and only there a token can start playback: the
	// other answers 404, and uses nothing up. (That of two nodes which both can, one
	// starts it, is tested where single-use ids are.)
	query := "?token=" + p.sign(t, *p.channel.Arn, token.Claims{SingleUse: "once"})
	var began atomic.Int32
	var viewers sync.WaitGroup
	for i := range 50 {
		viewers.Go(func() {
			a, err := tryAsk(t.Context(), "GET", []string{*p.channel.PlaybackUrl, elsewhere}[i%2]+query)
			switch {
			case err != nil:
				t.Error(err)
			case i%2 == 1 && a.status != http.StatusNotFound:
				t.Errorf("the node without the stream: %d %s", a.status, a.body)
			case a.status == http.StatusOK:
				began.Add(1)
			}
		})
	}
	viewers.Wait()
	if n := began.Load(); n != 1 {
		t.Errorf("%d of 25 began", n)
	}

	media, others := p.start(token.Claims{ViewerID: "gone", ViewerVersion: 1}), p.start(token.Claims{ViewerID: "stays"})
	for _, m := range []string{media, others} {
		if a := ask(t, "GET", m); a.status != http.StatusOK {
			t.Fatalf("%s = %d", m, a.status)
		}
	}
	asked := time.Now()
	if _, err := other.ivs().StartViewerSessionRevocation(t.Context(), &awsivs.StartViewerSessionRevocationInput{
		ChannelArn: p.channel.Arn, ViewerId: aws.String("gone"), ViewerSessionVersionsLessThanOrEqualTo: 1}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the viewer on the other node to be refused", func() bool { return ask(t, "GET", media).status == http.StatusForbidden })
	t.Logf("the viewer on the other node was refused after %v", time.Since(asked))
	if a := ask(t, "GET", others); a.status != http.StatusOK {
		t.Errorf("another viewer = %d", a.status)
	}

	// The encoder moves to the other node: what was used and revoked is so there.
	keys, err := p.ivs().ListStreamKeys(t.Context(), &awsivs.ListStreamKeysInput{ChannelArn: p.channel.Arn})
	if err != nil {
		t.Fatal(err)
	}
	key, err := p.ivs().GetStreamKey(t.Context(), &awsivs.GetStreamKeyInput{Arn: keys.StreamKeys[0].Arn})
	if err != nil {
		t.Fatal(err)
	}
	stream := p.live(p.channel.Arn)
	p.stop()
	other.ended(p.channel.Arn, stream.StreamId)
	publish(t, rtmpURL(other.rtmp, *key.StreamKey.Value), slices.Concat(testInputs, testCodecs)...)
	wait(t, "the channel to play there", func() bool {
		return ask(t, "GET", elsewhere+"?token="+p.sign(t, *p.channel.Arn, token.Claims{})).status == http.StatusOK
	})
	if a := ask(t, "GET", elsewhere+query); a.code != "playback_auth_error" || !strings.Contains(a.text, "has been used") {
		t.Errorf("the used token on the other node = %d %s", a.status, a.body)
	}
	if a := ask(t, "GET", elsewhere+"?token="+p.sign(t, *p.channel.Arn, token.Claims{ViewerID: "gone"})); a.code != "playback_auth_error" || !strings.Contains(a.text, "revoked") {
		t.Errorf("the revoked viewer on the other node = %d %s", a.status, a.body)
	}
}
