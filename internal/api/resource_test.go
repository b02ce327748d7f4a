package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// A key made by openssl, and its fingerprint: that of
// openssl pkey -pubin -outform DER | md5sum.
const (
	knownKey = `-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEkxt1ljW0TvhAG/qa2ae2s3VdUmSqNiGI
xPewiSfrqL+b3g2NP9v8GBT0Gec/g0C3awLcrp9EAFYAUHjOWJgm5F07zmHyRvaV
67dWo5q6bwzebtCLpUeu14FdXEBgvOZW
-----END PUBLIC KEY-----
`
	knownFingerprint = "d8:d8:11:85:fc:40:7c:26:cc:d8:b2:21:eb:82:bd:5a"
)

// The JSON of every resource, member by member.
func TestResourceShapes(t *testing.T) {
	w := newOpenWorld(t)
	arns := map[string]string{}
	for _, tt := range []struct{ operation, body, want string }{
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(knownKey) + `}`,
			`{"keyPair":{"arn":"KEYPAIR","name":"","fingerprint":"` + knownFingerprint + `","tags":{}}}`},
		{"GetPlaybackKeyPair", `{"arn":"KEYPAIR"}`,
			`{"keyPair":{"arn":"KEYPAIR","name":"","fingerprint":"` + knownFingerprint + `","tags":{}}}`},
		{"ListPlaybackKeyPairs", ``, `{"keyPairs":[{"arn":"KEYPAIR","name":"","tags":{}}]}`},
		{"DeletePlaybackKeyPair", `{"arn":"KEYPAIR"}`, `{}`},
		{"ListPlaybackKeyPairs", ``, `{"keyPairs":[]}`},

		{"CreateRecordingConfiguration", `{"destinationConfiguration":{"s3":{"bucketName":"demo"}}}`,
			`{"recordingConfiguration":{"arn":"RECORDING","name":"","destinationConfiguration":{"s3":{"bucketName":"demo"}},"state":"CREATING","tags":{},` +
				`"thumbnailConfiguration":{"recordingMode":"INTERVAL","targetIntervalSeconds":60,"storage":["SEQUENTIAL"]},` +
				`"recordingReconnectWindowSeconds":0,"renditionConfiguration":{"renditionSelection":"ALL"}}}`},
		{"ListRecordingConfigurations", ``, `{"recordingConfigurations":[{"arn":"RECORDING","name":"","destinationConfiguration":{"s3":{"bucketName":"demo"}},` +
			`"state":"CREATING","tags":{}}]}`},
		{"DeleteRecordingConfiguration", `{"arn":"RECORDING"}`, ``},

		{"CreatePlaybackRestrictionPolicy", ``, `{"playbackRestrictionPolicy":{"arn":"POLICY","name":"","allowedCountries":[],"allowedOrigins":[],` +
			`"enableStrictOriginEnforcement":false,"tags":{}}}`},
		{"UpdatePlaybackRestrictionPolicy", `{"arn":"POLICY","name":"geo","allowedCountries":["JP"]}`, `{"playbackRestrictionPolicy":{"arn":"POLICY","name":"geo",` +
			`"allowedCountries":["JP"],"allowedOrigins":[],"enableStrictOriginEnforcement":false,"tags":{}}}`},
		{"UpdatePlaybackRestrictionPolicy", `{"arn":"POLICY","allowedCountries":[],"enableStrictOriginEnforcement":true}`, `{"playbackRestrictionPolicy":{"arn":"POLICY","name":"geo",` +
			`"allowedCountries":[],"allowedOrigins":[],"enableStrictOriginEnforcement":true,"tags":{}}}`},
		{"ListPlaybackRestrictionPolicies", ``, `{"playbackRestrictionPolicies":[{"arn":"POLICY","name":"geo","allowedCountries":[],"allowedOrigins":[],` +
			`"enableStrictOriginEnforcement":true,"tags":{}}]}`},
		{"DeletePlaybackRestrictionPolicy", `{"arn":"POLICY"}`, ``},

		{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[{"playbackConfigurationArn":"` + mediaTailor + `"}]}`,
			`{"adConfiguration":{"arn":"ADS","name":"","mediaTailorPlaybackConfigurations":[{"playbackConfigurationArn":"` + mediaTailor + `"}],` +
				`"postRollConfiguration":{"enabled":false,"durationSeconds":15},"tags":{}}}`},
		{"UpdateAdConfiguration", `{"arn":"ADS","postRollConfiguration":{"enabled":true,"durationSeconds":30}}`,
			`{"adConfiguration":{"arn":"ADS","name":"","mediaTailorPlaybackConfigurations":[{"playbackConfigurationArn":"` + mediaTailor + `"}],` +
				`"postRollConfiguration":{"enabled":true,"durationSeconds":30},"tags":{}}}`},
		{"DeleteAdConfiguration", `{"arn":"ADS"}`, ``},
	} {
		var pairs []string
		for name, arn := range arns {
			pairs = append(pairs, name, arn)
		}
		a := w.post(t, tt.operation, strings.NewReplacer(pairs...).Replace(tt.body))
		got := string(a.body)
		if _, rest, found := strings.Cut(got, `"arn":"`); found { // give the new ARN its name
			arn, _, _ := strings.Cut(rest, `"`)
			_, rest, _ := strings.Cut(tt.want, `"arn":"`)
			name, _, _ := strings.Cut(rest, `"`)
			arns[name] = arn
			got = strings.ReplaceAll(got, arn, name)
		}
		wantStatus := 200
		if tt.want == "" {
			wantStatus = 204
		}
		if a.status != wantStatus || got != tt.want {
			t.Errorf("%s(%s) = %d\n%s, want\n%s", tt.operation, tt.body, a.status, got, tt.want)
		}
	}
}

