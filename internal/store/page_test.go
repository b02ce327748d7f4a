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

// A pagedList is a list whose rows can be made and removed.
type pagedList struct {
	add    func(t *testing.T) (name string)
	remove func(name string) error
	page   func(p store.Page) (names []string, next string, err error)
}

// rowNames are those of a page's rows.
func rowNames[T any](rows []T, next string, err error, name func(T) string) ([]string, string, error) {
	var list []string
	for _, r := range rows {
		list = append(list, name(r))
	}
	return list, next, err
}

// pagedLists are all lists that have pages: of two of the resources that are
// kept alike one stands for both.
func pagedLists(t *testing.T, db *store.DB) map[string]pagedList {
	ctx := t.Context()
	once, _ := addChannel(t, db, store.Scope{Account: here.Account, Region: "us-east-1"}, "")
	policies := db.PlaybackRestrictionPolicies()
	return map[string]pagedList{
		"channels": {
			func(t *testing.T) string { c, _ := addChannel(t, db, here, "n"); return c.ARN },
			func(arn string) error { return db.DeleteChannel(ctx, arn) },
			func(p store.Page) ([]string, string, error) {
				list, next, err := db.ListChannels(ctx, here, store.ChannelFilter{Name: "n"}, p)
				return rowNames(list, next, err, func(c ivs.ChannelSummary) string { return c.ARN })
			}},
		"streams": {
			func(t *testing.T) string {
				c, _ := addChannel(t, db, here, "live")
				id := addSession(t, db, c.ARN, "n", t0)
				must(t, db.StartStream(ctx, id, t0, ivs.IngestConfigurations{}))
				return id
			},
			func(id string) error { return db.WriteEnd(ctx, ended(id, t0)) },
			func(p store.Page) ([]string, string, error) {
				list, next, err := db.ListStreams(ctx, here, "", p)
				return rowNames(list, next, err, func(s ivs.StreamSummary) string { return s.StreamID })
			}},
		"sessions": {
			func(t *testing.T) string {
				id := addSession(t, db, once.ARN, "n", t0)
				must(t, db.WriteEnd(ctx, ended(id, t0)))
				return id
			},
			func(string) error { return nil }, // they go by age, which is the end of the list
			func(p store.Page) ([]string, string, error) {
				list, next, err := db.ListStreamSessions(ctx, once.ARN, p)
				return rowNames(list, next, err, func(s ivs.StreamSessionSummary) string { return s.StreamID })
			}},
		"policies": {
			func(t *testing.T) string {
				p := ivs.PlaybackRestrictionPolicy{ARN: newARN(ivs.PlaybackRestrictionPolicyType), Tags: map[string]string{}}
				must(t, policies.Create(ctx, p, 1000, false))
				return p.ARN
			},
			func(arn string) error { return policies.Delete(ctx, arn) },
			func(p store.Page) ([]string, string, error) {
				list, next, err := policies.List(ctx, here, p)
				return rowNames(list, next, err, func(p ivs.PlaybackRestrictionPolicy) string { return p.ARN })
			}},
	}
}

// Whatever is there during a whole walk is seen once, while others come and go.
func TestPagesWhileRowsComeAndGo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for name, list := range pagedLists(t, db) {
			t.Run(name, list.walkWhileRowsComeAndGo)
		}
	})
}

func (l pagedList) walkWhileRowsComeAndGo(t *testing.T) {
	var stay, leave []string
	for range 20 {
		stay, leave = append(stay, l.add(t)), append(leave, l.add(t))
	}
	begun, done := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	go func() {
		defer close(done)
		defer begin()
		rand.Shuffle(len(leave), func(i, j int) { leave[i], leave[j] = leave[j], leave[i] })
		for _, name := range leave {
			if err := l.remove(name); err != nil {
				t.Error(err)
			}
			l.add(t)
			begin()
		}
	}()
	<-begun // others come and go from the first page to the last
	seen := map[string]int{}
	for p := (store.Page{Max: 3}); ; {
		rows, next, err := l.page(p)
		must(t, err)
		for _, name := range rows {
			seen[name]++
		}
		if p.Token = next; next == "" {
			break
		}
	}
	<-done
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s was listed %d times", name, n)
		}
	}
	for _, name := range stay {
		if seen[name] != 1 {
			t.Errorf("%s stayed and was listed %d times", name, seen[name])
		}
	}
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
