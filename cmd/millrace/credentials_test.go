package main

import (
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// The root credentials of a cluster are those in its database. When they are rotated, each
// node accepts both, and then writes the new ones into its data folder.
func TestSharedCredentials(t *testing.T) {
	dsn := storetest.SQLite(t)
	db := storetest.Open(t, dsn)
	type node struct {
		folder  *dataFolder
		secrets *cluster.Secrets
		keys    rootKeys
	}
	start := func(data string) (n node) {
		t.Helper()
		var err error
		if n.folder, err = openData(data); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.folder.Close() })
		registered, err := registerNode(t.Context(), db, n.folder, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		n.secrets = registered.Secrets
		if _, err := n.secrets.Open(t.Context(), "viewers", cluster.NewSecret); err != nil {
			t.Fatal(err)
		}
		if n.keys, err = n.folder.sharedCredentials(t.Context(), n.secrets, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		return n
	}
	expect := func(when string, n node, want ...api.AccessKey) {
		t.Helper()
		if got := n.keys(); !slices.Equal(got, want) {
			t.Errorf("%s: %v are accepted, want %v", when, got, want)
		}
		content, err := os.ReadFile(filepath.Join(n.folder.path, credentialsFile))
		if err != nil {
			t.Fatal(err)
		}
		if k, err := parseCredentials(content); err != nil || k != want[0] {
			t.Errorf("%s: %v is in the data folder (%v), want %v", when, k, err, want[0])
		}
	}
	a, b := start(t.TempDir()), start(t.TempDir())
	old := a.keys()[0]
	expect("first node", a, old)
	expect("second node", b, old)

	var cfg config
	cfg.NodeURL = "http://a"
	renewed, err := rotateRoot(t, cfg, a.secrets)
	if err != nil {
		t.Fatal(err)
	}
	expect("after the rotation", a, old, renewed)
	if _, err := rotateRoot(t, cfg, b.secrets); !ivs.Is(err, ivs.Conflict) {
		t.Errorf("a second rotation: %v", err)
	}

	// A minute later. The rotation of another secret has a node read them all.
	raw, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.ExecContext(t.Context(), "UPDATE secrets SET rotated_at = rotated_at - 60000 WHERE name = ?", rootSecret); err != nil {
		t.Fatal(err)
	}
	if err := b.secrets.Rotate(t.Context(), "viewers", cluster.NewSecret()); err != nil {
		t.Fatal(err)
	}
	expect("a minute later", b, renewed, old)
	expect("of a node that starts", start(t.TempDir()), renewed, old)
}

// rotateRoot rotates the root credentials by the call for it, and returns the new ones.
func rotateRoot(t *testing.T, cfg config, secrets *cluster.Secrets) (api.AccessKey, error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/_millrace/secrets/root/rotate", nil)
	r.SetPathValue("name", "root")
	answer := httptest.NewRecorder()
	if err := cfg.rotateSecret(secrets)(answer, r, store.Scope{}); err != nil {
		return api.AccessKey{}, err
	}
	var made rotatedOutput
	if err := json.Unmarshal(answer.Body.Bytes(), &made); err != nil || made.AccessKeyID == "" || made.SecretAccessKey == "" {
		t.Fatalf("the rotation answers %s (%v)", answer.Body, err)
	}
	return api.AccessKey{AccessKeyID: made.AccessKeyID, SecretAccessKey: made.SecretAccessKey}, nil
}

// What cannot be rotated is refused with what to do instead.
func TestRotateRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		secret string
		change func(*config)
		kind   ivs.Kind
		says   string
	}{
		"unknown":               {"other", func(*config) {}, ivs.NotFound, "nodes, viewers, webhook and root"},
		"webhook, given":        {"webhook", func(c *config) { c.EventWebhookSecret = "x" }, ivs.Conflict, "--event-webhook-secret"},
		"root, given":           {"root", func(c *config) { c.AccessKeyID, c.NodeURL = "x", "http://a" }, ivs.Conflict, "--second-access-key-id"},
		"root, without cluster": {"root", func(*config) {}, ivs.Conflict, "delete the file"},
	} {
		var cfg config
		tt.change(&cfg)
		if _, _, _, err := cfg.newSecret(tt.secret); !ivs.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecondCredentials(t *testing.T) {
	for name, tt := range map[string]struct{ first, second, secret, says string }{
		"none":          {"a", "", "", ""},
		"both":          {"a", "b", "x", ""},
		"half":          {"a", "b", "", "one of them is missing"},
		"without first": {"", "b", "x", "needs --access-key-id"},
		"twice":         {"a", "a", "x", "another value"},
	} {
		err := clusterFlags{SecondAccessKeyID: tt.second, SecondSecretAccessKey: tt.secret}.check("", tt.first)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
