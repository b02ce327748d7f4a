package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

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