// A recording configuration becomes what its bucket allows, and can be
// attached only when it is ACTIVE.
func TestRecordingConfigurationSettles(t *testing.T) {
	w := newOpenWorld(t)
	good, bad := w.record(t, "good"), w.record(t, "bad")
	if a := w.post(t, "CreateChannel", `{"recordingConfigurationArn":"`+good+`"}`); a.code(t) != "ValidationException" || !strings.Contains(string(a.body), "CREATING") {
		t.Errorf("attached while CREATING: %d %s", a.status, a.body)
	}
	w.createAll(t)
	for arn, state := range map[string]string{good: "ACTIVE", bad: "CREATE_FAILED"} {
		if a := w.post(t, "GetRecordingConfiguration", `{"arn":"`+arn+`"}`); !strings.Contains(string(a.body), `"state":"`+state+`"`) {
			t.Errorf("%s, want %s", a.body, state)
		}
	}
	if !strings.Contains(w.log.String(), "no such bucket") {
		t.Errorf("the reason is not in the log:\n%s", w.log)
	}
	if a := w.post(t, "CreateChannel", `{"recordingConfigurationArn":"`+good+`"}`); a.status != 200 {
		t.Errorf("attached when ACTIVE: %d %s", a.status, a.body)
	}
	if a := w.post(t, "CreateChannel", `{"recordingConfigurationArn":"`+bad+`"}`); a.code(t) != "ValidationException" {
		t.Errorf("attached when CREATE_FAILED: %d %s", a.status, a.body)
	}
}

// Run ends with its context, and looks at once when there is something to do.
func TestRunWakesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), storetest.SQLite(t))
		must(t, err)
		defer db.Close()
		s := &api.Server{Store: db, CheckBucket: checkBucket, AuthOff: true, AuthOffOrigins: []string{"*"}, Root: api.Root{Account: account}, Region: region}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		begin := time.Now()
		w := &world{Server: s, db: db}
		c := w.record(t, "good")
		synctest.Wait()
		got, err := db.RecordingConfigurations().Get(ctx, c)
		if err != nil || got.State != ivs.RecordingActive || time.Since(begin) != 0 {
			t.Errorf("after %v: %+v, %v", time.Since(begin), got, err)
		}
		cancel()
		must(t, <-done)
	})
}

// Buckets that do not answer are asked eight at a time, for 15 s each.
func TestBucketsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), storetest.SQLite(t))
		must(t, err)
		defer db.Close()
		var asked, given atomic.Int32
		silent := func(ctx context.Context, _, _ string) error {
			asked.Add(1)
			<-ctx.Done()
			given.Add(1)
			return ctx.Err()
		}
		s := &api.Server{Store: db, CheckBucket: silent, AuthOff: true, AuthOffOrigins: []string{"*"}, Root: api.Root{Account: account}, Region: region}
		w := &world{Server: s, db: db}
		for n := range 20 {
			w.record(t, fmt.Sprint("silent-", n))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(time.Second)
		for _, want := range []int32{8, 16, 20} {
			if got := asked.Load(); got != want {
				t.Errorf("%d buckets have been asked, want %d", got, want)
			}
			time.Sleep(15 * time.Second)
		}
		if got := given.Load(); got != 20 {
			t.Errorf("%d of 20 have been given up after 46 s", got)
		}
		cancel()
		must(t, <-done)
	})
}

