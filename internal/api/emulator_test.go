package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/store"
)

// as sends a call of a made-up account.
func (w *world) as(t testing.TB, accessKey, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+accessKey+"/20200101/us-west-2/ivs/aws4_request, SignedHeaders=host, Signature=0")
	return w.do(t, req)
}

// A reset leaves nothing of the account, whatever it is doing, and all of the
// others.
func TestReset(t *testing.T) {
	w := newOpenWorld(t)
	w.Extensions = map[string]api.Extension{"POST /_millrace/reset": w.Reset}
	const one, two = "111111111111", "222222222222"
	count := func(account, operation string) int {
		return strings.Count(string(w.as(t, account, "POST", "/"+operation, `{}`).body), `"arn"`) +
			strings.Count(string(w.as(t, account, "POST", "/"+operation, `{}`).body), `"streamId"`)
	}
	var live string
	for _, account := range []string{one, two} {
		for range 2 {
			_, rest, _ := strings.Cut(string(w.as(t, account, "POST", "/CreateChannel", `{}`).body), `"arn":"`)
			live, _, _ = strings.Cut(rest, `"`)
			w.goLive(t, live, t0)
		}
		w.as(t, account, "POST", "/CreatePlaybackRestrictionPolicy", `{}`)
	}
	_, err := w.db.NumberEvents(t.Context())
	must(t, err)
	end, err := w.db.FeedEnd(t.Context())
	must(t, err)
	if a := w.as(t, two, "POST", "/_millrace/reset", ``); a.status != 200 {
		t.Fatalf("reset = %d %s", a.status, a.body)
	}
	for operation, want := range map[string]int{"ListChannels": 2, "ListStreams": 2, "ListPlaybackRestrictionPolicies": 1} {
		if n := count(two, operation); n != 0 {
			t.Errorf("after the reset %s counts %d", operation, n)
		}
		if n := count(one, operation); n < want {
			t.Errorf("of the other account %s counts %d", operation, n)
		}
	}
	if a := w.as(t, two, "POST", "/ListStreamSessions", `{"channelArn":"`+live+`"}`); a.status != 404 {
		t.Errorf("sessions of a channel that is gone: %d %s", a.status, a.body)
	}
	if after, err := w.db.FeedEnd(t.Context()); err != nil || after != end {
		t.Errorf("the feed ends at %d, %v; before at %d", after, err, end)
	}
	events, _, err := w.db.Feed(t.Context(), store.FeedFilter{Scope: store.Scope{Account: two, Region: region}}, 0, 10)
	if err != nil || len(events) != 0 {
		t.Errorf("events %v, %v", events, err)
	}
	if a := w.as(t, two, "POST", "/_millrace/reset", ``); a.status != 200 { // of nothing
		t.Errorf("reset again = %d %s", a.status, a.body)
	}
}

// A server that checks signatures is never reset.
func TestResetIsForEmulators(t *testing.T) {
	w := newOpenWorld(t)
	w.Extensions = map[string]api.Extension{"POST /_millrace/reset": func(rw http.ResponseWriter, r *http.Request, s store.Scope) error {
		w.AuthOff = false // as it is where a signature has been checked
		return w.Reset(rw, r, s)
	}}
	if a := w.send(t, "POST", "/_millrace/reset", ``); a.code(t) != "AccessDeniedException" || a.status != 403 {
		t.Errorf("= %d %s", a.status, a.body)
	}
}

// A key that looks like one of AWS's own is warned about, once.
func TestRealKeysAreWarnedAbout(t *testing.T) {
	w := newOpenWorld(t)
	for _, key := range []string{"test", "123456789012", "AKIAIOSFODNN7EXAMPLE", "AKIATOOSHORT"} {
		w.as(t, key, "POST", "/ListChannels", `{}`)
	}
	if strings.Contains(w.log.String(), "level=WARN") {
		t.Errorf("a warning of nothing:\n%s", w.log)
	}
	for range 3 {
		w.as(t, "AKIA2222333344445555", "POST", "/ListChannels", `{}`)
	}
	if n := strings.Count(w.log.String(), "looks like a real AWS access key"); n != 1 || strings.Contains(w.log.String(), "AKIA2222333344445555") {
		t.Errorf("%d warnings:\n%s", n, w.log)
	}
}

