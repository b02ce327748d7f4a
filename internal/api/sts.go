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

// serveSTS answers in the AWS query protocol. Terraform and many scripts call
// GetCallerIdentity before anything else.
func (s *Server) serveSTS(w http.ResponseWriter, r *http.Request, id string) (store.Scope, error) {
	scope, form, err := s.admitSTS(w, r)
	var out any
	if err == nil {
		out, err = s.callSTS(scope, form, id)
	}
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

// admitSTS reads and authenticates a call, which is a form in the body or in
// the query.
func (s *Server) admitSTS(w http.ResponseWriter, r *http.Request) (store.Scope, url.Values, error) {
	service := signedFor(r)
	if r.Method != http.MethodPost && r.Method != http.MethodGet || service != "" && service != "sts" {
		return store.Scope{}, nil, unknownOperation(r, "/")
	}
	body, scope, leave, err := s.admit(w, r, "sts")
	if err != nil {
		return scope, nil, err
	}
	leave() // the rest is in memory
	text := string(body)
	if r.Method == http.MethodGet {
		text = r.URL.RawQuery
	}
	form, err := url.ParseQuery(text)
	if err != nil {
		return scope, nil, ivs.Errorf(ivs.Validation, "The request is not a form")
	}
	return scope, form, nil
}

// callSTS runs an action. Only a server that checks no signatures gives out
// temporary credentials.
func (s *Server) callSTS(scope store.Scope, form url.Values, id string) (any, error) {
	switch action := form.Get("Action"); {
	case action == "GetCallerIdentity":
		return callerIdentity{Namespace: stsNamespace, RequestID: id,
			ARN: "arn:aws:iam::" + scope.Account + ":root", UserID: scope.Account, Account: scope.Account}, nil
	case action == "AssumeRole" && s.AuthOff:
		return s.assumeRole(form, id)
	case action == "GetSessionToken" && s.AuthOff:
		return sessionToken{Namespace: stsNamespace, RequestID: id, Credentials: s.temporary(scope.Account)}, nil
	default:
		return nil, ivs.Errorf(ivs.UnknownOperation, "%.80q is not an operation of this server: %s", action, here)
	}
}

func replyXML(w http.ResponseWriter, status int, v any) {
	body, _ := xml.Marshal(v) // strings always encode
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // the client may have left
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
	case ivs.Validation:
		return "ValidationError"
	case ivs.Internal:
		return "InternalFailure"
	}
	return k.Code()
}
