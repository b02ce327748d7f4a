package api

import (
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/millrace/millrace/internal/ivs"
)

// here says what this server is, in the errors for calls of other services.
const here = "this is Millrace, which answers the Amazon IVS low-latency streaming API (ivs) and STS GetCallerIdentity"

// signedFor is the service in the signature of r, "" if there is none.
func signedFor(r *http.Request) string {
	sig, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return ""
	}
	return sig.service
}

// isQuery reports whether r is in the AWS query protocol: STS's, and that of
// other services, which understand no other answer. A request that is not
// signed counts as STS's.
func isQuery(r *http.Request) bool {
	if r.URL.Path != "/" || r.Header.Get("X-Amz-Target") != "" {
		return false
	}
	service := signedFor(r)
	return service == "" || service == "sts" || strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// realTime are words in the names of operations of IVS Real-Time, which are
// signed for ivs too.
var realTime = []string{"Stage", "Participant", "Composition", "EncoderConfiguration", "StorageConfiguration", "IngestConfiguration", "PublicKey"}

// unknownOperation is the error for r, which may have been meant for another
// service.
func unknownOperation(r *http.Request, name string) error {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		name = target
	}
	if len(name) > 80 {
		name = name[:80] + "…"
	}
	switch service := signedFor(r); service {
	case "", "ivs", "sts":
	case "ivschat":
		return ivs.Errorf(ivs.UnknownOperation, "The request is signed for Amazon IVS Chat (ivschat), which is not available on this server: %s", here)
	default:
		return ivs.Errorf(ivs.UnknownOperation, "The request is signed for %.40s, which is not available on this server: %s", service, here)
	}
	for _, word := range realTime {
		if strings.Contains(name, word) {
			return ivs.Errorf(ivs.UnknownOperation, "%s belongs to IVS Real-Time (ivs-realtime), which is not available on this server: %s", name, here)
		}
	}
	return ivs.Errorf(ivs.UnknownOperation, "%s %s is not an operation of this server: %s", r.Method, name, here)
}

// replyS3 answers with err as clients of S3 read it.
func replyS3(w http.ResponseWriter, id string, err error) {
	kind, msg := ivs.Public(err)
	replyXML(w, kind.Status(), struct {
		XMLName                  xml.Name `xml:"Error"`
		Code, Message, RequestID string
	}{Code: kind.Code(), Message: msg, RequestID: id})
}
