package main

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// However often metrics and health are asked for, they are made once a second.
func TestMadeOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gathered, checked int
		registry := prometheus.NewRegistry()
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "x", Help: "x"}, func() float64 { gathered++; return 1 }))
		metrics := &cachedMetrics{gatherer: registry, log: slog.New(slog.DiscardHandler)}
		health := healthReport{[]*check{{name: "x", run: func(context.Context) error { checked++; return nil }}}}
		for second := 1; second <= 3; second++ {
			for range 100 {
				w := httptest.NewRecorder()
				metrics.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
				if w.Body.Len() == 0 {
					t.Fatal("no metrics")
				}
				w = httptest.NewRecorder()
				health.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
				if w.Code != 200 {
					t.Fatalf("/readyz = %d", w.Code)
				}
			}
			if gathered != second || checked != second {
				t.Errorf("in %d seconds metrics were made %d times, and health %d times", second, gathered, checked)
			}
			time.Sleep(time.Second)
		}
	})
}
