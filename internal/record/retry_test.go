package record_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// A database that takes no recording for more than ten attempts costs none: the
// stream is there from its beginning.
func TestUnreachableDatabaseAtStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorldIn(t, dir, ivs.ContainerTS, nil)
	change := w.database(dir)
	change(`CREATE TRIGGER away BEFORE INSERT ON recordings BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END`)
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 12, &n))
	w.wait("two attempts", func() bool {
		return w.log.Count("creating a recording failed") > 1 || w.recorder.Stats().Failures > 0
	})
	change("DROP TRIGGER away")
	b.write(mediatest.Shift(numbered(t, 12, &n), 12*time.Second))
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 || w.recorder.Stats().Failures > 0 })
	b.leave()
	w.whole(w.ended(), "90p30", 0, n)
}

// database has statements executed in the database of a world's folder.
func (w *world) database(dir string) (change func(statement string)) {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "db")+"?_pragma=busy_timeout(60000)")
	w.must(err)
	w.t.Cleanup(func() { db.Close() })
	return func(statement string) {
		w.t.Helper()
		_, err := db.ExecContext(w.t.Context(), statement)
		w.must(err)
	}
}
