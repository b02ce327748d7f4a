// Package multitrack answers the HTTP requests that OBS and other encoders make before
// they publish: where to publish, and with which encodings. The calls are not signed: the
// stream key authorizes them.
package multitrack

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/proxies"
	"github.com/millrace/millrace/internal/reqbody"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/strictjson"
)

// bodies bound what encoders send, which is some 2 KB.
var bodies = reqbody.Limits{Bytes: 64 << 10, Total: 1024, PerAddress: 64}

// A Handler handles the calls of encoders. Its methods are served at the paths that the
// calls have in IVS: GET /api/v2/FindIngest and POST /api/v3/GetClientConfiguration.
type Handler struct {
	Store *store.DB
	RTMP  string // the address that encoders publish to, without the stream key: rtmp://host:port/app; "" for none
	RTMPS string // the same for RTMPS
	Log   *slog.Logger

	bodies reqbody.Receiver
}

// An ingest is a place to publish to.
type ingest struct {
	ID           int     `json:"_id"`
	Availability float64 `json:"availability"` // 0 to 1
	Default      bool    `json:"default"`      // exactly one is
	Name         string  `json:"name"`
	Priority     int     `json:"priority"` // the lowest is the best
	URL          string  `json:"url_template"`
	SecureURL    string  `json:"url_template_secure"`
}

// FindIngest returns the addresses to publish to.
func (h *Handler) FindIngest(w http.ResponseWriter, _ *http.Request) {
	here := ingest{
		ID: 1, Availability: 1, Default: true, Name: "Millrace",
		URL:       template(h.RTMP),
		SecureURL: template(h.RTMPS),
	}
	reply(w, map[string][]ingest{"ingests": {here}})
}

// template is an address with a place for the stream key; "" stays "".
func template(address string) string {
	if address == "" {
		return ""
	}
	return address + "/{stream_key}"
}

// A configurationRequest holds the members of OBS's request that are used.
type configurationRequest struct {
	SchemaVersion  string `json:"schema_version"`
	Authentication string `json:"authentication"` // the stream key
}

// A configuration tells an encoder how to encode. This server responds only with errors.
type configuration struct {
	Meta            meta                `json:"meta"`
	Status          status              `json:"status"`
	IngestEndpoints []any               `json:"ingest_endpoints"`
	VideoEncodings  []any               `json:"encoder_configurations"`
	AudioEncodings  map[string][]string `json:"audio_configurations"`
}

type meta struct {
	Service       string `json:"service"`
	SchemaVersion string `json:"schema_version"`
	ConfigID      string `json:"config_id"`
}

type status struct {
	Result string `json:"result"`
	HTML   string `json:"html_en_us"` // what OBS shows
}

// GetClientConfiguration explains to the encoder's operator why there is no multitrack
// video. A refusal is a 200 whose status says "error": OBS shows its text.
func (h *Handler) GetClientConfiguration(w http.ResponseWriter, r *http.Request) {
	var in configurationRequest
	var reason string
	body, err := h.bodies.Read(w, r, bodies)
	if errors.Is(err, reqbody.ErrBusy) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests are being received", http.StatusServiceUnavailable)
		return
	}
	if err == nil {
		err = strictjson.Unmarshal(body, &in)
	}
	if err != nil {
		reason = "The request is not a JSON object of at most 64 KB."
	} else {
		reason = h.refusal(r, in)
	}
	out := configuration{
		Meta:            meta{Service: "IVS", SchemaVersion: "2025-01-25", ConfigID: ivs.NewUUID()},
		Status:          status{"error", reason},
		IngestEndpoints: []any{}, VideoEncodings: []any{}, AudioEncodings: map[string][]string{"live": {}},
	}
	if in.SchemaVersion == "2024-06-04" { // the only other version there is
		out.Meta.SchemaVersion = in.SchemaVersion
	}
	reply(w, out)
}

func (h *Handler) refusal(r *http.Request, in configurationRequest) (html string) {
	const instead = `Turn off "Enable Multitrack Video" in the stream settings and start again: this server then makes the qualities itself.`
	key, _, _ := strings.Cut(in.Authentication, "?")
	channel, _, err := h.Store.ChannelByStreamKey(r.Context(), key, proxies.ClientOf(r.RemoteAddr).String())
	reason := "multitrack video is not enabled on the channel"
	switch {
	case ivs.Is(err, ivs.NotFound):
		reason, html = "unknown stream key", "Unknown stream key: copy it again from the channel."
	case err != nil:
		h.Log.Error("looking up a stream key failed", "remote", r.RemoteAddr, "error", err)
		return "The server could not look up the stream key; try again."
	case channel.Multitrack.Enabled:
		reason, html = "multitrack video is not part of this version", "This version of Millrace takes no multitrack video yet. "+instead
	default:
		html = "Multitrack video is not enabled on this channel. " + instead
	}
	h.Log.Info("multitrack configuration refused", "remote", r.RemoteAddr, "channel", channel.ARN, "reason", reason)
	return html
}

func reply(w http.ResponseWriter, out any) {
	body, _ := json.Marshal(out) // strings and numbers always encode
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", fmt.Sprint(len(body)))
	w.Write(body) // the encoder may have left
}
