package api_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func TestRouting(t *testing.T) {
	w := newOpenWorld(t)
	arn, _ := w.create(t, `{}`)
	escaped := strings.NewReplacer(":", "%3A", "/", "%2F").Replace(arn)
	for _, tt := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/ListChannels", `{}`, 200, ""},
		{"POST", "/listchannels", `{}`, 404, "POST listchannels is not an operation"},
		{"POST", "/v1/ListChannels", `{}`, 200, ""}, // the path of an endpoint URL
		{"POST", "/a/b//ListChannels", `{}`, 200, ""},
		{"POST", "/ListChannels/", `{}`, 404, "POST ListChannels/ is not an operation"},
		{"POST", "/v1/ListRooms", `{}`, 404, "POST v1/ListRooms is not an operation"},
		{"GET", "/ListChannels", ``, 404, "GET ListChannels is not an operation"},
		{"POST", "/putMetadata", `{}`, 404, "putMetadata is not an operation"},
		{"POST", "/CreateStage", `{}`, 404, "IVS Real-Time"},
		{"POST", "/" + strings.Repeat("x", 1000), ``, 404, "x… is not"},
		{"GET", "/", ``, 400, "InvalidAction"},
		{"POST", "/", `Action=AssumeRoleWithSAML`, 400, "InvalidAction"},
		{"POST", "/", `%zz`, 400, "not a form"},
		{"GET", "/tags/" + escaped, ``, 200, `{"tags":{}}`},
		{"GET", "/tags/" + arn, ``, 200, `{"tags":{}}`},
		{"GET", "/v1/tags/" + escaped, ``, 200, `{"tags":{}}`},
		{"POST", "/tags/" + escaped, `{"tags":{"k":"v"}}`, 200, `{}`},
		{"POST", "/tags/" + escaped, `{"tags":` + tags(50) + `}`, 400, "at most 50 tags"}, // with k, 51
		{"POST", "/tags/" + escaped, `{"tags":{"a#b":"v"}}`, 400, "key of tags"},
		{"POST", "/tags/" + escaped, `{}`, 400, "TagResource.tags is a required attribute"},
		{"POST", "/tags/" + escaped, `[]`, 400, "JSON object"},
		{"DELETE", "/tags/" + escaped, ``, 400, "tagKeys must have 1 to 50"},
		{"DELETE", "/tags/" + escaped + "?tagKeys=k&tagKeys=a%20b", ``, 200, `{}`},
		{"GET", "/tags/" + escaped, ``, 200, `{"tags":{}}`},
		{"POST", "/tags/" + escaped, `{"tags":{"a+b":"1","a b":"2"}}`, 200, `{}`},
		{"DELETE", "/tags/" + escaped + "?tagKeys=a+b", ``, 200, `{}`},
		{"GET", "/tags/" + escaped, ``, 200, `{"tags":{"a b":"2"}}`},
		{"PUT", "/tags/" + escaped, ``, 404, "UnknownOperationException"},
		{"GET", "/tags/nope", ``, 400, "resourceArn must be an ARN"},
		{"GET", "/tags/", ``, 400, "resourceArn must be an ARN"},
		{"GET", "/tags/" + strings.Replace(escaped, "123456789012", "1", 1), ``, 404, "not found"},
		{"GET", "/tags/" + strings.Replace(escaped, "channel", "recording-configuration", 1), ``, 404, "not found"},
	} {
		a := w.send(t, tt.method, tt.path, tt.body)
		if a.status != tt.status || !strings.Contains(string(a.body), tt.says) {
			t.Errorf("%s %.60s %.60s = %d %s, want %d saying %q", tt.method, tt.path, tt.body, a.status, a.body, tt.status, tt.says)
		}
	}
}

func TestPreflight(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/CreateChannel", "/", "/tags/x", "/nothing"} {
		a := w.send(t, "OPTIONS", path, "")
		allowed := strings.ToLower(a.header.Get("Access-Control-Allow-Headers"))
		if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "DELETE") {
			t.Errorf("OPTIONS %s = %d %v", path, a.status, a.header)
		}
		for _, name := range []string{"authorization", "content-type", "x-amz-date", "x-amz-content-sha256", "x-amz-user-agent", "amz-sdk-request", "amz-sdk-invocation-id"} {
			if !strings.Contains(allowed, name) {
				t.Errorf("OPTIONS %s does not allow %s", path, name)
			}
		}
	}
	a := w.post(t, "ListChannels", `{}`) // an error, too, must be readable by a page
	if a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "x-amzn-errortype") {
		t.Errorf("headers of an error: %v", a.header)
	}
}

