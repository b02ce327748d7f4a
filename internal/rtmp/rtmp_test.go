package rtmp

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/ingest"
)

// Encoders and the tools around them know these codes: a reason never gets
// another one.
func TestCodesOfRefusals(t *testing.T) {
	for reason, want := range map[ingest.Reason]string{
		ingest.Unsupported:    "NetStream.Publish.Rejected",
		ingest.Multitrack:     "NetStream.Publish.Rejected",
		ingest.UnknownKey:     "NetStream.Publish.BadName",
		ingest.Insecure:       "NetStream.Publish.Denied",
		ingest.AlreadyLive:    "NetStream.Publish.BadName",
		ingest.TakeoverDenied: "NetStream.Publish.BadName",
		ingest.TakenOver:      "NetStream.Publish.BadName",
		ingest.LimitExceeded:  "NetStream.Publish.Rejected",
		ingest.Stopped:        "NetStream.Publish.Rejected",
		ingest.Unavailable:    "NetStream.Publish.Denied",
	} {
		got := refusalOf(fmt.Errorf("publishing: %w", ingest.Refuse(reason, "why")))
		if got == nil || *got != (refusal{want, "why" + hints[reason]}) {
			t.Errorf("%v: the encoder is told %v, want %s", reason, got, want)
		}
	}
	if got := refusalOf(ingest.Refuse(ingest.Insecure, "Encrypt.")); !strings.Contains(got.description, "rtmps://") {
		t.Errorf("an encoder without TLS is told %q", got.description)
	}
	if got := refusalOf(errors.New("secret")); got == nil || *got != (refusal{CodeRejected, "the server ended this stream"}) {
		t.Errorf("an internal error: the encoder is told %v", got)
	}
	if got := refusalOf(fmt.Errorf("encoder: %w", io.ErrUnexpectedEOF)); got != nil {
		t.Errorf("a connection that was lost: told %v", got)
	}
}
