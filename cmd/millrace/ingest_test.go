package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

// Where encoders reach other ports than those that are bound, as behind NAT, FindIngest,
// `millrace channel` and the console say those; ingestEndpoint stays a host.
func TestPublicIngestPorts(t *testing.T) {
	s := startServer(t, "", "--ingest-host", "live.example.com", "--ingest-rtmp-port", "11935", "--ingest-rtmps-port", "443")
	channel, _ := s.channel(awsivs.CreateChannelInput{Name: aws.String("nat"), InsecureIngest: true})
	if *channel.IngestEndpoint != "live.example.com" {
		t.Errorf("ingestEndpoint is %q", *channel.IngestEndpoint)
	}
	for url, wants := range map[string][]string{
		"/api/v2/FindIngest":   {`"rtmp://live.example.com:11935/app/{stream_key}"`, `"rtmps://live.example.com:443/app/{stream_key}"`},
		"/console/config.json": {`"rtmpPort":11935,"rtmpsPort":443`},
	} {
		status, _, body := get(t, s.api+url)
		for _, want := range wants {
			if status != 200 || !strings.Contains(string(body), want) {
				t.Errorf("%s: %d %s, want %s", url, status, body, want)
			}
		}
	}
	shown := output(t, []string{runMain + "=1"}, millrace().Path, "channel", "show", "nat", "--data", s.data, "--access-key-id", testKey, "--secret-access-key", testSecret)
	if want := "rtmp://live.example.com:11935/app"; !strings.Contains(shown, want) {
		t.Errorf("channel show does not print %s:\n%s", want, shown)
	}
}

// Encoders that ask before they publish are answered on the same listener,
// unsigned: with the ports that were bound, and by channel.
func TestEncodersAsk(t *testing.T) {
	s := startServer(t, "", "--ingest-host", "live.example.com")
	channel, key := s.channel(awsivs.CreateChannelInput{})
	if *channel.IngestEndpoint != "live.example.com" {
		t.Errorf("ingestEndpoint is %q", *channel.IngestEndpoint)
	}
	_, rtmpPort, _ := strings.Cut(s.rtmp, ":")
	_, rtmpsPort, _ := strings.Cut(s.rtmps, ":")
	status, _, body := get(t, s.api+"/api/v2/FindIngest")
	for _, want := range []string{`"rtmp://live.example.com:` + rtmpPort + `/app/{stream_key}"`, `"rtmps://live.example.com:` + rtmpsPort + `/app/{stream_key}"`} {
		if status != 200 || !strings.Contains(string(body), want) {
			t.Errorf("FindIngest: %d %s, want %s", status, body, want)
		}
	}
	r, err := http.Post(s.api+"/api/v3/GetClientConfiguration", "application/json", strings.NewReader(`{"service":"IVS","authentication":"`+key+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err = io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 || !strings.Contains(string(body), `"result":"error"`) || !strings.Contains(string(body), "not enabled on this channel") {
		t.Errorf("GetClientConfiguration: %d %s %v", r.StatusCode, body, err)
	}
	s.waitLog("multitrack configuration refused")
}