func TestBodyBounds(t *testing.T) {
	w := newOpenWorld(t)
	padded := func(n int) string { return `{}` + strings.Repeat(" ", n-2) }
	for n, status := range map[int]int{256 << 10: 200, 256<<10 + 1: 413, 1 << 20: 413} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(padded(n))
			if chunked {
				body = io.MultiReader(body) // hides the length
			}
			req, err := http.NewRequest("POST", w.url+"/ListChannels", body)
			must(t, err)
			if a := w.do(t, req); a.status != status {
				t.Errorf("%d bytes (chunked %v) = %d %s, want %d", n, chunked, a.status, a.body, status)
			}
		}
	}
	if a := w.post(t, "ListChannels", strings.Repeat("[", 200_000)); a.status != 400 {
		t.Errorf("deep nesting = %d %.100s", a.status, a.body)
	}
}

// Beyond as many calls as it answers at a time, the server says so in the words
// of the API.
func TestCallsAtATime(t *testing.T) {
	w := newOpenWorld(t)
	w.MaxCalls = 1
	arn, _ := w.create(t, `{}`)
	w.goLive(t, arn, t0)
	inside, leave := make(chan struct{}), make(chan struct{})
	w.Live.StopStream = func(context.Context, string) error {
		inside <- struct{}{}
		<-leave
		return nil
	}
	first := make(chan answer)
	go func() { first <- w.post(t, "StopStream", `{"channelArn":"`+arn+`"}`) }()
	<-inside
	for _, operation := range []string{"BatchGetChannel", "GetChannel"} {
		if a := w.post(t, operation, `{}`); a.code(t) != "ServiceUnavailable" || a.status != 503 || a.header.Get("Retry-After") != "1" {
			t.Errorf("a second call = %d %s", a.status, a.body)
		}
	}
	close(leave)
	if a := <-first; a.status != 200 {
		t.Errorf("the first call = %d %s", a.status, a.body)
	}
	if a := w.post(t, "GetChannel", `{"arn":"`+arn+`"}`); a.status != 200 {
		t.Errorf("a call after the first = %d %s", a.status, a.body)
	}
}

// What went wrong inside is for the log; the caller gets the id to find it by.
func TestInternalErrors(t *testing.T) {
	w := newOpenWorld(t)
	arn, _ := w.create(t, `{}`)
	w.goLive(t, arn, t0)
	w.Live.StopStream = failWith(errors.New("the disk is on fire"))
	a := w.post(t, "StopStream", `{"channelArn":"`+arn+`"}`)
	if a.code(t) != "InternalServerException" || a.status != 500 || strings.Contains(string(a.body), "on fire") {
		t.Errorf("answer %d %s", a.status, a.body)
	}
	lines := regexp.MustCompile(`(?m)^.*level=ERROR.*on fire.*$`).FindAllString(w.log.String(), -1)
	if len(lines) != 1 || !strings.Contains(lines[0], "request_id="+a.header.Get("x-amzn-RequestId")) || !strings.Contains(lines[0], "operation=StopStream") {
		t.Errorf("log:\n%s", w.log)
	}
}

// Errors of the live sessions reach the caller as they are.
func TestStopStreamErrors(t *testing.T) {
	w := newOpenWorld(t)
	arn, _ := w.create(t, `{}`)
	w.goLive(t, arn, t0)
	for kind, want := range map[ivs.Kind]int{ivs.StreamUnavailable: 503, ivs.NotBroadcasting: 404} {
		w.Live.StopStream = failWith(ivs.Errorf(kind, "just so"))
		if a := w.post(t, "StopStream", `{"channelArn":"`+arn+`"}`); a.status != want || a.code(t) != kind.Code() || !strings.Contains(string(a.body), "just so") {
			t.Errorf("%v = %d %s", kind, a.status, a.body)
		}
	}
}

// A stream that does not stop ends in an answer all the same.
func TestStreamThatDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), storetest.SQLite(t))
		must(t, err)
		defer db.Close()
		w := &world{db: db}
		c := ivs.NewChannel(account, region)
		must(t, db.CreateChannel(t.Context(), c, ivs.NewStreamKey(account, region, c.ARN)))
		w.goLive(t, c.ARN, time.Now())
		s := &api.Server{Store: db, Root: api.Root{Account: account}, Region: region, AuthOff: true, AuthOffOrigins: []string{"*"}, Log: slog.New(slog.DiscardHandler),
			Live: api.Live{StopStream: func(ctx context.Context, _ string) error {
				<-ctx.Done()
				return context.Cause(ctx)
			}}}
		begin, rec := time.Now(), httptest.NewRecorder()
		s.ServeHTTP(rec, httptest.NewRequest("POST", "/StopStream", strings.NewReader(`{"channelArn":"`+c.ARN+`"}`)))
		if rec.Code != 503 || rec.Header().Get("x-amzn-ErrorType") != "StreamUnavailable" || time.Since(begin) != 20*time.Second {
			t.Errorf("after %v: %d %s", time.Since(begin), rec.Code, rec.Body)
		}
	})
}

