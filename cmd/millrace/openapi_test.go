package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/cluster"
)

// openAPI is docs/openapi.yaml, by pattern of http.ServeMux.
var openAPI = sync.OnceValues(func() (map[string]*openapi3.Operation, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromFile(openAPIFile)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(loader.Context); err != nil {
		return nil, err
	}
	operations := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			operations[method+" "+path] = operation
		}
	}
	return operations, nil
})

// TestOpenAPI holds the document against the calls that there are.
func TestOpenAPI(t *testing.T) {
	operations, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	control := &api.Server{}
	b := base{node: &cluster.Node{}}
	b.addExtensions(t.Context(), control, anywhere{}, map[string]http.Handler{}, nil, nil, nil, machineReport{}, &drain{})
	calls := slices.AppendSeq([]string{signInPattern}, maps.Keys(control.Extensions))
	slices.Sort(calls)
	if described := slices.Sorted(maps.Keys(operations)); !slices.Equal(described, calls) {
		t.Errorf("docs/openapi.yaml describes\n%s\nand the server answers\n%s", strings.Join(described, "\n"), strings.Join(calls, "\n"))
	}
}

// checkAgainstOpenAPI checks a call below /_millrace/ and the answer to it, with its
// body. All tests that make such calls do so.
func checkAgainstOpenAPI(t testing.TB, request *http.Request, answer *http.Response, body []byte) {
	t.Helper()
	operations, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern := range operations {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	_, pattern := mux.Handler(request)
	operation := operations[pattern]
	if operation == nil {
		t.Errorf("%s %s is not in docs/openapi.yaml", request.Method, request.URL.Path)
		return
	}
	if answer.StatusCode < http.StatusMultipleChoices {
		checkParameters(t, pattern, operation, request.URL.Query())
		checkBody(t, pattern, operation, request)
	}
	response := operation.Responses.Status(answer.StatusCode)
	if response == nil {
		response = operation.Responses.Default()
	}
	media := response.Value.Content.Get(answer.Header.Get("Content-Type"))
	if media == nil {
		t.Errorf("%s: %s with Content-Type %q is not in docs/openapi.yaml", pattern, answer.Status, answer.Header.Get("Content-Type"))
		return
	}
	if answer.Header.Get("Content-Type") != "application/json" {
		return
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Errorf("%s: %s: %v", pattern, body, err)
	} else if err := media.Schema.Value.VisitJSON(value); err != nil {
		t.Errorf("%s: the answer is not as docs/openapi.yaml describes it: %v\n%s", pattern, err, body)
	}
}

// checkParameters checks the query of a call that the server has accepted: each parameter
// is described and has such a value, and those that are required are there.
func checkParameters(t testing.TB, pattern string, operation *openapi3.Operation, query url.Values) {
	t.Helper()
	for name := range query {
		parameter := operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name)
		if parameter == nil {
			t.Errorf("%s: the parameter %s is not in docs/openapi.yaml", pattern, name)
			continue
		}
		var value any = query.Get(name)
		if !parameter.Schema.Value.Type.Is(openapi3.TypeString) {
			if err := json.Unmarshal([]byte(query.Get(name)), &value); err != nil {
				t.Errorf("%s: %s=%s: %v", pattern, name, query.Get(name), err)
			}
		}
		if err := parameter.Schema.Value.VisitJSON(value); err != nil {
			t.Errorf("%s: %s=%s is not as docs/openapi.yaml describes it: %v", pattern, name, query.Get(name), err)
		}
	}
	for _, parameter := range operation.Parameters {
		if p := parameter.Value; p.In == openapi3.ParameterInQuery && p.Required && !query.Has(p.Name) {
			t.Errorf("%s is accepted without %s, which docs/openapi.yaml requires", pattern, p.Name)
		}
	}
}

// checkBody checks the body of a call that the server has accepted.
func checkBody(t testing.TB, pattern string, operation *openapi3.Operation, request *http.Request) {
	t.Helper()
	if request.ContentLength == 0 {
		if operation.RequestBody != nil {
			t.Errorf("%s is accepted without a body, which docs/openapi.yaml requires", pattern)
		}
		return
	}
	if operation.RequestBody == nil {
		t.Errorf("%s: docs/openapi.yaml describes no body", pattern)
		return
	}
	reader, err := request.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.NewDecoder(reader).Decode(&value); err != nil {
		t.Errorf("%s: the body: %v", pattern, err)
	} else if err := operation.RequestBody.Value.Content.Get("application/json").Schema.Value.VisitJSON(value); err != nil {
		t.Errorf("%s: the body is not as docs/openapi.yaml describes it: %v", pattern, err)
	}
}
