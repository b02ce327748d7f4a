package main

import (
	"encoding/json"
	"maps"
	"net/http"
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
	doc, err := loader.LoadFromFile("../../docs/openapi.yaml")
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
	calls := slices.AppendSeq([]string{"POST /_millrace/sign-in"}, maps.Keys(control.Extensions))
	slices.Sort(calls)
	if described := slices.Sorted(maps.Keys(operations)); !slices.Equal(described, calls) {
		t.Errorf("docs/openapi.yaml describes\n%s\nand the server answers\n%s", strings.Join(described, "\n"), strings.Join(calls, "\n"))
	}
}

// checkAgainstOpenAPI checks the answer to a call below /_millrace/, with its
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