// No secret is in the log, whatever is asked.
func TestLogHasNoSecrets(t *testing.T) {
	w := newOpenWorld(t)
	arn, keyARN := w.create(t, `{}`)
	key := w.post(t, "GetStreamKey", `{"arn":"`+keyARN+`"}`)
	w.post(t, "GetStreamKey", `{"arn":"`+keyARN+`x"}`)
	w.post(t, "GetChannel", `{"arn":"`+arn+`"}`)
	value := regexp.MustCompile(`sk_[A-Za-z0-9_-]+`).FindString(string(key.body))
	if value == "" || strings.Contains(w.log.String(), value) || strings.Contains(w.log.String(), "passphrase") {
		t.Errorf("key %q, log:\n%s", value, w.log)
	}
	if n := strings.Count(w.log.String(), "API call"); n != 4 {
		t.Errorf("%d log lines for 4 calls:\n%s", n, w.log)
	}
}

// With signatures off, an access key of 12 digits is the account.
func TestAuthOff(t *testing.T) {
	w := newOpenWorld(t)
	for header, want := range map[string]string{
		"": "arn:aws:ivs:us-west-2:123456789012:",
		"AWS4-HMAC-SHA256 Credential=111122223333/20200101/eu-west-1/ivs/aws4_request, SignedHeaders=host, Signature=0": "arn:aws:ivs:eu-west-1:111122223333:",
		"AWS4-HMAC-SHA256 Credential=AKID/20200101/eu-west-1/ivs/aws4_request, SignedHeaders=host, Signature=0":         "arn:aws:ivs:eu-west-1:123456789012:",
		"AWS4-HMAC-SHA256 Credential=11112222333/20200101/EU'--/ivs/aws4_request, SignedHeaders=host, Signature=0":      "arn:aws:ivs:us-west-2:123456789012:",
		"AWS4-HMAC-SHA256 Credential=test/20200101/eu-west-1/ivs":                                                       "arn:aws:ivs:us-west-2:123456789012:",
		"Bearer whatever": "arn:aws:ivs:us-west-2:123456789012:",
		"AWS4-HMAC-SHA256 Credential=x/20200101/" + strings.Repeat("r", 33) + "/ivs/aws4_request,SignedHeaders=h,Signature=0": "arn:aws:ivs:us-west-2:123456789012:",
	} {
		req, err := http.NewRequest("POST", w.url+"/CreateChannel", strings.NewReader(`{}`))
		must(t, err)
		req.Header.Set("Authorization", header)
		if a := w.do(t, req); a.status != 200 || !strings.Contains(string(a.body), `"arn":"`+want) {
			t.Errorf("%q = %d %s, want %s", header, a.status, a.body, want)
		}
	}
}

func TestCallerIdentityXML(t *testing.T) {
	w := newOpenWorld(t)
	a := w.send(t, "POST", "/", "Action=GetCallerIdentity&Version=2011-06-15")
	want := `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
		`<Arn>arn:aws:iam::123456789012:root</Arn><UserId>123456789012</UserId><Account>123456789012</Account></GetCallerIdentityResult>` +
		`<ResponseMetadata><RequestId>` + a.header.Get("x-amzn-RequestId") + `</RequestId></ResponseMetadata></GetCallerIdentityResponse>`
	if a.status != 200 || string(a.body) != want || a.header.Get("Content-Type") != "text/xml" {
		t.Errorf("= %d\n%s, want\n%s", a.status, a.body, want)
	}
	w.AuthOff = false
	a = w.send(t, "POST", "/", "Action=GetCallerIdentity")
	want = `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>MissingAuthenticationToken</Code>` +
		`<Message>Missing Authentication Token: the request is not signed</Message></Error><RequestId>` + a.header.Get("x-amzn-RequestId") + `</RequestId></ErrorResponse>`
	if a.status != 403 || string(a.body) != want {
		t.Errorf("= %d\n%s, want\n%s", a.status, a.body, want)
	}
}

func failWith(err error) func(context.Context, string) error {
	return func(context.Context, string) error { return err }
}