// Calls that were meant for another service get an answer that says so, in the
// form that the service's clients read.
func TestSiblingServices(t *testing.T) {
	w := newOpenWorld(t)
	const form = "application/x-www-form-urlencoded; charset=utf-8"
	for _, tt := range []struct {
		service, method, path string
		header                http.Header
		status                int
		says                  []string
	}{
		{"ivschat", "POST", "/CreateRoom", nil, 404, []string{`"__type":"UnknownOperationException"`, "signed for Amazon IVS Chat (ivschat)"}},
		{"ivschat", "POST", "/ListRooms", nil, 404, []string{`"__type":"UnknownOperationException"`}},
		{"ivs", "POST", "/CreateStage", nil, 404, []string{`"__type":"UnknownOperationException"`, "CreateStage belongs to IVS Real-Time (ivs-realtime)"}},
		{"ivs", "POST", "/ListCompositions", nil, 404, []string{"IVS Real-Time"}},
		{"medialive", "GET", "/prod/channels", nil, 404, []string{`"__type":"UnknownOperationException"`, "signed for medialive"}},
		{"events", "POST", "/", http.Header{"X-Amz-Target": {"AWSEvents.PutEvents"}, "Content-Type": {"application/x-amz-json-1.1"}}, 404,
			[]string{`"__type":"UnknownOperationException"`, "signed for events"}},
		{"", "POST", "/", http.Header{"X-Amz-Target": {"DynamoDB_20120810.ListTables"}}, 404, []string{`"__type":"UnknownOperationException"`, "POST DynamoDB_20120810.ListTables is not"}},
		{"dynamodb", "POST", "/", nil, 404, []string{`"__type":"UnknownOperationException"`, "signed for dynamodb"}},
		{"sns", "POST", "/", http.Header{"Content-Type": {form}}, 400, []string{"<ErrorResponse ", "<Code>InvalidAction</Code>", "signed for sns"}},
		{"sts", "POST", "/", http.Header{"Content-Type": {form}}, 400, []string{"<ErrorResponse ", "<Code>InvalidAction</Code>", "is not an operation"}},
		{"s3", "GET", "/", nil, 404, []string{"<Error><Code>UnknownOperationException</Code><Message>The request is signed for s3"}},
		{"s3", "PUT", "/bucket/key", nil, 404, []string{"<Error><Code>UnknownOperationException</Code>", "<RequestID>"}},
	} {
		req, err := http.NewRequest(tt.method, w.url+tt.path, strings.NewReader(`{}`))
		must(t, err)
		for k, v := range tt.header {
			req.Header[k] = v
		}
		if tt.service != "" {
			req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20200101/us-west-2/"+tt.service+"/aws4_request, SignedHeaders=host, Signature=0")
		}
		a := w.do(t, req)
		for _, says := range append(tt.says, "this is Millrace") {
			if a.status != tt.status || !strings.Contains(string(a.body), says) {
				t.Errorf("%s %s of %s %v = %d %s, want %d saying %q", tt.method, tt.path, tt.service, tt.header, a.status, a.body, tt.status, says)
			}
		}
	}
}

