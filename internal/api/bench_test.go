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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// newBigWorld is a server whose one account has 100,000 channels, 10,000 of
// them live, and the ARN of one that is, whose session has 500 events.
func newBigWorld(b *testing.B, dsn string) (*api.Server, string) {
	db := storetest.Open(b, dsn)
	c := ivs.Channel{ARN: "arn:aws:ivs:us-west-2:123456789012:channel/abcdefghijkl", LatencyMode: ivs.LatencyLow, Type: ivs.TypeStandard,
		ContainerFormat: ivs.ContainerTS, SRT: ivs.SRT{Passphrase: ivs.NewPassphrase()}, Tags: map[string]string{"team": "demo"}}
	must(b, db.CreateChannel(b.Context(), c, ivs.StreamKey{ARN: "arn:aws:ivs:us-west-2:123456789012:stream-key/abcdefghijkl", ChannelARN: c.ARN, Value: "sk"}))
	id := ivs.NewStreamID()
	must(b, db.CreateSession(b.Context(), store.NewSession{ChannelARN: c.ARN, StreamID: id, Owner: "n", At: time.Now()}))
	must(b, db.StartStream(b.Context(), id, time.Now(), ivs.IngestConfigurations{}))
	driver := "sqlite"
	if strings.HasPrefix(dsn, "postgres:") {
		driver = "pgx"
	}
	raw, err := sql.Open(driver, dsn)
	must(b, err)
	defer raw.Close()
	for _, q := range []string{
		`INSERT INTO channels (arn, account, region, name, latency_mode, type, preset, authorized, insecure_ingest, recording_arn,
			restriction_arn, ad_arn, container_format, multitrack, passphrase, tags)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
		SELECT arn || i, account, region, 'name' || (i % 1000), latency_mode, type, preset, authorized, insecure_ingest, recording_arn,
			restriction_arn, ad_arn, container_format, multitrack, passphrase, tags FROM n, channels`,
		`INSERT INTO sessions (stream_id, account, region, channel_arn, channel_name, owner, created_at, started_at, left_at, ended_at,
			heartbeat_at, health, viewer_count, has_error, channel, recording, ingest)
		WITH RECURSIVE n(i) AS (SELECT 70001 UNION ALL SELECT i + 1 FROM n WHERE i < 80000)
		SELECT 'st-' || i, account, region, channel_arn || i, channel_name, owner, created_at, started_at, left_at, ended_at,
			heartbeat_at, CASE WHEN i % 100 = 0 THEN 'STARVING' ELSE 'HEALTHY' END, viewer_count, has_error, channel, recording, ingest FROM n, sessions`,
		`INSERT INTO events (id, account, region, channel_arn, channel_name, stream_id, type, name, time, code, detail)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
		SELECT 'e' || i, account, region, channel_arn || 77777, channel_name, 'st-77777', type, name, time, code, detail
			FROM n, (SELECT * FROM events ORDER BY seq LIMIT 1) AS e`,
	} {
		_, err = raw.Exec(q)
		must(b, err)
	}
	if _, err := raw.Exec("ANALYZE"); err != nil { // as PostgreSQL does by itself in the background
		b.Fatal(err)
	}
	return &api.Server{Store: db, Account: account, Region: region, AccessKeyID: keyID, SecretAccessKey: secret}, c.ARN + "77777"
}

// benchmark measures an operation from the request's headers to the last byte
// of the answer, signature and database included, without the network, by 64
// callers at a time.
func benchmark(b *testing.B, s *api.Server, operation, body string) {
	sum := sha256.Sum256([]byte(body))
	template := httptest.NewRequest("POST", "/"+operation, bytes.NewReader([]byte(body)))
	must(b, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, template,
		hex.EncodeToString(sum[:]), "ivs", region, time.Now()))
	var mu sync.Mutex
	var took []time.Duration // guarded by mu
	b.ReportAllocs()
	b.SetParallelism(32) // on two cores
	b.RunParallel(func(pb *testing.PB) {
		var own []time.Duration
		for pb.Next() {
			r := template.Clone(context.Background())
			r.Body = io.NopCloser(bytes.NewReader([]byte(body)))
			w, began := httptest.NewRecorder(), time.Now()
			if s.ServeHTTP(w, r); w.Code != http.StatusOK {
				b.Errorf("%d %s", w.Code, w.Body)
				return
			}
			own = append(own, time.Since(began))
		}
		mu.Lock()
		defer mu.Unlock()
		took = append(took, own...)
	})
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
}

func BenchmarkOperations(b *testing.B) {
	for _, engine := range []struct {
		name string
		dsn  func(testing.TB) string
	}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}} {
		b.Run(engine.name, func(b *testing.B) {
			s, arn := newBigWorld(b, engine.dsn(b))
			deep := deepToken(b, s)
			for _, bb := range []struct{ name, operation, body string }{
				{"GetChannel", "GetChannel", `{"arn":"` + arn + `"}`},
				{"GetStream", "GetStream", `{"channelArn":"` + arn + `"}`},
				{"GetStreamSession500Events", "GetStreamSession", `{"channelArn":"` + arn + `"}`},
				{"ListStreams", "ListStreams", `{}`},
				{"ListStreamsStarving", "ListStreams", `{"filterBy":{"health":"STARVING"}}`},
				{"ListChannelsFirst", "ListChannels", `{}`},
				{"ListChannelsDeep", "ListChannels", `{"nextToken":"` + deep + `"}`},
				{"ListChannelsByName", "ListChannels", `{"filterByName":"name77"}`},
			} {
				b.Run(bb.name, func(b *testing.B) { benchmark(b, s, bb.operation, bb.body) })
			}
		})
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
