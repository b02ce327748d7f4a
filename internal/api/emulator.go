package api

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// What a server that checks no signatures offers besides, because test suites
// that were written for emulators of AWS expect it.

// probePath is where they wait for an emulator's services.
const probePath = "/_localstack/health"

func probe(w http.ResponseWriter) {
	Reply(w, struct {
		Services map[string]string `json:"services"`
		Edition  string            `json:"edition"`
	}{map[string]string{"ivs": "running", "sts": "running"}, "millrace"})
}

// temporaryCredentials are good for ever: nothing checks them.
type temporaryCredentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string // RFC 3339
}

type sessionToken struct {
	XMLName     xml.Name             `xml:"GetSessionTokenResponse"`
	Namespace   string               `xml:"xmlns,attr"`
	Credentials temporaryCredentials `xml:"GetSessionTokenResult>Credentials"`
	RequestID   string               `xml:"ResponseMetadata>RequestId"`
}

type assumedRole struct {
	XMLName     xml.Name             `xml:"AssumeRoleResponse"`
	Namespace   string               `xml:"xmlns,attr"`
	ARN         string               `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
	ID          string               `xml:"AssumeRoleResult>AssumedRoleUser>AssumedRoleId"`
	Credentials temporaryCredentials `xml:"AssumeRoleResult>Credentials"`
	RequestID   string               `xml:"ResponseMetadata>RequestId"`
}

// temporary are credentials for an account: its number is the access key.
func (s *Server) temporary(account string) temporaryCredentials {
	return temporaryCredentials{account, "test", "test", s.now().Add(12 * time.Hour).UTC().Format(time.RFC3339)}
}

// assumeRole answers with credentials for the account of the role, whether or
// not there is such a role.
func (s *Server) assumeRole(form url.Values, id string) (any, error) {
	rest, ok := strings.CutPrefix(form.Get("RoleArn"), "arn:aws:iam::")
	account, role, _ := strings.Cut(rest, ":role/")
	if !ok || len(account) != 12 || strings.Trim(account, "0123456789") != "" || role == "" {
		return nil, ivs.Errorf(ivs.Validation, "RoleArn must be of the form arn:aws:iam::<account>:role/<name>")
	}
	session := form.Get("RoleSessionName")
	if session == "" {
		return nil, ivs.Errorf(ivs.Validation, "RoleSessionName is required")
	}
	return assumedRole{Namespace: stsNamespace, RequestID: id,
		ARN:         "arn:aws:sts::" + account + ":assumed-role/" + role[strings.LastIndexByte(role, '/')+1:] + "/" + session,
		ID:          "AROA" + account + "MILL:" + session,
		Credentials: s.temporary(account)}, nil
}
