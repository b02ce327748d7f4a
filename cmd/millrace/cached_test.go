package main

import (
	"context"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// However often health is asked for, it is checked once a second.
func TestHealthCheckedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checked := 0
		health := healthReport{[]*check{{name: "x", run: func(context.Context) error { checked++; return nil }}}}
		for second := 1; second <= 3; second++ {
			for range 100 {
				w := httptest.NewRecorder()
				health.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
				if w.Code != 200 {
					t.Fatalf("/readyz = %d", w.Code)
				}
			}
			if checked != second {
				t.Errorf("in %d seconds health was checked %d times", second, checked)
			}
			time.Sleep(time.Second)
		}
	})
}
