package store_test

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// Values, whatever their bytes, are kept by path, and deleted with all below them; a lock is one
// owner's until it is given free or over.
func TestACME(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		for _, key := range []string{"a/b/c.crt", "a/b/c.key", "a/bb", "z"} {
			must(t, db.PutACME(ctx, key, []byte("first")))
		}
		must(t, db.PutACME(ctx, "a/bb", []byte("second")))
		v, err := db.ACME(ctx, "a/bb")
		must(t, err)
		if string(v.Value) != "second" || time.Since(v.Modified) > time.Hour {
			t.Errorf("a/bb is %+v", v)
		}
		for _, value := range []string{"", "\x00", "\xff\xfe, which is not UTF-8", "base64:", "base64:text", "Zürich"} {
			must(t, db.PutACME(ctx, "a/bb", []byte(value)))
			if v, err := db.ACME(ctx, "a/bb"); err != nil || string(v.Value) != value {
				t.Errorf("%q is kept as %q, %v", value, v.Value, err)
			}
		}
		keys, err := db.ListACME(ctx, "a/b")
		must(t, err)
		if !slices.Equal(keys, []string{"a/b/c.crt", "a/b/c.key"}) {
			t.Errorf("below a/b: %v", keys)
		}
		must(t, db.DeleteACME(ctx, "a/b"))
		must(t, db.DeleteACME(ctx, "a/b")) // again: no error
		keys, err = db.ListACME(ctx, "")
		must(t, err)
		if !slices.Equal(keys, []string{"a/bb", "z"}) {
			t.Errorf("after a/b was deleted: %v", keys)
		}
		if _, err := db.ACME(ctx, "a/b/c.crt"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a deleted key: %v", err)
		}

		lock := func(owner string, lease time.Duration, want bool) {
			t.Helper()
			if ok, err := db.LockACME(ctx, "l", owner, lease); err != nil || ok != want {
				t.Errorf("LockACME for %s: %v, %v", owner, ok, err)
			}
		}
		lock("one", time.Hour, true)
		lock("two", time.Hour, false)
		lock("one", -time.Minute, true) // extended to a time that is over
		lock("two", time.Hour, true)
		must(t, db.UnlockACME(ctx, "l", "one")) // not its any more
		lock("one", time.Hour, false)
		must(t, db.UnlockACME(ctx, "l", "two"))
		lock("one", time.Hour, true)
	})
}
