//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/token"
)

// through is a playback URL as a balancer may lead it: to another node.
func (c *testCluster) through(t *testing.T, node int, playback *string) string {
	t.Helper()
	return at(t, strings.TrimPrefix(c.nodes[node].api, "http://"), playback)
}

// at is a playback URL with another address.
func at(t *testing.T, address string, playback *string) string {
	t.Helper()
	u, err := url.Parse(*playback)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = address
	return u.String()
}

// metric is the value of a metric of a node; "" if it has none.
func (c *testCluster) metric(t *testing.T, node int, name string) string {
	t.Helper()
	_, _, text := get(t, c.nodes[node].api+"/metrics")
	m := regexp.MustCompile(`(?m)^` + name + ` (.*)$`).FindSubmatch(text)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// testViewers watches a stream through nodes that do not have it.
func (c *testCluster) testViewers(t *testing.T) {
	channel, key := c.newChannel(t, 0)
	e := c.publishAgain(t, key, 0, 1)
	defer e.stop()
	stream := c.nodes[1].live(channel.Arn)
	var status int
	var body []byte
	wait(t, "another node to know the channel that is live", func() bool {
		status, _, body = get(t, c.through(t, 2, channel.PlaybackUrl))
		return status != http.StatusNotFound
	})
	if status != http.StatusOK {
		t.Errorf("the playback URL on another node: %d %s", status, body)
	}
	if n := c.metric(t, 1, "millrace_relay_streams_opened_total"); n != "0" {
		t.Errorf("node 1 has begun to relay %s streams although nobody watches there", n)
	}

	_, ownList, _ := playlists(t, c.through(t, 0, channel.PlaybackUrl))
	owner := c.nodes[0].watch(t, c.through(t, 0, channel.PlaybackUrl))
	one := c.nodes[1].watch(t, c.through(t, 1, channel.PlaybackUrl))
	two := c.nodes[2].watch(t, c.through(t, 2, channel.PlaybackUrl))
	for _, w := range []*watcher{owner, one, two} {
		w.waitFor(t, w.segments()+2)
	}
	if n := c.metric(t, 1, "millrace_relay_streams_opened_total"); n != "1" {
		t.Errorf("node 1 has opened %s relays for all its viewers", n)
	}
	// A viewer may move in the middle: its playlist is on every node.
	for i := range c.nodes {
		if status, _, body := get(t, c.through(t, i, &ownList)); status != http.StatusOK || !strings.Contains(string(body), "#EXTINF") {
			t.Errorf("the viewer session of node 0 on node %d: %d %s", i, status, body)
		}
	}
	one.check(t)
	two.check(t)

	// Media that is served makes a viewer count, on whichever node.
	var media []string
	for i := range c.nodes {
		_, list, _ := playlists(t, c.through(t, i, channel.PlaybackUrl))
		media = append(media, list)
	}
	wait(t, "the viewers of all nodes to count", func() bool {
		for i, m := range media {
			media[i] = watchNewest(t, m)
		}
		counted := c.viewers(t, channel.Arn) == 3
		for _, n := range c.nodes { // one watches on each
			if *neighbour != "" {
				break // a node of protocol 1 lists its own alone, and does not tell others
			}
			var listed viewersOutput
			n.ask("GET", "/_millrace/channels/"+after(*channel.Arn, ":channel/")+"/viewers", "", &listed)
			counted = counted && len(listed.Viewers) == 3 && listed.Total == 3 && len(listed.Unreachable) == 0
		}
		return counted
	})
	owner.waitFor(t, owner.segments()+1) // while which each node reports again
	if n := c.viewers(t, channel.Arn); n > 3 {
		t.Errorf("three viewers who get media count as %d", n)
	}

	c.nodes[0].kill()
	wait(t, "viewers on another node to see the end, or what follows", func() bool {
		status, _, body := get(t, c.through(t, 1, &ownList))
		return status == http.StatusNotFound || strings.Contains(string(body), "#EXT-X-ENDLIST")
	})
	wait(t, "the playback URL to have the next stream", func() bool {
		_, list, _ := playlists(t, c.through(t, 2, channel.PlaybackUrl))
		return list != "" && !strings.Contains(list, *stream.StreamId)
	})
	c.restart(0)
	e.leave(t)
}

// viewers is the viewerCount of a channel that is live.
func (c *testCluster) viewers(t *testing.T, channelARN *string) int64 {
	t.Helper()
	out, err := c.nodes[2].ivs().GetStream(t.Context(), &awsivs.GetStreamInput{ChannelArn: channelARN})
	if err != nil {
		t.Fatal(err)
	}
	return out.Stream.ViewerCount
}

// watchNewest fetches the newest segment of the rendition that has a segment, as a player
// of its viewer session does, and returns its address.
func watchNewest(t *testing.T, segment string) string {
	t.Helper()
	base := segment[:strings.LastIndexByte(segment, '/')+1]
	_, _, list := get(t, base+"playlist.m3u8")
	all := segmentName.FindAllString(string(list), -1)
	if len(all) == 0 {
		t.Fatalf("no segment is listed:\n%s", list)
	}
	address := base + all[len(all)-1]
	if status, _, body := get(t, address); status != http.StatusOK || len(body) == 0 {
		t.Errorf("%s: %d", address, status)
	}
	return address
}

// testPrivateViewers has a token accepted on one node, and its viewer revoked through
// another.
func (c *testCluster) testPrivateViewers(t *testing.T) {
	n := *c.nodes[0]
	n.t = t
	keys := newSigner(t)
	keys.importInto(t, n.ivs(), "us-west-2")
	channel, key := n.channel(awsivs.CreateChannelInput{Name: aws.String("private"), InsecureIngest: true, Authorized: true})
	e := c.publish(t, 0, key)
	defer e.stop()
	c.nodes[1].live(channel.Arn)
	playback := c.through(t, 1, channel.PlaybackUrl)
	copied := c.metric(t, 1, "millrace_relay_streams_opened_total")
	var a answer
	wait(t, "node 1 to know the channel that is live", func() bool {
		a = ask(t, "GET", playback)
		return a.status != http.StatusNotFound
	})
	if a.status != http.StatusForbidden {
		t.Errorf("a viewer without a token: %d %s", a.status, a.body)
	}
	if now := c.metric(t, 1, "millrace_relay_streams_opened_total"); now != copied {
		t.Errorf("a viewer who may not watch has had a stream copied: %s were, and now %s", copied, now)
	}
	list := watch(t, playback, keys.sign(t, *channel.Arn, token.Claims{ViewerID: "viewer-1"}))
	for i := range c.nodes {
		if a := ask(t, "GET", c.through(t, i, &list)); a.status != http.StatusOK {
			t.Errorf("its viewer session on node %d: %d %s", i, a.status, a.body)
		}
	}
	_, err := c.nodes[2].ivs().StartViewerSessionRevocation(t.Context(), &awsivs.StartViewerSessionRevocationInput{ChannelArn: channel.Arn, ViewerId: aws.String("viewer-1")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		wait(t, fmt.Sprintf("node %d to have revoked the viewer", i), func() bool {
			return ask(t, "GET", c.through(t, i, &list)).status == http.StatusForbidden
		})
	}
	e.leave(t)
}
