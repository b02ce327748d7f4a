package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// newBigWorld is a server whose one account has 100,000 channels, and the ARN
// of one of them, which is live.
func newBigWorld(b *testing.B) (*api.Server, string) {
	path := storetest.SQLite(b)
	db := storetest.Open(b, path)
	c := ivs.Channel{ARN: "arn:aws:ivs:us-west-2:123456789012:channel/abcdefghijkl", LatencyMode: ivs.LatencyLow, Type: ivs.TypeStandard,
		ContainerFormat: ivs.ContainerTS, SRT: ivs.SRT{Passphrase: ivs.NewPassphrase()}, Tags: map[string]string{"team": "demo"}}
	must(b, db.CreateChannel(b.Context(), c, ivs.StreamKey{ARN: "arn:aws:ivs:us-west-2:123456789012:stream-key/abcdefghijkl", ChannelARN: c.ARN, Value: "sk"}))
	raw, err := sql.Open("sqlite", path)
	must(b, err)
	defer raw.Close()
	_, err = raw.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
		INSERT INTO channels (arn, account, region, name, latency_mode, type, preset, authorized, insecure_ingest, recording_arn,
			restriction_arn, ad_arn, container_format, multitrack, passphrase, tags)
		SELECT arn || i, account, region, 'name' || (i % 1000), latency_mode, type, preset, authorized, insecure_ingest, recording_arn,
			restriction_arn, ad_arn, container_format, multitrack, passphrase, tags FROM n, channels`)
	must(b, err)
	arn := c.ARN + "77777"
	id := ivs.NewStreamID()
	must(b, db.CreateSession(b.Context(), store.NewSession{ChannelARN: arn, StreamID: id, Owner: "n", At: time.Now()}))
	must(b, db.StartStream(b.Context(), id, time.Now(), ivs.IngestConfigurations{}))
	return &api.Server{Store: db, Account: account, Region: region, AccessKeyID: keyID, SecretAccessKey: secret}, arn
}

// benchmark measures an operation from the request's headers to the last byte
// of the answer, signature and database included, without the network.
func benchmark(b *testing.B, s *api.Server, operation, body string) {
	sum := sha256.Sum256([]byte(body))
	template := httptest.NewRequest("POST", "/"+operation, bytes.NewReader([]byte(body)))
	must(b, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, template,
		hex.EncodeToString(sum[:]), "ivs", region, time.Now()))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := template.Clone(context.Background())
			r.Body = io.NopCloser(bytes.NewReader([]byte(body)))
			w := httptest.NewRecorder()
			if s.ServeHTTP(w, r); w.Code != http.StatusOK {
				b.Fatalf("%d %s", w.Code, w.Body)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

func BenchmarkOperations(b *testing.B) {
	s, arn := newBigWorld(b)
	deep := deepToken(b, s)
	for _, bb := range []struct{ name, operation, body string }{
		{"GetChannel", "GetChannel", `{"arn":"` + arn + `"}`},
		{"GetStream", "GetStream", `{"channelArn":"` + arn + `"}`},
		{"GetStreamSession", "GetStreamSession", `{"channelArn":"` + arn + `"}`},
		{"ListStreams", "ListStreams", `{}`},
		{"ListChannelsFirst", "ListChannels", `{"maxResults":10}`},
		{"ListChannelsDeep", "ListChannels", `{"maxResults":10,"nextToken":"` + deep + `"}`},
		{"ListChannelsByName", "ListChannels", `{"maxResults":10,"filterByName":"name77"}`},
	} {
		b.Run(bb.name, func(b *testing.B) { benchmark(b, s, bb.operation, bb.body) })
	}
}

// deepToken walks 90,000 channels in.
func deepToken(b *testing.B, s *api.Server) string {
	off := &api.Server{Store: s.Store, Account: account, Region: region, AuthOff: true, Log: slog.New(slog.DiscardHandler)}
	var out struct{ NextToken string }
	for range 900 {
		in, err := json.Marshal(map[string]any{"maxResults": 100, "nextToken": out.NextToken})
		must(b, err)
		w := httptest.NewRecorder()
		off.ServeHTTP(w, httptest.NewRequest("POST", "/ListChannels", bytes.NewReader(in)))
		must(b, json.Unmarshal(w.Body.Bytes(), &out))
	}
	return out.NextToken
}
