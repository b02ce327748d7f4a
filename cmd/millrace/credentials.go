package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// rootKeys are the root credentials that a server accepts, that to give out first.
type rootKeys func() []api.AccessKey

// fixedKeys stay the same until the server ends.
func fixedKeys(keys ...api.AccessKey) rootKeys { return func() []api.AccessKey { return keys } }

// texts are the credentials as nodes compare them.
func (keys rootKeys) texts() (all []string) {
	for _, k := range keys() {
		all = append(all, k.AccessKeyID+"\n"+k.SecretAccessKey)
	}
	return all
}

// rootCredentials are those of the flags, or else those of the cluster, or those in
// the folder.
func rootCredentials(ctx context.Context, cfg config, f *dataFolder, secrets *cluster.Secrets, log *slog.Logger) (rootKeys, error) {
	switch {
	case cfg.givenKeys():
		k, err := flagCredentials(cfg.storage)
		if err != nil || cfg.SecondAccessKeyID == "" {
			return fixedKeys(k), err
		}
		return fixedKeys(k, api.AccessKey{AccessKeyID: cfg.SecondAccessKeyID, SecretAccessKey: cfg.SecondSecretAccessKey}), nil
	case cfg.NodeURL != "":
		return f.sharedCredentials(ctx, secrets, log)
	}
	k, err := f.ownCredentials()
	return fixedKeys(k), err
}

// givenKeys reports whether the root credentials are in the settings.
func (s storage) givenKeys() bool { return s.AccessKeyID != "" || s.SecretAccessKey != "" }

// rootSecret is the name of the secret that is the root credentials of a cluster.
const rootSecret = "root credentials"

// sharedCredentials are the root credentials of the cluster, which are in its database:
// those of the first node, or what has replaced them. They are in the data folder too, where
// other commands find them.
func (f *dataFolder) sharedCredentials(ctx context.Context, secrets *cluster.Secrets, log *slog.Logger) (rootKeys, error) {
	path := filepath.Join(f.path, credentialsFile)
	own, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	made := newCredentials()
	was, err := parseCredentials(own)
	if err == nil {
		made = own
	}
	var keys atomic.Pointer[[]api.AccessKey]
	take := func(accepted []string) {
		var now []api.AccessKey
		for _, text := range accepted {
			k, err := parseCredentials([]byte(text))
			if err != nil {
				log.Error("root credentials in the database (table secrets) are not accepted", "error", err)
				continue
			}
			now = append(now, k)
		}
		if len(now) == 0 {
			return
		}
		keys.Store(&now)
		if now[0] == was {
			return
		}
		if was.AccessKeyID != "" {
			log.Warn("the cluster's root credentials replace those of this node in its data folder", "file", credentialsFile, "were", was.AccessKeyID)
		}
		if err := writeFile(path, credentialsText(now[0])); err != nil {
			log.Error("writing the root credentials into the data folder failed: other commands do not find them", "error", err)
		}
		was = now[0]
	}
	if _, err := secrets.Follow(ctx, rootSecret, func() string { return string(made) }, take); err != nil {
		return nil, err
	}
	if keys.Load() == nil {
		return nil, errors.New("the root credentials in the database (table secrets) are not usable: delete the row, and new ones are made")
	}
	return func() []api.AccessKey { return *keys.Load() }, nil
}

// ownCredentials are those in the folder, made at the first start.
func (f *dataFolder) ownCredentials() (k api.AccessKey, err error) {
	content, err := f.keep(credentialsFile, func() ([]byte, error) {
		fmt.Fprintf(os.Stderr, "Made root credentials and keep them in %s; `millrace env` prints them for a shell, with a link to the console.\n", filepath.Join(f.path, credentialsFile))
		return newCredentials(), nil
	}, func(content []byte) error { _, err := parseCredentials(content); return err })
	if err != nil {
		return k, err
	}
	return parseCredentials(content)
}

