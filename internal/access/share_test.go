package access

import (
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store/storetest"
	"github.com/millrace/millrace/internal/token"
)

// Requests that come at once, when keys and policies have to be read again, share
// a read of each.
func TestReadsAreShared(t *testing.T) {
	dsn := storetest.Postgres(t)
	w := newNode(t, dsn)
	c := w.channel()
	raw := w.sign(w.key, c, token.Claims{})
	policy := ivs.PlaybackRestrictionPolicy{ARN: ivs.ARN{Region: "eu-west-1", Account: "123456789012", Type: ivs.PlaybackRestrictionPolicyType, ID: ivs.NewID()}.String()}
	if err := w.Store.PlaybackRestrictionPolicies().Create(t.Context(), policy, 3, false); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lock, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	var viewers, asked sync.WaitGroup
	for range 50 {
		asked.Add(2)
		viewers.Go(func() {
			asked.Done()
			if _, err := w.Authorize(t.Context(), Request{Channel: c, Token: raw}); err != nil {
				t.Error(err)
			}
		})
		viewers.Go(func() {
			asked.Done()
			if err := w.AllowPublic(t.Context(), Request{Channel: ivs.Channel{PlaybackRestrictionPolicyARN: policy.ARN}}, false); err != nil {
				t.Error(err)
			}
		})
	}
	asked.Wait()
	waiting := func() (n int) {
		if err := db.QueryRowContext(t.Context(), "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	for deadline := time.Now().Add(90 * time.Second); waiting() < 2 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := waiting(); n != 2 {
		t.Errorf("%d reads are in progress, want one of keys and one of policies", n)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	viewers.Wait()
}
