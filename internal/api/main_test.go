package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/logs/logstest"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

const (
	account = "123456789012"
	region  = "us-west-2"
	keyID   = "AKIDEXAMPLE"
	secret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var root = rootOf(api.AccessKey{AccessKeyID: keyID, SecretAccessKey: secret})

func rootOf(keys ...api.AccessKey) api.Root {
	return api.Root{Account: account, Keys: func() []api.AccessKey { return keys }}
}

var t0 = time.Date(2026, 5, 1, 9, 3, 11, 0, time.UTC)

// A world is an API server on a real database, and clients for it.
type world struct {
	*api.Server
	db  *store.DB
	url string
	log *logstest.Buffer
	ivs *awsivs.Client
	sts *sts.Client
}

// engine makes the databases of worlds.
var engine = storetest.SQLite

func newWorld(t testing.TB) *world { return newWorldOn(t, storetest.Open(t, engine(t))) }

func newWorldOn(t testing.TB, db *store.DB) *world {
	w := &world{db: db, log: &logstest.Buffer{}}
	w.Server = &api.Server{
		Store:       w.db,
		Endpoints:   ivs.Endpoints{PublicURL: "https://live.example.com", IngestHost: "live.example.com"},
		Root:        root,
		Region:      region,
		CheckBucket: checkBucket,
		Live: api.Live{
			StopStream:    w.stop,
			PutMetadata:   func(context.Context, string, string) error { return nil },
			InsertAdBreak: func(context.Context, string, string, time.Duration) error { return nil },
		},
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	srv := httptest.NewServer(w.Server)
	t.Cleanup(srv.Close)
	w.url = srv.URL
	w.ivs, w.sts = w.clients(keyID, secret, region)
	return w
}

// newOpenWorld is a world that checks no signatures.
func newOpenWorld(t testing.TB) *world {
	w := newWorld(t)
	w.AuthOff = true
	return w
}

func (w *world) clients(id, secret, region string) (*awsivs.Client, *sts.Client) {
	cfg := aws.Config{Region: region, BaseEndpoint: aws.String(w.url), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, "")}
	return awsivs.NewFromConfig(cfg), sts.NewFromConfig(cfg)
}

// checkBucket takes every bucket whose name does not begin with bad.
func checkBucket(_ context.Context, _, bucket string) error {
	if strings.HasPrefix(bucket, "bad") {
		return errors.New("no such bucket")
	}
	return nil
}

// stop plays the part of the live sessions.
func (w *world) stop(ctx context.Context, channelARN string) error {
	st, err := w.db.Stream(ctx, channelARN)
	if err != nil {
		return err
	}
	return w.db.WriteEnd(ctx, store.End{StreamID: st.StreamID, Left: time.Now(), Ended: time.Now()})
}

// goLive publishes to the channel.
func (w *world) goLive(t testing.TB, channelARN string, at time.Time) string {
	t.Helper()
	id := storetest.Session(t, w.db, channelARN, "n", at)
	must(t, w.db.StartStream(context.Background(), id, at.Add(time.Second), ivs.IngestConfigurations{
		Video: []ivs.VideoConfiguration{{Codec: "avc1.64002A", Profile: "High", Level: "4.2", VideoWidth: 1920, VideoHeight: 1080, Track: "track0"}}}))
	return id
}

// An answer is the response to a plain HTTP call.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// code is the error's name, which must be the same in header and body.
func (a answer) code(t testing.TB) string {
	t.Helper()
	var body struct {
		Type             string `json:"__type"`
		Message          string `json:"message"`
		ExceptionMessage string `json:"exceptionMessage"`
	}
	code := a.header.Get("x-amzn-ErrorType")
	if a.status < 300 {
		return code
	}
	if err := json.Unmarshal(a.body, &body); err != nil || body.Type != code || body.Message == "" || body.Message != body.ExceptionMessage {
		t.Errorf("error body %s does not go with x-amzn-ErrorType %q (%v)", a.body, code, err)
	}
	return code
}

func (w *world) do(t testing.TB, req *http.Request) answer {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	if res.Header.Get("x-amzn-RequestId") == "" {
		t.Errorf("%s %s: no x-amzn-RequestId", req.Method, req.URL)
	}
	return answer{res.StatusCode, res.Header, body}
}

func (w *world) send(t testing.TB, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	must(t, err)
	return w.do(t, req)
}

// post calls an operation, unsigned.
func (w *world) post(t testing.TB, operation, body string) answer {
	t.Helper()
	return w.send(t, "POST", "/"+operation, body)
}

// create makes a channel, unsigned, and returns its ARN and its key's.
func (w *world) create(t testing.TB, body string) (channelARN, keyARN string) {
	t.Helper()
	var out struct {
		Channel   ivs.Channel
		StreamKey ivs.StreamKey
	}
	a := w.post(t, "CreateChannel", body)
	if err := json.Unmarshal(a.body, &out); err != nil || a.status != 200 {
		t.Fatalf("CreateChannel(%s) = %d %s, %v", body, a.status, a.body, err)
	}
	return out.Channel.ARN, out.StreamKey.ARN
}

var must = storetest.Must
