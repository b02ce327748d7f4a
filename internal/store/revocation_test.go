package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

const kept = 48 * time.Hour // revocations

// revocations are those after seq.
func revocations(t *testing.T, db *store.DB, seq int64) (all []store.Revocation) {
	t.Helper()
	must(t, db.Revocations(t.Context(), seq, func(r store.Revocation) { all = append(all, r) }))
	return all
}

func TestRevocations(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, c := t.Context(), ivs.NewChannel(here.Account, here.Region)
		must(t, db.CreateChannel(ctx, c, newKey(here, c.ARN)))
		at := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
		revoke := func(viewer string, version int) error {
			return db.RevokeViewer(ctx, ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: viewer, Version: version}, at)
		}
		check := func(seq int64, want ...ivs.ViewerSession) {
			t.Helper()
			var got []ivs.ViewerSession
			for _, r := range revocations(t, db, seq) {
				if !r.At.Equal(at) {
					t.Errorf("made at %v", r.At)
				}
				got = append(got, r.ViewerSession)
			}
			if !slices.Equal(got, want) {
				t.Errorf("after %d: %v, want %v", seq, got, want)
			}
		}
		check(-1)
		for i, version := range []int{0, 5, 3} { // a lower one takes nothing back
			made := db.RevocationMade()
			must(t, revoke("viewer", version))
			select {
			case <-made:
			default:
				t.Error("no waiter was woken")
			}
			check(-1, ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: "viewer", Version: []int{0, 5, 5}[i]})
		}
		last := revocations(t, db, -1)[0].Seq
		check(last)
		must(t, revoke("other", 1))
		check(last, ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: "other", Version: 1})
		must(t, revoke("viewer", 5)) // again: behind the other
		check(last, ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: "other", Version: 1}, ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: "viewer", Version: 5})

		must(t, db.ForgetAccess(ctx, at.Add(kept), kept))
		if n := len(revocations(t, db, -1)); n != 2 {
			t.Errorf("%d are left", n)
		}
		must(t, db.ForgetAccess(ctx, at.Add(kept+time.Millisecond), kept))
		check(-1)
		must(t, revoke("viewer", 0))
		if r := revocations(t, db, last); len(r) != 1 || r[0].Version != 0 {
			t.Errorf("a new one after all were forgotten: %v", r)
		}
		wantKind(t, "RevokeViewer", db.RevokeViewer(ctx, ivs.ViewerSession{ChannelARN: newARN(ivs.ChannelType), ViewerID: "viewer"}, at), ivs.NotFound)
		must(t, db.DeleteChannel(ctx, c.ARN))
		check(-1)
	})
}

// Who follows the revocations while many are made at once misses none.
func TestRevocationsAreSeenInOrder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "busy")
		var makers sync.WaitGroup
		const each, makersN = 20, 5
		for m := range makersN {
			makers.Go(func() {
				for i := range each {
					v := ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: fmt.Sprint(m, "-", i)}
					if err := db.RevokeViewer(context.Background(), v, at(0)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		var done atomic.Bool
		go func() { makers.Wait(); done.Store(true) }()
		seen, seq := map[string]bool{}, int64(-1)
		for last := false; !last; {
			last = done.Load()
			for _, r := range revocations(t, db, seq) {
				seen[r.ViewerID], seq = true, r.Seq
			}
		}
		if len(seen) != each*makersN {
			t.Errorf("%d of %d were seen", len(seen), each*makersN)
		}
	})
}

// Of many who use one id at a time, one is the first.
func TestUseToken(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		if used, err := db.TokenUsed(ctx, "id"); err != nil || used {
			t.Errorf("TokenUsed before = %v, %v", used, err)
		}
		var firsts atomic.Int32
		var users sync.WaitGroup
		for range 50 {
			users.Go(func() {
				first, err := db.UseToken(ctx, "id", at(60))
				if err != nil {
					t.Error(err)
				}
				if first {
					firsts.Add(1)
				}
			})
		}
		users.Wait()
		if n := firsts.Load(); n != 1 {
			t.Errorf("%d were the first", n)
		}
		// Another node's clock may be ten minutes behind.
		must(t, db.ForgetAccess(ctx, at(60).Add(10*time.Minute), kept))
		if used, err := db.TokenUsed(ctx, "id"); err != nil || !used {
			t.Errorf("TokenUsed ten minutes after it has expired = %v, %v", used, err)
		}
		must(t, db.ForgetAccess(ctx, at(61).Add(10*time.Minute), kept))
		if used, err := db.TokenUsed(ctx, "id"); err != nil || used {
			t.Errorf("TokenUsed after = %v, %v", used, err)
		}
	})
}

// As many revocations are kept as may be, and none of them goes early: new ones
// are refused until some have run out.
func TestRevocationsAreBounded(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		ctx := t.Context()
		c, _ := addChannel(t, db, here, "full")
		revoke := func(viewer string, version, second int) error {
			return db.RevokeViewer(ctx, ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: viewer, Version: version}, at(second))
		}
		must(t, revoke("old", 1, 0), revoke("known", 1, 60))
		driver := "sqlite"
		if strings.HasPrefix(dsn, "postgres:") {
			driver = "pgx"
		}
		raw, err := sql.Open(driver, dsn)
		must(t, err)
		defer raw.Close()
		_, err = raw.ExecContext(ctx, "UPDATE revocation_seq SET kept = 1999999")
		must(t, err, revoke("last", 1, 60))
		wantKind(t, "one too many", revoke("new", 1, 60), ivs.Throttling)
		must(t, revoke("known", 2, 60))
		if n := len(revocations(t, db, -1)); n != 3 {
			t.Errorf("%d are kept, want 3", n)
		}
		must(t, db.ForgetAccess(ctx, at(30).Add(kept), kept), revoke("new", 1, 60))

		// What a deleted channel had makes room too.
		_, err = raw.ExecContext(ctx, "UPDATE revocation_seq SET kept = 2000000")
		must(t, err)
		wantKind(t, "another too many", revoke("newer", 1, 60), ivs.Throttling)
		other, _ := addChannel(t, db, here, "room")
		must(t, db.DeleteChannel(ctx, c.ARN), db.ForgetAccess(ctx, at(60), kept))
		must(t, db.RevokeViewer(ctx, ivs.ViewerSession{ChannelARN: other.ARN, ViewerID: "v"}, at(60)))
	})
}
