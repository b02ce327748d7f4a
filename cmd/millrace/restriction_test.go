package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/pires/go-proxyproto"

	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/token"
)

// countries makes a database of prefixes and their countries.
func countries(t *testing.T, prefixes map[string]string) (path string) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-Country", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, code := range prefixes {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "countries.mmdb")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A policy restricts a public channel by the address that a trusted proxy gives,
// and by nothing that a client writes; on a private channel it is ignored. Who
// watches, and from where, can be listed.
func TestRestrictedChannel(t *testing.T) {
	t.Parallel()
	file := countries(t, map[string]string{"198.51.100.0/24": "DE", "203.0.113.0/24": "US"})
	for _, tt := range []struct {
		name, proxies string
		want          map[string]int // by X-Forwarded-For
	}{
		{"behind a proxy", "127.0.0.0/8", map[string]int{"198.51.100.7": 200, "203.0.113.7": 403, "198.51.100.7, 203.0.113.7": 403,
			"203.0.113.7, 198.51.100.7": 200, "192.0.2.1": 200, "": 200}},
		{"in front", "10.0.0.0/8", map[string]int{"203.0.113.7": 200}}, // 127.0.0.1 is in no country
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, "", "--geoip", file, "--trusted-proxies", tt.proxies)
			policy, err := s.ivs().CreatePlaybackRestrictionPolicy(t.Context(), &awsivs.CreatePlaybackRestrictionPolicyInput{AllowedCountries: []string{"DE"}})
			if err != nil {
				t.Fatal(err)
			}
			arn := policy.PlaybackRestrictionPolicy.Arn
			public, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("public"), InsecureIngest: true, PlaybackRestrictionPolicyArn: arn})
			publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
			waitPlayable(t, *public.PlaybackUrl)
			for forwarded, want := range tt.want {
				if a := ask(t, "GET", *public.PlaybackUrl, "X-Forwarded-For", forwarded); a.status != want || want == 403 && a.code != "playback_restricted" {
					t.Errorf("%q = %d %s", forwarded, a.status, a.body)
				}
			}
			if tt.proxies != "127.0.0.0/8" {
				return
			}
			if a := ask(t, "GET", *public.PlaybackUrl, "X-Forwarded-For", "203.0.113.7", "Forwarded", "for=198.51.100.7"); a.status != 400 {
				t.Errorf("headers that contradict each other = %d", a.status)
			}
			private, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("private"), Authorized: true, InsecureIngest: true, PlaybackRestrictionPolicyArn: arn})
			publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
			s.live(private.Arn)
			id := (*private.Arn)[strings.LastIndexByte(*private.Arn, '/')+1:]
			var minted struct{ ChannelARN, Token string }
			if status := s.ask("POST", "/_millrace/channels/"+id+"/playback-token", "", &minted); status != 200 {
				t.Fatalf("playback-token = %d", status)
			}
			media := watch(t, *private.PlaybackUrl, minted.Token, "X-Forwarded-For", "203.0.113.7")
			fetchMedia(t, media, "X-Forwarded-For", "203.0.113.7")
			signer := newSigner(t)
			signer.importInto(t, s.ivs(), "us-west-2")
			media = watch(t, *private.PlaybackUrl, signer.sign(t, *private.Arn, token.Claims{ViewerID: "v", ViewerVersion: 7}), "X-Forwarded-For", "198.51.100.7")
			fetchMedia(t, media, "X-Forwarded-For", "198.51.100.7")
			var out struct {
				Total   int
				Viewers []struct {
					ID, ViewerID, Rendition, AddressClass, Country string
					ViewerSessionVersion                           int
				}
			}
			if status := s.ask("GET", "/_millrace/channels/"+id+"/viewers", "", &out); status != 200 || out.Total != 2 || len(out.Viewers) != 2 {
				t.Fatalf("viewers = %d, %+v", status, out)
			}
			if v := out.Viewers[0]; v.ViewerID != "v" || v.ViewerSessionVersion != 7 || v.Country != "DE" || v.AddressClass != "IPV4" || v.Rendition != "source" || len(v.ID) != 16 {
				t.Errorf("the viewer with a name: %+v", v)
			}
			if v := out.Viewers[1]; v.ViewerID != "" || v.Country != "US" {
				t.Errorf("the other viewer: %+v", v)
			}
		})
	}
}

// The header of the PROXY protocol, in both of its versions, gives the client's
// address on every port, in front of TLS too: an encoder is logged with it, and a
// policy goes by it.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	file := countries(t, map[string]string{"198.51.100.0/24": "DE", "203.0.113.0/24": "US"})
	s := startServer(t, "", "--geoip", file, "--trusted-proxies", "127.0.0.0/8")
	policy, err := s.ivs().CreatePlaybackRestrictionPolicy(t.Context(), &awsivs.CreatePlaybackRestrictionPolicyInput{AllowedCountries: []string{"DE"}})
	if err != nil {
		t.Fatal(err)
	}
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, PlaybackRestrictionPolicyArn: policy.PlaybackRestrictionPolicy.Arn})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	waitPlayable(t, *channel.PlaybackUrl)
	playback, err := url.Parse(*channel.PlaybackUrl)
	if err != nil {
		t.Fatal(err)
	}
	for i, version := range []byte{1, 2} {
		// connect is a connection through a proxy from that address.
		connect := func(to, from string) net.Conn {
			t.Helper()
			nc, err := net.Dial("tcp", to)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { nc.Close() })
			client := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))
			if _, err := proxyproto.HeaderProxyFromAddrs(version, client, nc.RemoteAddr()).WriteTo(nc); err != nil {
				t.Fatal(err)
			}
			return nc
		}
		for from, want := range map[string]int{"198.51.100.7:4711": 200, "203.0.113.7:4711": 403} {
			client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				return connect(playback.Host, from), nil
			}}}
			if a, err := askWith(t.Context(), client, "GET", *channel.PlaybackUrl); err != nil || a.status != want {
				t.Errorf("version %d: HTTP from %s = %d, %v; want %d", version, from, a.status, err, want)
			}
			client.CloseIdleConnections()
		}
		for name, to := range map[string]string{"rtmp": s.rtmp, "rtmps": s.rtmps} {
			from := fmt.Sprintf("198.51.100.8:%d%d", len(name), i+1)
			nc := connect(to, from)
			if name == "rtmps" {
				nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // the server's certificate is its own
			}
			if _, err := rtmp.Publish(t.Context(), nc, name+"://"+to+"/app/no-key"); err == nil {
				t.Errorf("version %d: %s takes an unknown stream key", version, name)
			}
			if line := s.waitLog("remote=" + from); !strings.Contains(line, "publish refused") {
				t.Errorf("version %d: %s: the log says %s", version, name, line)
			}
		}
	}
}
