package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/aws/smithy-go"
	"github.com/chromedp/chromedp"
)

// object is a JSON object.
type object = map[string]any

// An apiClient calls an operation by its name. known is false if the client is
// too old for it; code is the error's.
type apiClient func(t *testing.T, op string, in object) (out object, code string, known bool)

// Every client of AWS that there is creates, reads, changes, tags, lists and
// deletes one of every resource that it knows.
func TestRealClients(t *testing.T) {
	t.Parallel()
	env := []string{"AWS_ACCESS_KEY_ID=" + testKey, "AWS_SECRET_ACCESS_KEY=" + testSecret, "AWS_REGION=us-west-2", "AWS_DEFAULT_REGION=us-west-2",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_EC2_METADATA_DISABLED=true"}
	node, err := filepath.Abs("../../console/node_modules/@aws-sdk/client-ivs")
	if err != nil {
		t.Fatal(err)
	}
	clients := map[string]func(t *testing.T, s *server) apiClient{
		"Go":  func(t *testing.T, s *server) apiClient { return s.goClient },
		"CLI": func(t *testing.T, s *server) apiClient { return cliClient(s.api, env) },
		"boto3": func(t *testing.T, s *server) apiClient {
			return lineClient(t, env, python(), "testdata/client.py", s.api)
		},
		"JavaScript": func(t *testing.T, s *server) apiClient {
			return lineClient(t, env, "node", "testdata/client.cjs", node, s.api)
		},
		"browser": func(t *testing.T, s *server) apiClient { return browserClient(t, node, s.api) },
	}
	for name, open := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			call := open(t, startServer(t, ""))
			walked := 0
			for _, r := range walkedResources(t) {
				if r.walk(t, call) {
					walked++
				}
			}
			// Debian 12 has clients from before restriction policies and ads.
			if walked < 4 || walked < 6 && (name == "Go" || name == "JavaScript" || name == "browser") {
				t.Errorf("the client knows only %d of the resources", walked)
			}
		})
	}
}

// A walkedResource is how a resource is created and what it is called.
type walkedResource struct {
	noun    string // in the names of operations
	create  string // operation; "" means Create and the noun
	in      object
	member  string // of the answers that holds it
	listed  string // of the list that holds all
	list    string // operation
	listIn  object
	renamed bool // there is an Update that changes its name
}

func walkedResources(t *testing.T) []walkedResource {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	material := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	tailor := []object{{"playbackConfigurationArn": "arn:aws:mediatailor:us-west-2:000000000000:playbackConfiguration/demo"}}
	all := object{"maxResults": 50}
	return []walkedResource{
		{noun: "Channel", in: object{"name": "walk", "tags": object{"team": "a b"}, "latencyMode": "NORMAL"}, member: "channel",
			list: "ListChannels", listIn: all, listed: "channels", renamed: true},
		{noun: "StreamKey", in: object{"tags": object{"team": "a b"}}, member: "streamKey", list: "ListStreamKeys", listIn: all, listed: "streamKeys"},
		{noun: "PlaybackKeyPair", create: "ImportPlaybackKeyPair", in: object{"name": "walk", "publicKeyMaterial": material, "tags": object{"team": "a b"}},
			member: "keyPair", list: "ListPlaybackKeyPairs", listIn: all, listed: "keyPairs"},
		{noun: "RecordingConfiguration", in: object{"name": "walk", "tags": object{"team": "a b"}, "recordingReconnectWindowSeconds": 60,
			"destinationConfiguration": object{"s3": object{"bucketName": "walk"}}, "thumbnailConfiguration": object{"recordingMode": "DISABLED"}},
			member: "recordingConfiguration", list: "ListRecordingConfigurations", listIn: all, listed: "recordingConfigurations"},
		{noun: "PlaybackRestrictionPolicy", in: object{"name": "walk", "tags": object{"team": "a b"}, "allowedCountries": []string{"DE"}},
			member: "playbackRestrictionPolicy", list: "ListPlaybackRestrictionPolicies", listIn: all, listed: "playbackRestrictionPolicies", renamed: true},
		{noun: "AdConfiguration", in: object{"name": "walk", "tags": object{"team": "a b"}, "mediaTailorPlaybackConfigurations": tailor},
			member: "adConfiguration", list: "ListAdConfigurations", listIn: all, listed: "adConfigurations"},
	}
}

