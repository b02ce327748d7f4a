package access

import (
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// fill makes a database with so many revocations and used single-use ids, those
// of viewers 0 to n-1 of a channel up to version 7.
func fill(t testing.TB, n int) (dsn, channelARN string) {
	t.Helper()
	dsn = filepath.Join(t.TempDir(), "test.db")
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	c := ivs.NewChannel(here.Account, here.Region)
	if err := db.CreateChannel(t.Context(), c, ivs.NewStreamKey(here.Account, here.Region, c.ARN)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	const count = "WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < ? - 1) "
	now := time.Now()
	for _, q := range []struct {
		text string
		args []any
	}{
		{count + "INSERT INTO revocations (channel_arn, viewer_id, version, at, seq) SELECT ?, i, 7, ?, i + 1 FROM c", []any{n, c.ARN, now.UnixMilli()}},
		{"UPDATE revocation_seq SET last = ?, kept = ?", []any{n, n}},
		{count + "INSERT INTO used_tokens (id, expires) SELECT printf('%022d', i), ? FROM c", []any{n, now.Add(10 * time.Minute).UnixMilli()}},
	} {
		if _, err := raw.Exec(q.text, q.args...); err != nil {
			t.Fatal(err)
		}
	}
	return dsn, c.ARN
}

// heap returns the bytes of live heap objects.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// After a restart what was revoked and what was used is known as before; of each
// revocation less than 50 bytes are in memory, and nothing of a used id.
func TestRestart(t *testing.T) {
	const n = 100_000
	dsn, arn := fill(t, n)
	before := heap()
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := &Control{Store: db, Log: slog.New(slog.DiscardHandler), EndViewer: func(string, string, int64) {}}
	if err := c.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if held := heap() - before; held > 50*n {
		t.Errorf("%d revocations and used ids take %d bytes", n, held)
	} else {
		t.Logf("%d revocations and used ids take %d bytes", n, held)
	}
	for _, tt := range []struct {
		viewer  string
		version int64
		want    bool
	}{{"0", 7, true}, {strconv.Itoa(n - 1), 0, true}, {strconv.Itoa(n - 1), 8, false}, {strconv.Itoa(n), 0, false}} {
		if got := c.revoked.has(arn, audience.Identity{ViewerID: tt.viewer, Version: tt.version}); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	for id, want := range map[string]bool{strings.Repeat("0", 22): false, "fresh": true} {
		if first, err := db.UseToken(t.Context(), id, time.Now().Add(time.Minute)); err != nil || first != want {
			t.Errorf("use of %s after the restart: %v, %v", id, first, err)
		}
	}
	late := ivs.ViewerSession{ChannelARN: arn, ViewerID: "late", Version: 1}
	if err := db.RevokeViewer(t.Context(), late, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := c.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !c.revoked.has(arn, audience.Identity{ViewerID: "late", Version: 1}) || c.revoked.last() != n+1 {
		t.Errorf("a revocation after the restart is not known; the last that is has number %d", c.revoked.last())
	}
	runtime.KeepAlive(c)
}

// resident returns the resident memory of the process in bytes; 0 where it is unknown.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// From the start of a process to where a million revocations are known, beside a
// million used ids.
func BenchmarkLoadMillion(b *testing.B) {
	dsn, _ := fill(b, 1_000_000)
	var held, rss int64
	for b.Loop() {
		before, beforeRSS := heap(), resident()
		db, err := store.Open(b.Context(), dsn)
		if err != nil {
			b.Fatal(err)
		}
		c := &Control{Store: db, Log: slog.New(slog.DiscardHandler)}
		if err := c.Load(b.Context()); err != nil {
			b.Fatal(err)
		}
		rss = max(rss, resident()-beforeRSS)
		held = max(held, heap()-before)
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		runtime.KeepAlive(c)
	}
	if most := int64(200e6); held > most || rss > most {
		b.Errorf("they take %d bytes of heap, %d resident; at most %d", held, rss, most)
	}
	b.ReportMetric(float64(held)/1e6, "MB-heap")
	b.ReportMetric(float64(rss)/1e6, "MB-resident")
}
