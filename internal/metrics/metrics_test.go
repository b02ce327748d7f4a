package metrics

import (
	"log/slog"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// However often metrics are asked for, they are collected once a second.
func TestCollectedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gathered := 0
		registry := prometheus.NewRegistry()
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "x", Help: "x"}, func() float64 { gathered++; return 1 }))
		metrics := &cachedMetrics{gatherer: registry, log: slog.New(slog.DiscardHandler)}
		for second := 1; second <= 3; second++ {
			for range 100 {
				w := httptest.NewRecorder()
				metrics.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
				if w.Body.Len() == 0 {
					t.Fatal("no metrics")
				}
			}
			if gathered != second {
				t.Errorf("in %d seconds metrics were collected %d times", second, gathered)
			}
			time.Sleep(time.Second)
		}
	})
}
