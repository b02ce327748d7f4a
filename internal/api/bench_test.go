package api_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store/storetest"
)

// newBigWorld is a server whose one account has 100,000 channels. Those with
// the numbers from 70,001 on are live, 10,000 of them, and their sessions have
// 500 events if the number is a multiple of 1,000. The numbers follow the ARN
// that is returned.
func newBigWorld(b *testing.B, dsn string) (*api.Server, string) {
	db := storetest.Open(b, dsn)
	c := ivs.Channel{ARN: "arn:aws:ivs:us-west-2:123456789012:channel/abcdefghijkl", LatencyMode: ivs.LatencyLow, Type: ivs.TypeStandard,
		ContainerFormat: ivs.ContainerTS, SRT: ivs.SRT{Passphrase: ivs.NewPassphrase()}, Tags: map[string]string{"team": "demo"}}
	must(b, db.CreateChannel(b.Context(), c, ivs.StreamKey{ARN: "arn:aws:ivs:us-west-2:123456789012:stream-key/abcdefghijkl", ChannelARN: c.ARN, Value: "sk"}))
	id := storetest.Session(b, db, c.ARN, "n", time.Now())
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
		WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 4999)
		SELECT 'e' || i, account, region, channel_arn || (71000 + i % 10 * 1000), channel_name, 'st-' || (71000 + i % 10 * 1000), type, name, time, code, detail
			FROM n, (SELECT * FROM events ORDER BY seq LIMIT 1) AS e`,
	} {
		_, err = raw.Exec(q)
		must(b, err)
	}
	if driver == "pgx" { // does so by itself in the background
		_, err = raw.Exec("VACUUM ANALYZE")
		must(b, err)
	}
	return &api.Server{Store: db, Root: root, Region: region}, c.ARN
}

// benchmark measures an operation over HTTP, as 64 clients see it that each
// call again and again on a connection of their own, with one body after the
// other: from the first byte of the request to the last of the answer. They
// have the same processors.
func benchmark(b *testing.B, address, operation string, bodies []string) {
	requests := make([][]byte, len(bodies))
	for i, body := range bodies {
		requests[i] = signedCall(b, address, operation, body)
	}
	const clients = 64
	took := make([][]time.Duration, clients)
	var calls atomic.Int64
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range clients {
		conn, err := net.Dial("tcp", address)
		must(b, err)
		defer conn.Close()
		all.Go(func() {
			answers := bufio.NewReader(conn)
			for n := calls.Add(1); n <= int64(b.N); n = calls.Add(1) {
				began := time.Now()
				if err := roundTrip(conn, answers, requests[n%int64(len(requests))]); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	sorted := slices.Concat(took...)
	slices.Sort(sorted)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(sorted[len(sorted)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(heap(), "heap-MB")
}

// signedCall is a call as bytes.
func signedCall(b *testing.B, address, operation, body string) []byte {
	r, err := http.NewRequest("POST", "http://"+address+"/"+operation, strings.NewReader(body))
	must(b, err)
	r.Header.Set("Content-Type", "application/json")
	sum := sha256.Sum256([]byte(body))
	must(b, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, r,
		hex.EncodeToString(sum[:]), "ivs", region, time.Now()))
	var out bytes.Buffer
	must(b, r.Write(&out))
	return out.Bytes()
}

func roundTrip(conn net.Conn, answers *bufio.Reader, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	res, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, err := io.ReadAll(res.Body)
		return fmt.Errorf("%s %s, %v", res.Status, body, err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// heap is how many megabytes are in use once the garbage is gone.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

func BenchmarkOperations(b *testing.B) {
	for _, engine := range []struct {
		name string
		dsn  func(testing.TB) string
	}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}} {
		b.Run(engine.name, func(b *testing.B) {
			s, arn := newBigWorld(b, engine.dsn(b))
			server := httptest.NewServer(s)
			defer server.Close()
			for _, bb := range []struct {
				name, operation string
				bodies          []string
			}{
				{"GetChannel", "GetChannel", spread(`{"arn":"`+arn+`%d"}`, 1, 99)},
				{"GetStream", "GetStream", spread(`{"channelArn":"`+arn+`%d"}`, 70001, 9)},
				{"GetStreamSession500Events", "GetStreamSession", spread(`{"channelArn":"`+arn+`%d"}`, 71000, 1000)[:10]},
				{"ListStreams", "ListStreams", []string{`{}`}},
				{"ListStreamsDeep", "ListStreams", []string{`{"nextToken":"` + deepToken(b, s, "ListStreams", 90) + `"}`}},
				{"ListStreamsStarving", "ListStreams", []string{`{"filterBy":{"health":"STARVING"}}`}},
				{"ListChannelsFirst", "ListChannels", []string{`{}`}},
				{"ListChannelsDeep", "ListChannels", []string{`{"nextToken":"` + deepToken(b, s, "ListChannels", 900) + `"}`}},
				{"ListChannelsByName", "ListChannels", []string{`{"filterByName":"name77"}`}},
			} {
				b.Run(bb.name, func(b *testing.B) { benchmark(b, server.Listener.Addr().String(), bb.operation, bb.bodies) })
			}
		})
	}
}

// spread is 1,000 bodies with numbers that are step apart.
func spread(format string, from, step int) (bodies []string) {
	for i := range 1000 {
		bodies = append(bodies, fmt.Sprintf(format, from+i*step))
	}
	return bodies
}

// deepToken walks so many pages of 100 in.
func deepToken(b *testing.B, s *api.Server, operation string, pages int) string {
	off := &api.Server{Store: s.Store, Root: api.Root{Account: account}, Region: region, AuthOff: true, AuthOffOrigins: []string{"*"}, Log: slog.New(slog.DiscardHandler)}
	var out struct{ NextToken string }
	for range pages {
		w := httptest.NewRecorder()
		off.ServeHTTP(w, httptest.NewRequest("POST", "/"+operation, strings.NewReader(`{"nextToken":"`+out.NextToken+`"}`)))
		must(b, json.Unmarshal(w.Body.Bytes(), &out))
	}
	if out.NextToken == "" {
		b.Fatalf("%s has fewer than %d pages", operation, pages)
	}
	return out.NextToken
}
