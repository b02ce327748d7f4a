package access

import (
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
	lock := storetest.Hold(t, dsn, "LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
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
	for deadline := time.Now().Add(90 * time.Second); lock.Waiting() < 2 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := lock.Waiting(); n != 2 {
		t.Errorf("%d reads are in progress, want one of keys and one of policies", n)
	}
	lock.Release()
	viewers.Wait()
}

// A database that hangs delays no viewer whose keys and policy are known: playback
// requests are answered while it does.
func TestDatabaseHangs(t *testing.T) {
	t.Parallel() // it waits for a cache to be old
	dsn := storetest.Postgres(t)
	w := newNode(t, dsn)
	c := w.channel()
	raw := w.sign(w.key, c, token.Claims{})
	policy := ivs.PlaybackRestrictionPolicy{ARN: ivs.ARN{Region: "eu-west-1", Account: "123456789012", Type: ivs.PlaybackRestrictionPolicyType, ID: ivs.NewID()}.String()}
	if err := w.Store.PlaybackRestrictionPolicies().Create(t.Context(), policy, 3, false); err != nil {
		t.Fatal(err)
	}
	ask := func() {
		t.Helper()
		if _, err := w.Authorize(t.Context(), Request{Channel: c, Token: raw}); err != nil {
			t.Error(err)
		}
		if err := w.AllowPublic(t.Context(), Request{Channel: ivs.Channel{PlaybackRestrictionPolicyARN: policy.ARN}}, true); err != nil {
			t.Error(err)
		}
	}
	ask()
	lock := storetest.Hold(t, dsn, "LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
	for deadline := time.Now().Add(90 * time.Second); lock.Waiting() == 0 && time.Now().Before(deadline); {
		ask()
	}
	if lock.Waiting() == 0 {
		t.Fatal("nothing is read from the database any more")
	}
	began := time.Now()
	for range 20 { // each waited for the database to fail, 4 s
		ask()
	}
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("20 requests took %v while the database hung", took)
	}
}