// walk takes r from its creation to its end. It is false if the client does not
// know r.
func (r walkedResource) walk(t *testing.T, call apiClient) bool {
	t.Helper()
	must := func(op string, in object) object {
		t.Helper()
		out, code, known := call(t, op, in)
		if code != "" || !known {
			t.Fatalf("%s(%v): error %q, known %v", op, in, code, known)
		}
		return out
	}
	in, listIn := maps.Clone(r.in), maps.Clone(r.listIn)
	if r.noun == "StreamKey" { // needs a channel that has none
		made := must("CreateChannel", object{})
		in["channelArn"] = made["channel"].(object)["arn"]
		listIn["channelArn"] = in["channelArn"]
		must("DeleteStreamKey", object{"arn": made["streamKey"].(object)["arn"]})
		defer must("DeleteChannel", object{"arn": in["channelArn"]})
	}
	create := r.create
	if create == "" {
		create = "Create" + r.noun
	}
	out, code, known := call(t, create, in)
	if !known {
		return false
	}
	if code != "" {
		t.Fatalf("%s: %s", create, code)
	}
	arn := out[r.member].(object)["arn"]
	name := in["name"]
	if r.renamed {
		name = "renamed"
		must("Update"+r.noun, object{"arn": arn, "name": name})
	}
	must("TagResource", object{"resourceArn": arn, "tags": object{"stage": "test/1", "old": ""}})
	must("UntagResource", object{"resourceArn": arn, "tagKeys": []string{"team", "old"}})
	wantTags := object{"stage": "test/1"}
	if tags := must("ListTagsForResource", object{"resourceArn": arn})["tags"]; !reflect.DeepEqual(tags, wantTags) {
		t.Errorf("%s has tags %v, want %v", arn, tags, wantTags)
	}
	got := must("Get"+r.noun, object{"arn": arn})[r.member].(object)
	if got["name"] != name && r.noun != "StreamKey" || !reflect.DeepEqual(got["tags"], wantTags) {
		t.Errorf("Get%s = %v, want name %v and tags %v", r.noun, got, name, wantTags)
	}
	found := 0
	for _, item := range must(r.list, listIn)[r.listed].([]any) {
		if item.(object)["arn"] == arn {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%s lists %v %d times", r.list, arn, found)
	}
	must("Delete"+r.noun, object{"arn": arn})
	if _, code, _ := call(t, "Get"+r.noun, object{"arn": arn}); code != "ResourceNotFoundException" {
		t.Errorf("Get%s of what was deleted: error %q", r.noun, code)
	}
	return true
}

// goClient calls the Go SDK's method of that name.
func (s *server) goClient(t *testing.T, op string, in object) (object, string, bool) {
	t.Helper()
	method := reflect.ValueOf(s.ivs()).MethodByName(op)
	if !method.IsValid() {
		return nil, "", false
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	input := reflect.New(method.Type().In(1).Elem())
	text, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(text, input.Interface()) // its fields are named like the members, in capitals
	}
	if err != nil {
		t.Fatal(err)
	}
	result := method.Call([]reflect.Value{reflect.ValueOf(ctx), input})
	if err, _ := result[1].Interface().(error); err != nil {
		e, ok := errors.AsType[smithy.APIError](err)
		if !ok {
			t.Fatalf("%s: %v", op, err)
		}
		return nil, e.ErrorCode(), true
	}
	var out any
	if text, err = json.Marshal(result[0].Interface()); err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return small(out, "").(object), "", true
}

// small gives members their names on the wire; the keys of tags stay.
func small(v any, name string) any {
	switch v := v.(type) {
	case object:
		if name == "tags" {
			return v
		}
		o := object{}
		for k, x := range v {
			k = string(unicode.ToLower(rune(k[0]))) + k[1:]
			o[k] = small(x, k)
		}
		return o
	case []any:
		for i := range v {
			v[i] = small(v[i], "")
		}
	}
	return v
}

// cliClient runs the AWS CLI.
func cliClient(api string, env []string) apiClient {
	words := regexp.MustCompile(`([a-z])([A-Z])`)
	failure := regexp.MustCompile(`An error occurred \((\w+)\)`)
	return func(t *testing.T, op string, in object) (out object, code string, known bool) {
		t.Helper()
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command("aws", "--endpoint-url", api, "--output", "json", "ivs", strings.ToLower(words.ReplaceAllString(op, "$1-$2")), "--cli-input-json", string(text))
		command.Env = append(os.Environ(), env...)
		var stderr bytes.Buffer
		command.Stderr = &stderr
		answer, err := command.Output()
		if err != nil {
			if m := failure.FindSubmatch(stderr.Bytes()); m != nil {
				return nil, string(m[1]), true
			}
			if strings.Contains(stderr.String(), "Invalid choice") {
				return nil, "", false
			}
			t.Fatalf("aws ivs %s: %v\n%s", op, err, stderr.String())
		}
		if len(bytes.TrimSpace(answer)) == 0 {
			return nil, "", true
		}
		if err := json.Unmarshal(answer, &out); err != nil {
			t.Fatalf("aws ivs %s: %v\n%s", op, err, answer)
		}
		return out, "", true
	}
}

// A clientAnswer is the result of a call, as the programs in testdata report it.
type clientAnswer struct {
	Out     object
	Error   string
	Unknown bool
}

// python is an interpreter that has boto3: Debian's may not be the first one.
func python() string {
	if exec.Command("python3", "-c", "import boto3").Run() == nil {
		return "python3"
	}
	return "/usr/bin/python3"
}

// lineClient runs a program that reads calls and writes answers, one a line.
func lineClient(t *testing.T, env []string, name string, args ...string) apiClient {
	t.Helper()
	command := exec.Command(name, args...)
	command.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("%s: %v (make test installs it)", name, err)
	}
	t.Cleanup(func() {
		stdin.Close()
		command.Wait()
	})
	lines := bufio.NewReader(stdout)
	return func(t *testing.T, op string, in object) (object, string, bool) {
		t.Helper()
		text, err := json.Marshal(object{"op": op, "in": in})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(stdin, string(text)+"\n"); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, stderr.String())
		}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, stderr.String())
		}
		var answer clientAnswer
		if err := json.Unmarshal(line, &answer); err != nil {
			t.Fatalf("%s: %v\n%s", op, err, line)
		}
		return answer.Out, answer.Error, !answer.Unknown
	}
}

