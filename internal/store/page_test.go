package store_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// Whatever is there during a whole walk is seen once, while others come and go.
func TestPagesWhileRowsComeAndGo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		stay := map[string]bool{}
		var leave []string
		for i := range 60 {
			c, _ := addChannel(t, db, here, fmt.Sprintf("c%d", i))
			if i%2 == 0 {
				stay[c.ARN] = true
			} else {
				leave = append(leave, c.ARN)
			}
		}
		var others sync.WaitGroup
		defer others.Wait()
		others.Go(func() {
			rand.Shuffle(len(leave), func(i, j int) { leave[i], leave[j] = leave[j], leave[i] })
			for _, arn := range leave {
				if err := db.DeleteChannel(t.Context(), arn); err != nil {
					t.Error(err)
				}
				c := newChannel(here, "new")
				if err := db.CreateChannel(t.Context(), c, newKey(here, c.ARN)); err != nil {
					t.Error(err)
				}
			}
		})
		seen := map[string]int{}
		for p := (store.Page{Max: 3}); ; {
			list, next, err := db.ListChannels(t.Context(), here, store.ChannelFilter{}, p)
			must(t, err)
			for _, c := range list {
				seen[c.ARN]++
			}
			if p.Token = next; next == "" {
				break
			}
		}
		for arn, n := range seen {
			if n != 1 {
				t.Errorf("%s was listed %d times", arn, n)
			}
		}
		for arn := range stay {
			if seen[arn] != 1 {
				t.Errorf("%s stayed and was listed %d times", arn, seen[arn])
			}
		}
	})
}

// A token is good for its own list only, unaltered.
func TestTokens(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for range 3 {
			addChannel(t, db, here, "n")
		}
		list := func(s store.Scope, f store.ChannelFilter, token string) error {
			_, _, err := db.ListChannels(t.Context(), s, f, store.Page{Token: token, Max: 1})
			return err
		}
		_, token, err := db.ListChannels(t.Context(), here, store.ChannelFilter{}, store.Page{Max: 1})
		must(t, err, list(here, store.ChannelFilter{}, token))

		raw, err := base64.URLEncoding.DecodeString(token)
		must(t, err)
		for i := range raw {
			raw[i] ^= 1
			wantKind(t, fmt.Sprintf("byte %d altered", i), list(here, store.ChannelFilter{}, base64.URLEncoding.EncodeToString(raw)), ivs.Validation)
			raw[i] ^= 1
		}
		for name, bad := range map[string]string{"cut": token[:len(token)-4], "longer": token + "AAAA", "not base64": "!" + token, "short": "AA=="} {
			wantKind(t, name, list(here, store.ChannelFilter{}, bad), ivs.Validation)
		}
		wantKind(t, "other filter", list(here, store.ChannelFilter{Name: "n"}, token), ivs.Validation)
		wantKind(t, "other region", list(store.Scope{Account: here.Account, Region: "us-east-1"}, store.ChannelFilter{}, token), ivs.Validation)
		wantKind(t, "other account", list(store.Scope{Account: "1", Region: here.Region}, store.ChannelFilter{}, token), ivs.Validation)
		_, _, err = db.ListStreams(t.Context(), here, "", store.Page{Token: token, Max: 1})
		wantKind(t, "other list", err, ivs.Validation)
	})
}

func FuzzToken(f *testing.F) {
	db := storetest.Open(f, storetest.SQLite(f))
	addChannel(f, db, here, "")
	addChannel(f, db, here, "")
	_, token, err := db.ListChannels(f.Context(), here, store.ChannelFilter{}, store.Page{Max: 1})
	must(f, err)
	f.Add(token)
	f.Add("")
	f.Add("AQ==")
	f.Fuzz(func(t *testing.T, s string) {
		_, _, err := db.ListChannels(t.Context(), here, store.ChannelFilter{}, store.Page{Token: s, Max: 1})
		if good := s == "" || s == token; good != (err == nil) {
			t.Errorf("token %q: %v", s, err)
		}
	})
}
