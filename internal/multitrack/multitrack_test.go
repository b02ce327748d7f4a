package multitrack_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/multitrack"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func handler(db *store.DB) *multitrack.Handler {
	return &multitrack.Handler{Store: db, RTMP: "rtmp://live.example.com:1935/app", RTMPS: "rtmps://live.example.com:443/app", Log: slog.New(slog.DiscardHandler)}
}

// call has serve answer a request, and reads the JSON of the answer.
func call(t *testing.T, serve http.HandlerFunc, body string, out any) (code int) {
	t.Helper()
	w := httptest.NewRecorder()
	serve(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(body)))
	if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return w.Code
}

func TestFindIngest(t *testing.T) {
	var got struct {
		Ingests []struct {
			Availability float64
			Default      bool
			URL          string `json:"url_template"`
			SecureURL    string `json:"url_template_secure"`
		}
	}
	if code := call(t, handler(nil).FindIngest, "", &got); code != 200 || len(got.Ingests) != 1 {
		t.Fatalf("%d %+v", code, got)
	}
	i := got.Ingests[0]
	if i.Availability != 1 || !i.Default || i.URL != "rtmp://live.example.com:1935/app/{stream_key}" || i.SecureURL != "rtmps://live.example.com:443/app/{stream_key}" {
		t.Errorf("%+v", i)
	}
}

// Whoever asks for multitrack video learns why there is none, in the form that
// OBS shows to its user.
func TestGetClientConfiguration(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	channel := func(multitrack bool) (key string) {
		c := ivs.NewChannel("123456789012", "us-west-2")
		c.Multitrack = ivs.MultitrackInputConfiguration{Enabled: multitrack}
		k := ivs.NewStreamKey("123456789012", "us-west-2", c.ARN)
		if err := db.CreateChannel(t.Context(), c, k); err != nil {
			t.Fatal(err)
		}
		return k.Value
	}
	const request = `{"service":"IVS","schema_version":"2025-01-25","authentication":%q,"capabilities":{"gpu":[]},"preferences":{"maximum_video_tracks":null}}`
	with := func(key string) string { return strings.Replace(request, "%q", `"`+key+`"`, 1) }
	for _, tt := range []struct {
		name, body string
		says       string
		schema     string
	}{
		{"disabled", with(channel(false)), "not enabled on this channel", "2025-01-25"},
		{"enabled", with(channel(true)), "no multitrack video yet", "2025-01-25"},
		{"key with arguments", with(channel(false) + "?priority=2"), "not enabled on this channel", "2025-01-25"},
		{"older schema", strings.Replace(with(channel(false)), "2025-01-25", "2024-06-04", 1), "not enabled", "2024-06-04"},
		{"unknown key", with("sk_us-west-2_x_y"), "Unknown stream key", "2025-01-25"},
		{"no key", "{}", "Unknown stream key", "2025-01-25"},
		{"no JSON", "<xml>", "JSON", "2025-01-25"},
		{"too long", `"` + strings.Repeat("x", 64<<10) + `"`, "JSON", "2025-01-25"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got struct {
				Meta struct {
					Service       string
					SchemaVersion string `json:"schema_version"`
					ConfigID      string `json:"config_id"`
				}
				Status struct {
					Result string
					HTML   string `json:"html_en_us"`
				}
				Ingests []any                `json:"ingest_endpoints"`
				Video   []any                `json:"encoder_configurations"`
				Audio   struct{ Live []any } `json:"audio_configurations"`
			}
			code := call(t, handler(db).GetClientConfiguration, tt.body, &got)
			if code != http.StatusOK || got.Status.Result != "error" || !strings.Contains(got.Status.HTML, tt.says) {
				t.Errorf("%d %+v, want %d and %q", code, got.Status, http.StatusOK, tt.says)
			}
			if got.Meta.Service != "IVS" || got.Meta.SchemaVersion != tt.schema || len(got.Meta.ConfigID) != 36 {
				t.Errorf("meta = %+v", got.Meta)
			}
			if got.Ingests == nil || got.Video == nil || got.Audio.Live == nil {
				t.Errorf("lists are left out: %+v", got)
			}
		})
	}
}

// Whatever is asked, the answer is a configuration that says "error" to an encoder,
// and the body is not taken for a stream key that it does not have.
func FuzzGetClientConfiguration(f *testing.F) {
	f.Add([]byte(`{"service":"IVS","schema_version":"2025-01-25","authentication":"sk_us-west-2_x","capabilities":{"cpu":{"logical_cores":8}},"preferences":{"maximum_video_tracks":4}}`))
	f.Add([]byte(`{"authentication":null}`))
	f.Add([]byte(`{"authentication":"\u0000?x"}`))
	f.Add([]byte(`[`))
	db := storetest.Open(f, storetest.SQLite(f))
	f.Fuzz(func(t *testing.T, body []byte) {
		var got struct {
			Status struct{ Result, HTML string }
		}
		if code := call(t, handler(db).GetClientConfiguration, string(body), &got); code != 200 || got.Status.Result != "error" {
			t.Errorf("%d %+v", code, got)
		}
	})
}