// With signatures off, no page of another origin can call: neither openly nor
// under a name that it lets resolve to this machine.
func TestForeignPagesAreRefused(t *testing.T) {
	w := newOpenWorld(t)
	w.AuthOffOrigins = []string{"https://app.example.com"}
	for _, tt := range []struct {
		host, origin, site string
		allowed            bool
	}{
		{"127.0.0.1:8080", "", "", true}, // SDKs
		{"[::1]:8080", "", "", true},
		{"localhost:8080", "", "", true},
		{"millrace:8080", "", "", true}, // a container's name
		{"host.docker.internal:8080", "", "", true},
		{"aws.localhost", "", "", true},
		{"live.example.com", "", "", true}, // --public-url
		{"localhost:8080", "http://localhost:8080", "same-origin", true},
		{"localhost:8080", "", "none", true}, // typed into the address bar
		{"localhost:8080", "https://app.example.com", "cross-site", true},
		{"app.example.com", "", "", true},

		{"localhost:8080", "https://evil.example", "cross-site", false},
		{"localhost:8080", "https://evil.example", "", false},
		{"localhost:8080", "http://localhost:3000", "same-site", false},
		{"localhost:8080", "null", "cross-site", false}, // a sandboxed frame
		{"localhost:8080", "", "cross-site", false},     // an image
		{"localhost:8080", "%zz", "", false},
		{"evil.example:8080", "http://evil.example:8080", "same-origin", false}, // rebinding
		{"evil.example", "", "", false},
		{"", "", "", true}, // HTTP/1.0
	} {
		for _, method := range []string{"GET", "POST", "OPTIONS"} {
			r := httptest.NewRequest(method, "/ListChannels", nil)
			r.Host = tt.host
			for name, value := range map[string]string{"Origin": tt.origin, "Sec-Fetch-Site": tt.site} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			refused := rec.Code == 403 && strings.Contains(rec.Body.String(), "--auth-off-origins") && rec.Header().Get("Access-Control-Allow-Origin") == ""
			if refused == tt.allowed {
				t.Errorf("%s %+v = %d %s", method, tt, rec.Code, rec.Body)
			}
		}
	}
	w.AuthOffOrigins = []string{"*"}
	r := httptest.NewRequest("POST", "http://evil.example/ListChannels", nil)
	r.Header.Set("Origin", "https://evil.example")
	rec := httptest.NewRecorder()
	if w.ServeHTTP(rec, r); rec.Code != 200 {
		t.Errorf("* = %d %s", rec.Code, rec.Body)
	}
}

// Test suites for emulators wait for the services, and assume roles.
func TestEmulatorConventions(t *testing.T) {
	w := newOpenWorld(t)
	if a := w.send(t, "GET", "/_localstack/health", ``); a.status != 200 || !strings.Contains(string(a.body), `"ivs":"running"`) {
		t.Errorf("health = %d %s", a.status, a.body)
	}
	_, client := w.clients("test", "test", region)
	role, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::222222222222:role/ci/deploy"), RoleSessionName: aws.String("me")})
	must(t, err)
	if *role.AssumedRoleUser.Arn != "arn:aws:sts::222222222222:assumed-role/deploy/me" || !role.Credentials.Expiration.After(time.Now()) {
		t.Errorf("AssumeRole = %+v", role.AssumedRoleUser)
	}
	_, assumed := w.clients(*role.Credentials.AccessKeyId, *role.Credentials.SecretAccessKey, region)
	session, err := assumed.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	must(t, err)
	_, again := w.clients(*session.Credentials.AccessKeyId, *session.Credentials.SecretAccessKey, region)
	if id, err := again.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil || *id.Account != "222222222222" {
		t.Errorf("the identity of an assumed role: %+v, %v", id, err)
	}
	for path, want := range map[string]string{
		"/?Action=GetCallerIdentity&Version=2011-06-15":                       "<Account>123456789012</Account>",
		"/?Action=AssumeRole&RoleArn=arn:aws:iam::1:role/x&RoleSessionName=x": "<Code>ValidationError</Code>",
		"/?Action=AssumeRole&RoleArn=arn:aws:iam::222222222222:role/x":        "<Code>ValidationError</Code>",
		"/?Action=AssumeRoleWithSAML":                                         "<Code>InvalidAction</Code>",
	} {
		if a := w.send(t, "GET", path, ``); !strings.Contains(string(a.body), want) {
			t.Errorf("GET %s = %d %s, want %s", path, a.status, a.body, want)
		}
	}
	w.AuthOff = false
	if a := w.send(t, "GET", "/_localstack/health", ``); a.status != 404 {
		t.Errorf("health of a server that checks signatures = %d", a.status)
	}
	_, own := w.clients(keyID, secret, region)
	if _, err := own.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::222222222222:role/x"), RoleSessionName: aws.String("me")}); err == nil {
		t.Error("a server that checks signatures gives out credentials")
	}
}
