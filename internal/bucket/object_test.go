package bucket_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/bucket"
)

func TestObjectsInFolder(t *testing.T) {
	dir := t.TempDir()
	p, err := bucket.Open(t.Context(), dir, "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context(), "good"); err != nil {
		t.Fatal(err)
	}
	testObjects(t, p, "good")

	err = p.Put(t.Context(), "gone", "a/b", bucket.Final, strings.NewReader("x"))
	if !bucket.Refused(err) || !strings.Contains(err.Error(), "write a/b in bucket gone") {
		t.Errorf("a bucket that is not there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "gone")); err == nil {
		t.Error("writing makes a bucket")
	}
	for _, key := range []string{"../good/a/0.ts", "a/../../x", "/a/0.ts", "a//0.ts", ".", ""} {
		if f, _, err := p.Get(t.Context(), "good", key); !errors.Is(err, bucket.ErrNotFound) {
			t.Errorf("Get(%q) = %v, %v", key, f, err)
		}
	}
}

// testObjects writes into an empty bucket of any kind, and reads what is there.
func testObjects(t *testing.T, p *bucket.Place, name string) {
	t.Helper()
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(file, []byte("media"), 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(key, text string) {
		t.Helper()
		body := strings.NewReader(text)
		body.Seek(0, io.SeekEnd) // wherever it stands
		if err := p.Put(ctx, name, key, bucket.Growing, body); err != nil {
			t.Error(err)
		}
	}
	put("a/playlist.m3u8", "one")
	put("a/playlist.m3u8", "another") // takes the place of the first
	put("b/other", "")
	for range 2 {
		if err := p.PutFile(ctx, name, "a/media/0.ts", bucket.Immutable, file); err != nil {
			t.Error(err)
		}
	}
	os.Remove(file)
	for key, want := range map[string]string{"a/playlist.m3u8": "another", "a/media/0.ts": "media", "b/other": ""} {
		if got := read(ctx, t, p, name, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	list, err := p.List(ctx, name, "a/")
	if err != nil {
		t.Error(err)
	}
	var keys []string
	for _, o := range list {
		keys = append(keys, o.Key)
	}
	if want := []string{"a/media/0.ts", "a/playlist.m3u8"}; !slices.Equal(keys, want) {
		t.Errorf("List = %q, want %q", keys, want)
	}
	if _, _, err := p.Get(ctx, name, "a/nothing"); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("an object that is not there: %v", err)
	}
	f, o, err := p.Get(ctx, name, "a/playlist.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rest := ""
	if _, err := f.Seek(3, io.SeekStart); err == nil {
		b, _ := io.ReadAll(f)
		rest = string(b)
	}
	if o.Size != 7 || rest != "ther" {
		t.Errorf("a range of it is %q of %d bytes", rest, o.Size)
	}
}

func read(ctx context.Context, t *testing.T, p *bucket.Place, name, key string) string {
	t.Helper()
	f, _, err := p.Get(ctx, name, key)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := bucket.Open(t.Context(), t.TempDir(), "us-west-2")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Check(t.Context(), "bad"), p.Check(t.Context(), "good")); err != nil {
			t.Fatal(err)
		}
		put := func(name string) (time.Duration, error) {
			began := time.Now()
			err := p.Put(t.Context(), name, "key", bucket.Final, strings.NewReader(""))
			return time.Since(began), err
		}
		p.Fail("bad", time.Minute)
		if _, err := put("bad"); err == nil || bucket.Refused(err) {
			t.Errorf("a bucket that fails: %v", err)
		}
		if _, err := put("good"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		p.Slow("bad", time.Minute)
		if took, err := put("bad"); err != nil || took != 3*time.Second {
			t.Errorf("a slow bucket takes %v, %v", took, err)
		}
		began := time.Now()
		if f, _, err := p.Get(t.Context(), "bad", "key"); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("reading a slow bucket takes %v, %v", time.Since(began), err)
		} else if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
}
