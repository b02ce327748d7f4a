package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/live"
)

// The first start says where the root secret is kept, and not what it is.
// `millrace env` prints it for a shell, with a link that signs in to the console
// once, both with the public address.
func TestFirstStart(t *testing.T) {
	const public = "http://live.example.com/"
	s := startServer(t, "", "--access-key-id", "", "--secret-access-key", "", "--public-url", public)
	file := filepath.Join(s.data, credentialsFile)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := parseCredentials(content)
	if err != nil {
		t.Fatal(err)
	}
	text := output(t, []string{runMain + "=1"}, millrace().Path, "env", "--data", s.data) // finds where the server listens
	if !strings.Contains(text, "\nexport AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey+"\n") {
		t.Errorf("env does not print the secret:\n%s", text)
	}
	if !strings.Contains(text, "export AWS_ENDPOINT_URL_IVS="+strings.TrimSuffix(public, "/")+"\n") {
		t.Errorf("env does not print the public address:\n%s", text)
	}
	link := regexp.MustCompile(`(\S+)/console/#sign-in=(\S+)`).FindStringSubmatch(text)
	if link == nil || link[1]+"/" != public || strings.Contains(link[0], key.SecretAccessKey) {
		t.Fatalf("env prints no link that signs in:\n%s", text)
	}
	signIn := func() (int, string) {
		r, err := http.Post(s.api+"/_millrace/sign-in", "application/json", strings.NewReader(`{"token":"`+link[2]+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	if status, body := signIn(); status != http.StatusOK || !strings.Contains(body, `"secretAccessKey":"`+key.SecretAccessKey+`"`) {
		t.Errorf("signing in = %d %s", status, body)
	}
	if status, body := signIn(); status != http.StatusForbidden {
		t.Errorf("signing in again = %d %s", status, body)
	}
	if log := s.log.String(); !strings.Contains(log, file) || strings.Contains(log, key.SecretAccessKey) {
		t.Errorf("the log must name %s and not have the secret:\n%s", file, log)
	}
}

// A server is found healthy by its data folder alone, wherever it listens and
// whatever its public address is.
func TestHealthcheck(t *testing.T) {
	s := startServer(t, "", "--public-url", "http://live.invalid:1")
	check := func(flags ...string) error {
		command := millrace(append([]string{"healthcheck", "--data", s.data, "--public-url", "http://live.invalid:1"}, flags...)...)
		out, err := command.CombinedOutput()
		t.Logf("%s", out)
		return err
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	if err := check("--http", "127.0.0.1:1"); err == nil {
		t.Error("a server is found healthy where there is none")
	}
}

// Without flags, commands find the server that has the data folder, also one that is
// not well. One that was killed is not found, nor is what listens there now.
func TestAnnouncedAPI(t *testing.T) {
	var cfg config
	cfg.RTMP, cfg.RTMPS = off, off
	stuck := newProbes(cfg, nil, func() (streams, viewers int) { panic("not well") }, nil, nil, nil)
	stuck.health.checks[2].run = func(context.Context) error { return errors.New("stuck") }
	for name, tt := range map[string]struct {
		handler http.Handler // nil: nothing listens
		start   func(http.Handler) *httptest.Server
		found   bool
	}{
		"well":           {newProbes(cfg, nil, (&live.Hub{}).Counts, nil, nil, nil).health, httptest.NewServer, true},
		"with TLS":       {newProbes(cfg, nil, (&live.Hub{}).Counts, nil, nil, nil).health, httptest.NewTLSServer, true},
		"not well":       {stuck.health, httptest.NewServer, true},
		"another server": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"status":"ok"}`) }), httptest.NewServer, false},
		"killed":         {nil, httptest.NewServer, false},
	} {
		t.Run(name, func(t *testing.T) {
			web := tt.start(tt.handler)
			defer web.Close()
			if tt.handler == nil {
				web.Close()
			}
			folder, err := openData(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer folder.Close()
			var flags apiFlags
			flags.Data, flags.HTTP, flags.HTTPS = folder.path, defaultHTTP, off
			const public = "https://live.example.com"
			withdraw, err := folder.announce(web.URL, public)
			if err != nil {
				t.Fatal(err)
			}
			want := [2]string{"http://" + defaultHTTP, "http://" + defaultHTTP} // for calls, and public
			if tt.found {
				want = [2]string{web.URL, public}
			}
			if web.TLS != nil {
				want[0] = public // which the certificate is for
			}
			for _, listen := range []string{defaultHTTP, ":8080"} { // the latter in the container image
				flags.HTTP = listen
				if calls, public := flags.addresses(); [2]string{calls, public} != want {
					t.Errorf("the API is at %s, for others at %s, want %s", calls, public, want)
				}
			}
			withdraw()
			if announced, err := os.ReadFile(filepath.Join(folder.path, apiFile)); err == nil {
				t.Errorf("a server that has stopped leaves %s", announced)
			}
		})
	}
}