// A revocation is kept for the tokens that it is about.
func TestRevocations(t *testing.T) {
	w := newOpenWorld(t)
	arn, _ := w.create(t, `{}`)
	in := `"channelArn":"` + arn + `","viewerId":"viewer","viewerSessionVersionsLessThanOrEqualTo":`
	if a := w.post(t, "StartViewerSessionRevocation", `{`+in+`7}`); a.status != 200 || string(a.body) != `{}` {
		t.Errorf("= %d %s", a.status, a.body)
	}
	a := w.post(t, "BatchStartViewerSessionRevocation", `{"viewerSessions":[{`+in+`9},{`+strings.Replace(in, arn, arn+"x", 1)+`9},{`+
		strings.Replace(in, account, "999999999999", 1)+`9}]}`)
	gone := func(arn string) string {
		return `{"channelArn":"` + arn + `","viewerId":"viewer","code":"404","message":"resource not found"}`
	}
	if want := `{"errors":[` + gone(arn+"x") + `,` + gone(strings.Replace(arn, account, "999999999999", 1)) + `]}`; a.status != 200 || string(a.body) != want {
		t.Errorf("= %d\n%s, want\n%s", a.status, a.body, want)
	}
	var made []store.Revocation
	err := w.db.Revocations(t.Context(), -1, func(r store.Revocation) { made = append(made, r) })
	if err != nil || len(made) != 1 || made[0].ViewerSession != (ivs.ViewerSession{ChannelARN: arn, ViewerID: "viewer", Version: 9}) {
		t.Errorf("revoked %+v, %v", made, err)
	}
}

// Metadata for a stream is passed to the live session, and its errors back.
func TestInsertions(t *testing.T) {
	w := newOpenWorld(t)
	var put, inserted string
	w.Live.PutMetadata = func(_ context.Context, arn, text string) error { put = arn + " " + text; return nil }
	w.Live.InsertAdBreak = func(_ context.Context, arn, id string, length time.Duration) error {
		inserted = id
		if length != 30*time.Second {
			return errors.New("another length")
		}
		return nil
	}
	var ad struct{ AdConfiguration ivs.AdConfiguration }
	must(t, json.Unmarshal(w.post(t, "CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[{"playbackConfigurationArn":"`+mediaTailor+`"}]}`).body, &ad))
	arn, _ := w.create(t, `{"adConfigurationArn":"`+ad.AdConfiguration.ARN+`"}`)
	w.goLive(t, arn, t0)
	if a := w.post(t, "PutMetadata", `{"channelArn":"`+arn+`","metadata":"hällo"}`); a.status != 204 || len(a.body) != 0 || put != arn+" hällo" {
		t.Errorf("PutMetadata = %d %s, carried %q", a.status, a.body, put)
	}
	if a := w.post(t, "InsertAdBreak", `{"channelArn":"`+arn+`","durationSeconds":30}`); a.status != 200 || string(a.body) != `{"adBreakId":"`+inserted+`"}` || len(inserted) != 12 {
		t.Errorf("InsertAdBreak = %d %s, inserted %q", a.status, a.body, inserted)
	}
	w.Live.PutMetadata = func(context.Context, string, string) error { return ivs.Errorf(ivs.Throttling, "too much waits") }
	if a := w.post(t, "PutMetadata", `{"channelArn":"`+arn+`","metadata":"x"}`); a.status != 429 {
		t.Errorf("PutMetadata = %d %s", a.status, a.body)
	}
}

// Tags of every type of resource are read, changed and shown.
func TestTagsOfEveryResource(t *testing.T) {
	w := newOpenWorld(t)
	channel, key := w.create(t, `{}`)
	arns := []string{channel, key, w.record(t, "good")}
	for _, c := range []struct{ operation, body string }{
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(knownKey) + `}`},
		{"CreatePlaybackRestrictionPolicy", `{}`},
		{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[{"playbackConfigurationArn":"` + mediaTailor + `"}]}`},
	} {
		_, rest, _ := strings.Cut(string(w.post(t, c.operation, c.body).body), `"arn":"`)
		arn, _, _ := strings.Cut(rest, `"`)
		arns = append(arns, arn)
	}
	for _, arn := range arns {
		path := "/tags/" + strings.NewReplacer(":", "%3A", "/", "%2F").Replace(arn)
		w.send(t, "POST", path, `{"tags":{"a":"1","b":"2"}}`)
		w.send(t, "DELETE", path+"?tagKeys=a", ``)
		if a := w.send(t, "GET", path, ``); string(a.body) != `{"tags":{"b":"2"}}` {
			t.Errorf("%s has %d %s", arn, a.status, a.body)
		}
		if a := w.send(t, "GET", path+"x", ``); a.status != 404 {
			t.Errorf("%sx has %d %s", arn, a.status, a.body)
		}
	}
}

// record makes a recording configuration, past the network, and returns its
// ARN.
func (w *world) record(t testing.TB, bucket string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	w.Server.ServeHTTP(rec, httptest.NewRequest("POST", "http://localhost/CreateRecordingConfiguration", strings.NewReader(`{"destinationConfiguration":{"s3":{"bucketName":"`+bucket+`"}}}`)))
	var out struct{ RecordingConfiguration ivs.RecordingConfiguration }
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || rec.Code != 200 {
		t.Fatalf("CreateRecordingConfiguration = %d %s, %v", rec.Code, rec.Body, err)
	}
	return out.RecordingConfiguration.ARN
}