// newCredentials makes root credentials as the file has them.
func newCredentials() []byte {
	return credentialsText(api.AccessKey{AccessKeyID: "MRAK" + rand.Text()[:16], SecretAccessKey: rand.Text() + rand.Text()[:14]})
}

func credentialsText(k api.AccessKey) []byte {
	text, _ := json.MarshalIndent(k, "", "  ") // strings always marshal
	return text
}

// readCredentials finds the root credentials without the folder's lock.
func readCredentials(s storage) (k api.AccessKey, err error) {
	if s.givenKeys() {
		return flagCredentials(s)
	}
	path := filepath.Join(s.Data, credentialsFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, fmt.Errorf("%s does not exist: start the server once, or say with --data where it keeps its files", path)
	}
	if err != nil {
		return k, err
	}
	if k, err = parseCredentials(content); err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func flagCredentials(s storage) (api.AccessKey, error) {
	if s.AccessKeyID == "" || s.SecretAccessKey == "" {
		return api.AccessKey{}, errors.New("--access-key-id and --secret-access-key go together: one of them is missing")
	}
	return api.AccessKey{AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey}, nil
}

func parseCredentials(content []byte) (k api.AccessKey, err error) {
	if err := json.Unmarshal(content, &k); err != nil || k.AccessKeyID == "" || k.SecretAccessKey == "" {
		return k, errors.New("the file holds no credentials")
	}
	return k, nil
}

// rotatedOutput is the new value of a secret, without what only nodes need to know.
type rotatedOutput struct {
	Secret          string `json:"secret,omitempty"`          // the new webhook secret
	AccessKeyID     string `json:"accessKeyId,omitempty"`     // of the new root credentials
	SecretAccessKey string `json:"secretAccessKey,omitempty"` // of the new root credentials
}

// rotateSecret serves POST /_millrace/secrets/{name}/rotate: replaces a secret that all nodes
// share. The previous one is accepted for three days, within which it is not replaced again
// (ConflictException). Webhooks are signed with both.
//
//   - name: nodes signs what nodes ask each other, viewers names viewer sessions, webhook signs webhooks; root is the root credentials, where they are not given by settings.
func (c config) rotateSecret(secrets *cluster.Secrets) api.Extension {
	return func(w http.ResponseWriter, r *http.Request, _ store.Scope) error {
		name, value, out, err := c.newSecret(r.PathValue("name"))
		if err != nil {
			return err
		}
		if err := secrets.Rotate(r.Context(), name, value); err != nil {
			return err
		}
		api.Reply(w, out)
		return nil
	}
}

// newSecret makes a value for a secret of the API, and returns the secret's name in the
// database and what the caller is told.
func (c config) newSecret(secret string) (name, value string, out rotatedOutput, err error) {
	switch {
	case secret == "webhook" && c.EventWebhookSecret != "":
		err = ivs.Errorf(ivs.Conflict, "The webhook secret is that of --event-webhook-secret: give all nodes another one, and start them again")
	case secret == "webhook":
		value = event.NewWebhookSecret()
		out.Secret = value
	case secret == "root" && c.givenKeys():
		err = ivs.Errorf(ivs.Conflict, "The root credentials are those of --access-key-id: restart one node after the other with new ones as --second-access-key-id")
	case secret == "root" && c.NodeURL == "":
		err = ivs.Errorf(ivs.Conflict, "The root credentials of a server without --node-url are in %s of its data folder: delete the file and start the server again", credentialsFile)
	case secret == "root":
		made := newCredentials()
		k, _ := parseCredentials(made) // they were made just now
		return rootSecret, string(made), rotatedOutput{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey}, nil
	case secret == "nodes" || secret == "viewers":
		value = cluster.NewSecret()
	default:
		err = ivs.Errorf(ivs.NotFound, "There is no secret %q; those that can be rotated are nodes, viewers, webhook and root", secret)
	}
	return secret, value, out, err
}