// browserClient is the SDK for JavaScript in a page of another origin than the
// API's: each call is preflighted.
func browserClient(t *testing.T, sdk, api string) apiClient {
	source, err := os.ReadFile("testdata/client.browser.js")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	entry, bundle := filepath.Join(dir, "client.js"), filepath.Join(dir, "bundle.js")
	if err := os.WriteFile(entry, bytes.Replace(source, []byte("'SDK'"), []byte("'"+sdk+"'"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, nil, "../../console/node_modules/.bin/rolldown", entry, "--file", bundle, "--format", "iife", "--platform", "browser")
	options, err := json.Marshal(object{"endpoint": api, "region": "us-west-2", "credentials": object{"accessKeyId": testKey, "secretAccessKey": testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/bundle.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, bundle) })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<!doctype html><script src="/bundle.js"></script><script>connect(%s)</script>`, options)
	})
	page := httptest.NewServer(mux)
	t.Cleanup(page.Close)
	b := openBrowser(t, page.URL)
	t.Cleanup(func() { b.clean("status of 4") }) // errors of the API are part of the walk
	b.until(`'call' in window`)
	return func(t *testing.T, op string, in object) (object, string, bool) {
		t.Helper()
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		defer cancel()
		answer, err := chromedp.Run(ctx, chromedp.Evaluate[clientAnswer](fmt.Sprintf("call(%q, %s)", op, text), chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
		return answer.Out, answer.Error, !answer.Unknown
	}
}
