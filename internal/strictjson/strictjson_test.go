package strictjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/strictjson"
)

type shared struct {
	Name *string `json:"name"`
}

type document struct {
	shared
	Tags  map[string]string `json:"tags"`
	Items []string          `json:"items"`
	Inner *struct {
		Number int      `json:"number"`
		List   []shared `json:"list"`
	} `json:"inner"`
}

func TestUnmarshal(t *testing.T) {
	for _, tt := range []struct{ text, want string }{ // "" means that it is accepted
		{`{}`, ""},
		{`null`, ""},
		{` { "name" : "a" , "items" : [ ] , "tags" : { } } `, ""},
		{`{"name":null,"tags":null,"items":null,"inner":null}`, ""},
		{`{"name":"\"\\\/\b\u00fc\ud83d\ude00","items":["a","b"],"inner":{"number":-1.0e0,"list":[{"name":"x"},{}]}}`, "inner.number must not be a JSON number -1.0e0"},
		{`{"name":"\"\\\/\b\u00fc\ud83d\ude00😀","items":["a","b"],"inner":{"number":-1,"list":[{"name":"x"},{}]}}`, ""},
		{`{"unknown":[null,{"a":null,"b":[true,false,1e5]}],"tags":{"a":"1","A":"2"}}`, ""},

		{`{"name":"a","name":"b"}`, `the JSON document has the member "name" twice`},
		{`{"name":"a","NAME":"b"}`, `the JSON document has the member "NAME" twice`},
		{`{"name":"a","\u006eame":null}`, `the JSON document has the member "name" twice`},
		{`{"items":[],"item\u017f":[]}`, "the JSON document has the member \"item\u017f\" twice"}, // folds to s
		{`{"other":1,"OTHER":2}`, `the JSON document has the member "OTHER" twice`},
		{`{"tags":{"a":"1","a":"2"}}`, `tags has the member "a" twice`},
		{`{"inner":{"list":[{"name":"a","name":"a"}]}}`, `inner.list has the member "name" twice`},
		{`{"unknown":{"a":1,"a":1}}`, `unknown has the member "a" twice`},

		{`{"items":["a",null]}`, "items must not have a null item"},
		{`{"tags":{"a":null}}`, "tags must not have a null item"},
		{`{"inner":{"list":[null]}}`, "inner.list must not have a null item"},

		{`{"name":"a\u0000"}`, "name has a string that is not Unicode text, or has a NUL"},
		{`{"name":"\ud800"}`, "name has a string"},
		{`{"name":"\udc00"}`, "name has a string"},
		{`{"name":"\ud800\ud800"}`, "name has a string"},
		{`{"name":"\ud800x\udc00"}`, "name has a string"},
		{`{"name":"\ud800\\udc00"}`, "name has a string"},
		{"{\"name\":\"\xff\"}", "name has a string"},
		{`{"tags":{"\ud800":"v"}}`, "tags has a string"},
		{`{"unknown":["\u0000"]}`, "unknown has a string"},

		{`{`, "the JSON document is not valid JSON"},
		{``, "the JSON document is not valid JSON"},
		{`{} {}`, "the JSON document is not valid JSON"},
		{`[]`, "the JSON document must be a JSON object, not a JSON array"},
		{`{"name":1}`, "name must not be a JSON number"},
		{`{"inner":{"list":[{"name":{}}]}}`, "inner.list.name must not be a JSON object"},
	} {
		var v document
		err := strictjson.Unmarshal([]byte(tt.text), &v)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.want)
		}
		if _, ok := errors.AsType[*strictjson.Error](err); err != nil && !ok {
			t.Errorf("%s: %T is not an *Error", tt.text, err)
		}
	}
}

// What is accepted decodes as encoding/json has it, and survives encoding and
// decoding unchanged: nothing has been replaced or merged on the way.
func FuzzUnmarshal(f *testing.F) {
	f.Add(`{"name":"a","tags":{"k":"v"},"items":["x"],"inner":{"number":1,"list":[{"name":"\ud83d\ude00"}]}}`)
	f.Add(`{"unknown":[null,{"a":null,"b":[true,false,1e5]}],"name":"\u0000"}`)
	f.Add(` [ { } , [ ] , "\\\"" ] `)
	f.Fuzz(func(t *testing.T, text string) {
		var strict, plain document
		if err := strictjson.Unmarshal([]byte(text), &strict); err != nil {
			return
		}
		if err := json.Unmarshal([]byte(text), &plain); err != nil || !reflect.DeepEqual(strict, plain) {
			t.Fatalf("%q: %+v, encoding/json has %+v, %v", text, strict, plain, err)
		}
		again, err := json.Marshal(strict)
		if err != nil {
			t.Fatal(err)
		}
		var second document
		if err := strictjson.Unmarshal(again, &second); err != nil {
			t.Fatalf("%q, encoded again as %s: %v", text, again, err)
		}
	})
}
