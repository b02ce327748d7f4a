package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// settingsFile writes a file for --config.
func settingsFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "millrace.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// `millrace config` prints what is in force and its source, secrets masked: the
// command line wins over the environment, and that over the file.
func TestSettings(t *testing.T) {
	file := settingsFile(t, "# ours", "http: 127.0.0.1:1111", "rtmp: 127.0.0.1:2222", "rtmps: 127.0.0.1:3333",
		"drain: 30s", "faults: true", "max-streams: 7", "trusted-proxies: [10.0.0.0/8, 192.168.0.0/16]", "event-target:",
		"  - hook=https://user:hidden1@example.com/x?token=hidden2&a=b", "access-key-id: AKID", "secret-access-key: hidden3", "database: postgres://me:hidden4@db/x")
	p := millrace("config", "--rtmps", "127.0.0.1:5555", "--data", "/tmp/none")
	p.Env = append(p.Env, "MILLRACE_CONFIG="+file, "MILLRACE_RTMP=127.0.0.1:4444")
	out, err := p.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := map[string]string{}
	for line := range strings.Lines(string(out)) {
		setting, source, _ := strings.Cut(strings.TrimPrefix(line, "# "), " # ")
		name, value, _ := strings.Cut(strings.TrimSpace(setting), ": ")
		lines[name] = value + " # " + strings.TrimSpace(source)
	}
	for name, want := range map[string]string{
		"http":              "127.0.0.1:1111 # " + file + ":2",
		"rtmp":              "127.0.0.1:4444 # MILLRACE_RTMP",
		"rtmps":             "127.0.0.1:5555 # command line",
		"drain":             "30s # " + file + ":5",
		"faults":            "true # " + file + ":6",
		"max-streams":       "7 # " + file + ":7",
		"trusted-proxies":   "[10.0.0.0/8, 192.168.0.0/16] # " + file + ":8",
		"event-target":      "['hook=https://user:********@example.com/x?a=b&token=********'] # " + file + ":9",
		"secret-access-key": "'********' # " + file + ":12",
		"database":          "postgres://me:********@db/x # " + file + ":13",
		"https":             `"off" # default`,
		"recording-spool":   "10GiB # default",
		"public-url":        "http://127.0.0.1:1111 # derived",
		"ingest-rtmp-port":  "4444 # derived",
		"transcode":         `"off" # MILLRACE_TRANSCODE`,
	} {
		if lines[name] != want {
			t.Errorf("%s: %s, want %s", name, lines[name], want)
		}
	}
	if strings.Contains(string(out), "hidden") {
		t.Errorf("a secret is shown:\n%s", out)
	}

	// What it prints is a file for --config.
	again := millrace("config", "--config", settingsFile(t, string(out)))
	if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "127.0.0.1:4444") {
		t.Errorf("the output as a file: %v\n%s", err, out)
	}
}

// A file is refused with its lines, and what is allowed there.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lines []string
		says  []string
	}{
		{[]string{"", "htp: x"}, []string{":2:", `there is no setting "htp"`, "did you mean http?", "millrace config"}},
		{[]string{"max-streams: many", "drain: soon"}, []string{":1: max-streams:", `"many"`, ":2: drain:", `"soon"`, "How long a shutdown waits"}},
		{[]string{"auth: none"}, []string{":1: auth:", "sigv4, off"}},
		{[]string{"http: [a, b]"}, []string{":1: http:", "not a list"}},
		{[]string{"http:"}, []string{":1: http:", "must have a value"}},
		{[]string{"http:", "  port: 80"}, []string{":1: http:", "must have a value"}},
		{[]string{"faults: perhaps"}, []string{":1: faults:", "true"}},
		{[]string{"log-level: loud"}, []string{":1: log-level:", "debug, info, warn or error"}},
		{[]string{"rtmp: off", "http: off", "rtmp: on"}, []string{":3: rtmp is already set on line 1"}},
		{[]string{"- http"}, []string{":1:", "NAME: VALUE"}},
		{[]string{"a: b: c"}, []string{"mapping values"}},
		{[]string{"", "max-streams: 0"}, []string{"--max-streams 0", "at least 1", "--max-streams is set by", ":2"}},
	} {
		file := settingsFile(t, tt.lines...)
		out, err := millrace("config", "--config", file).CombinedOutput()
		if err == nil {
			t.Errorf("%q: it went on", tt.lines)
		}
		for _, want := range append(tt.says, filepath.Base(file)) {
			if !strings.Contains(string(out), want) {
				t.Errorf("%q: it does not say %q:\n%s", tt.lines, want, out)
			}
		}
	}
	if out, err := millrace("version", "--config", "/none/such").CombinedOutput(); err == nil || !strings.Contains(string(out), "--config: open /none/such") {
		t.Errorf("without the file: %v\n%s", err, out)
	}
}

// A variable of the environment that is no setting is refused, with what it may have meant.
// Those of tests are none, nor those that Kubernetes makes for Services and Docker for links.
func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	p := millrace("config")
	p.Env = append(p.Env, "MILLRACE_HTPP=127.0.0.1:1", "MILLRACE_NOTHING_LIKE_IT=1", "MILLRACE_DRAIN=9s")
	out, err := p.CombinedOutput()
	if err == nil {
		t.Error("it went on")
	}
	for _, want := range []string{"MILLRACE_HTPP is set in the environment, but there is no such setting", "did you mean MILLRACE_HTTP?", "MILLRACE_NOTHING_LIKE_IT", "millrace serve --help lists all"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	p = millrace("config")
	p.Env = append(p.Env, "MILLRACE_TTL=1h", "MILLRACE_SERVICE_HOST=10.0.0.1", "MILLRACE_SERVICE_PORT=80", "MILLRACE_SERVICE_PORT_HTTP=80",
		"MILLRACE_PORT=tcp://10.0.0.1:80", "MILLRACE_PORT_80_TCP=tcp://10.0.0.1:80", "MILLRACE_PORT_80_TCP_PROTO=tcp", "MILLRACE_PORT_80_TCP_PORT=80",
		"MILLRACE_PORT_80_TCP_ADDR=10.0.0.1", "MILLRACE_NODES_SERVICE_HOST=10.0.0.2", "MILLRACE_NODES_PORT=tcp://10.0.0.2:1935",
		"MILLRACE_INGEST_RTMP_PORT=tcp://10.0.0.3:1935", "MILLRACE_NAME=/job/millrace", "MILLRACE_ENV_PATH=/bin")
	if out, err := p.CombinedOutput(); err != nil {
		t.Errorf("with a token's setting and the variables of Kubernetes and Docker: %v\n%s", err, out)
	}
	for _, wrong := range []string{"MILLRACE_HTTP_PORT=8080", "MILLRACE_PORT=8080", "MILLRACE_="} {
		if unknownVariables([]string{wrong}, nil) == nil {
			t.Errorf("%s is a setting", wrong)
		}
	}
}
