package event_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// One event: written by its own transaction, on one of 100 streams, and
// delivered to five targets.
func BenchmarkFiveTargets(b *testing.B) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		b.Run(name, func(b *testing.B) {
			db := storetest.Open(b, dsn(b))
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			b.Cleanup(server.Close)
			stop := run(b, db, "n", target(b, "a="+server.URL), target(b, "b="+server.URL), target(b, "c="+server.URL),
				target(b, "d=file:"+filepath.Join(b.TempDir(), "d")), target(b, "e=file:"+filepath.Join(b.TempDir(), "e")))
			streams := make([]string, 100)
			for i := range streams {
				streams[i] = session(b, db, channel(b, db, fmt.Sprint(i)).ARN)
			}
			delivered := func() bool {
				all, err := db.Targets(context.Background(), nil)
				must(b, err)
				pending := 0
				for _, s := range all {
					pending += s.Pending
				}
				return len(all) == 5 && pending == 0
			}
			wait(b, delivered)
			b.ReportAllocs()
			began := time.Now()
			b.ResetTimer()
			var writers sync.WaitGroup
			for w := range 8 {
				writers.Go(func() {
					for n := w; n < b.N; n += 8 {
						if err := db.ChangeSessions(context.Background(), []store.SessionChange{{StreamID: streams[n%len(streams)], Health: ivs.HealthUnknown, Events: []store.Event{{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: time.Now()}}}}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			writers.Wait()
			written := time.Since(began)
			stop() // delivers all that is written
			if !delivered() {
				b.Error("events are left that were not delivered")
			}
			b.ReportMetric(float64(b.N)/written.Seconds(), "written/s")
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "delivered/s")
		})
	}
}
