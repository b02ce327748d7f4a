package api

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// stsNamespace is that of all answers of the STS query protocol.
const stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

type callerIdentity struct {
	XMLName   xml.Name `xml:"GetCallerIdentityResponse"`
	Namespace string   `xml:"xmlns,attr"`
	ARN       string   `xml:"GetCallerIdentityResult>Arn"`
	UserID    string   `xml:"GetCallerIdentityResult>UserId"`
	Account   string   `xml:"GetCallerIdentityResult>Account"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

type stsError struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Type      string   `xml:"Error>Type"` // Sender or Receiver
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

// serveSTS answers GetCallerIdentity in the AWS query protocol. Terraform and
// many scripts ask it before anything else.
func (s *Server) serveSTS(w http.ResponseWriter, r *http.Request, id string) (store.Scope, error) {
	scope, err := s.identify(r)
	var out any = callerIdentity{Namespace: stsNamespace, RequestID: id,
		ARN: "arn:aws:iam::" + scope.Account + ":root", UserID: scope.Account, Account: scope.Account}
	status := http.StatusOK
	if err != nil {
		kind, msg := ivs.Public(err)
		e := stsError{Namespace: stsNamespace, RequestID: id, Type: "Sender", Code: stsCode(kind), Message: msg}
		if status = kind.Status(); kind == ivs.UnknownOperation {
			status = http.StatusBadRequest // as STS has it
		}
		if status >= 500 {
			e.Type = "Receiver"
		}
		out = e
	}
	replyXML(w, status, out)
	return scope, err
}

func replyXML(w http.ResponseWriter, status int, v any) {
	body, _ := xml.Marshal(v) // strings always encode
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // the client may have left
}

func (s *Server) identify(r *http.Request) (store.Scope, error) {
	if service := signedFor(r); r.Method != http.MethodPost || service != "" && service != "sts" {
		return store.Scope{}, unknownOperation(r, "/")
	}
	body, err := readBody(r)
	if err != nil {
		return store.Scope{}, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return store.Scope{}, ivs.Errorf(ivs.Validation, "The request body is not a form")
	}
	if form.Get("Action") != "GetCallerIdentity" {
		return store.Scope{}, ivs.Errorf(ivs.UnknownOperation, "%.80q is not an operation of this server: %s", form.Get("Action"), here)
	}
	return s.authenticate(r, body, "sts")
}

// stsCode is how STS, which is older, names the errors of the signature check.
func stsCode(k ivs.Kind) string {
	switch k {
	case ivs.UnknownOperation:
		return "InvalidAction"
	case ivs.MissingToken:
		return "MissingAuthenticationToken"
	case ivs.IncompleteSignature:
		return "IncompleteSignature"
	case ivs.UnrecognizedClient:
		return "InvalidClientTokenId"
	case ivs.InvalidSignature:
		return "SignatureDoesNotMatch"
	case ivs.Internal:
		return "InternalFailure"
	}
	return k.Code()
}
