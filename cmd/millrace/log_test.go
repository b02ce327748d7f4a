package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/logs"
)

// notOfPeers are the log lines that no peer without a key can cause as often as it likes,
// each with the reason: all of a file or package, or one of those that answer such peers
// too. A line whose message is no literal is named by its file and the expression.
var notOfPeers = map[string]string{
	"internal/broadcast": needsStreamKey,
	"internal/event":     "of the targets that operators configure",
	"internal/geoip":     "of a file on this machine",
	"internal/transcode": "of streams, whose encoders have stream keys, and of this machine",

	"internal/live/admission.go":  needsStreamKey,
	"internal/live/end.go":        needsStreamKey,
	"internal/live/fault.go":      needsSignature,
	"internal/live/heartbeat.go":  theNodesOwn,
	"internal/live/lease.go":      theNodesOwn,
	"internal/live/metadata.go":   needsSignature,
	"internal/live/renditions.go": needsStreamKey,
	"internal/live/revoke.go":     needsSignature,
	"internal/live/session.go":    needsStreamKey,

	"internal/record/follow.go":    needsStreamKey,
	"internal/record/owner.go":     theNodesOwn,
	"internal/record/recorder.go":  needsStreamKey,
	"internal/record/recording.go": needsStreamKey,
	"internal/record/restore.go":   theNodesOwn,
	"internal/record/thumbnail.go": needsStreamKey,
	"internal/record/uploader.go":  needsStreamKey,

	"internal/cluster/join.go":   "of nodes that are members",
	"internal/cluster/node.go":   theNodesOwn,
	"internal/cluster/secret.go": theNodesOwn,

	"cmd/millrace/acme.go":        "of certificates, a few an hour",
	"cmd/millrace/credentials.go": theNodesOwn,
	"cmd/millrace/data.go":        "at the start",
	"cmd/millrace/drain.go":       "once",
	"cmd/millrace/event.go":       "once, at the start",
	"cmd/millrace/listen.go":      "once, at the start",
	"cmd/millrace/main.go":        "once",
	"internal/metrics":            "with the metrics, once a second",
	"cmd/millrace/tls.go":         "of a file on this machine",
	"internal/api/run.go":         needsSignature,

	"the node that has a stream does not answer":                                            needsSignature,
	"an encoder was not forwarded to the node that has its channel's session; trying again": needsStreamKey,
	"an encoder is forwarded to the node that has its channel's session":                    needsStreamKey,
	"RTMP accept failed": "waits before it tries again",
	"allowedCountries has no effect: without a country database (--geoip) every location is unknown": "once",
	"reading revocations failed; those of other nodes take effect once it succeeds":                  theNodesOwn,
	"deleting used tokens and old revocations failed":                                                theNodesOwn,
	"another node relays a stream":                                                                   "needs the secret of the cluster",
	"another node stopped relaying a stream":                                                         "needs the secret of the cluster",
	"reporting the viewers of streams to their owner failed":                                         theNodesOwn,
	"a stream of another node is no longer relayed":                                                  "once for each stream that is live, after 40 s without a viewer",
	"a stream of another node was lost: it ends for its viewers here":                                "once for each stream that is live",
	"a stream of another node has ended":                                                             "once for each stream that is live",
	"the connection to the owner of a stream was lost; trying again":                                 "of a stream that is live",
	"session created":   needsStreamKey,
	"publish failed":    needsStreamKey,
	"stream taken over": needsStreamKey,
	"writing Stream Takeover failed; it will be written with a heartbeat": needsStreamKey,
	"limit breached":                "once in some time for each account (accounts.allowReport)",
	"writing a limit breach failed": "once in some time for each account (accounts.allowReport)",
	"FAULT ON DEMAND":               needsSignature,
	"API call":                      "for debugging: each call has a line",
	"a request is signed with what looks like a real AWS access key; this server checks no signatures, use made-up credentials": "once",
	"internal/record/download.go: slog.NewLogLogger": "its only client is ffmpeg, on this machine",
}

const (
	needsStreamKey = "needs a stream key"
	needsSignature = "needs a signature"
	theNodesOwn    = "the node's own work, at its own pace"
)

// Every line that the server logs is either limited, or one that peers without a key
// cannot cause at will.
func TestLinesOfPeersAreLimited(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range logCalls(t) {
		limited := slices.Contains(ofPeers, c.message)
		reason := ""
		for _, name := range []string{c.file, filepath.Dir(c.file), c.message} {
			if notOfPeers[name] != "" {
				reason, seen[name] = notOfPeers[name], true
			}
		}
		seen[c.message] = true
		if limited == (reason != "") {
			t.Errorf("%s logs %q, which is limited: %t; otherwise the reason is %q", c.at, c.message, limited, reason)
		}
	}
	for name := range notOfPeers {
		if !seen[name] {
			t.Errorf("nothing logs %q", name)
		}
	}
	for _, message := range ofPeers {
		if !seen[message] {
			t.Errorf("nothing logs %q", message)
		}
	}
	w := logs.NewWriter(os.Stderr) // for its count alone: nothing is written
	log := newLog(w, slog.LevelInfo)
	for _, message := range ofPeers {
		before := w.Omitted()
		for range 1000 {
			log.Warn(message)
		}
		if w.Omitted() == before {
			t.Errorf("1000 lines %q were all passed on", message)
		}
	}
}

// A logCall is one in the source of the server.
type logCall struct {
	file, at string
	message  string // or what is no literal: the file and the expression
}

// levels are the methods that log, with the place of the message among their arguments.
var levels = map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "Log": 2, "LogAttrs": 2}

// logCalls finds all calls that log in the packages of the server, by their syntax.
func logCalls(t *testing.T) (calls []logCall) {
	t.Helper()
	files := token.NewFileSet()
	packages := map[string]bool{}
	for _, root := range []string{"internal", "cmd/millrace"} {
		err := fs.WalkDir(os.DirFS("../.."), root, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "node_modules" || strings.HasSuffix(entry.Name(), "test")):
				return fs.SkipDir
			case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			source, err := parser.ParseFile(files, filepath.Join("../..", path), nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(source, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if message, logs := messageOf(t, files, path, call); logs {
						packages[filepath.Dir(path)] = true
						calls = append(calls, logCall{path, fmt.Sprintf("%s:%d", path, files.Position(call.Pos()).Line), message})
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(calls) < 150 || len(packages) < 14 {
		t.Errorf("%d calls that log were found in %d packages", len(calls), len(packages))
	}
	return calls
}

// messageOf returns the message of a call that logs.
func messageOf(t *testing.T, files *token.FileSet, path string, call *ast.CallExpr) (message string, logs bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	on := nameOf(method.X)
	if on == "slog" && method.Sel.Name == "NewLogLogger" {
		return path + ": slog.NewLogLogger", true
	}
	place, ok := levels[method.Sel.Name]
	if !ok || len(call.Args) <= place || on == "http" && method.Sel.Name == "Error" {
		return "", false
	}
	if !slices.Contains([]string{"log", "logger", "slog"}, strings.ToLower(on)) {
		t.Errorf("%s: is %s a logger?", files.Position(call.Pos()), on)
		return "", false
	}
	if text, ok := call.Args[place].(*ast.BasicLit); ok {
		message, err := strconv.Unquote(text.Value)
		return message, err == nil
	}
	return path + ": " + nameOf(call.Args[place]), true
}

// nameOf is the last name of an expression: log of s.log, of log.With(…) and of s.log().
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && strings.HasPrefix(f.Sel.Name, "With") {
			return nameOf(f.X)
		}
		return nameOf(e.Fun)
	}
	return fmt.Sprintf("%T", e)
}
