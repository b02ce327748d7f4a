package api_test

import (
	"encoding/json"
	"maps"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// schemaMembers prints, of the JavaScript SDK, the paths of the members of every
// operation's input and output.
const schemaMembers = `
const sdk = require('@aws-sdk/client-ivs')
const LIST = 1, STRUCTURE = 3, OPERATION = 9
function resolve(schema) {
	if (typeof schema === 'function') return resolve(schema())
	if (Array.isArray(schema) && typeof schema[0] !== 'number') return resolve(schema[0]) // with traits
	return schema
}
function members(schema, path, out) {
	schema = resolve(schema)
	if (!Array.isArray(schema)) return out
	if (schema[0] === LIST) return members(schema[4], path, out)
	if (schema[0] !== STRUCTURE) return out
	schema[4].forEach((name, i) => {
		const at = path ? path + '.' + name : name
		out.push(at)
		members(schema[5][i], at, out)
	})
	return out
}
const all = {}
for (const schema of Object.values(sdk)) {
	if (Array.isArray(schema) && schema[0] === OPERATION) {
		all[schema[2]] = { input: members(schema[4], '', []), output: members(schema[5], '', []) }
	}
}
console.log(JSON.stringify(all))
`

type sdkMembers struct{ Input, Output []string }

func javaScriptSDK(t *testing.T) (all map[string]sdkMembers) {
	t.Helper()
	node := exec.Command("node", "-e", schemaMembers)
	node.Dir = "../../console" // its SDK is the newest; npm ci installs it
	out, err := node.Output()
	if err != nil {
		t.Fatalf("node with the SDK of console/package.json (npm ci): %v", err)
	}
	must(t, json.Unmarshal(out, &all))
	for name, m := range all {
		all[name] = sdkMembers{sorted(m.Input), sorted(m.Output)}
	}
	return all
}

// sorted is paths in order, nil if there are none.
func sorted(paths []string) []string { return slices.Sorted(slices.Values(paths)) }

// The SDKs for Go and JavaScript, both pinned, have the same operations and
// members, so that what is tested with one holds for the other. The first may
// lack what the second has already: then that is tested here.
func TestNewestSDKs(t *testing.T) {
	newer := javaScriptSDK(t)
	older := map[string]sdkMembers{}
	for name, shapes := range sdkOperations() {
		var m sdkMembers
		for i, list := range []*[]string{&m.Input, &m.Output} {
			members(shapes[i], "", func(path string, _ reflect.Type) { *list = append(*list, onWire(path)) })
			*list = sorted(*list)
		}
		older[name] = m
	}
	update, ok := newer["UpdateAdConfiguration"]
	if _, known := older["UpdateAdConfiguration"]; !ok || known {
		t.Fatalf("UpdateAdConfiguration: in the JavaScript SDK %v, in that for Go %v", ok, known)
	}
	delete(newer, "UpdateAdConfiguration")
	postRoll := func(path string) bool { return strings.Contains(path, "postRollConfiguration") }
	for name, m := range newer { // of ad configurations, which came with that operation
		newer[name] = sdkMembers{sorted(slices.DeleteFunc(m.Input, postRoll)), sorted(slices.DeleteFunc(m.Output, postRoll))}
	}
	if diff := cmp.Diff(older, newer); diff != "" {
		t.Errorf("operations and members (-Go +JavaScript):\n%s", diff)
	}

	w := newOpenWorld(t)
	for _, member := range update.Input {
		if strings.Contains(member, ".") {
			continue // the same as CreateAdConfiguration's
		}
		refused := slices.ContainsFunc([]string{`{}`, `"x"`}, func(wrong string) bool {
			a := w.post(t, "UpdateAdConfiguration", `{"`+member+`":`+wrong+`}`)
			return a.code(t) == "ValidationException" && strings.Contains(string(a.body), member)
		})
		if !refused {
			t.Errorf("UpdateAdConfiguration does not know %s", member)
		}
	}
	var created, updated struct{ AdConfiguration map[string]any }
	must(t, json.Unmarshal(w.post(t, "CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[{"playbackConfigurationArn":"`+mediaTailor+`"}]}`).body, &created))
	arn, _ := created.AdConfiguration["arn"].(string)
	must(t, json.Unmarshal(w.post(t, "UpdateAdConfiguration", `{"arn":"`+arn+`"}`).body, &updated))
	shown := []string{"adConfiguration"}
	for member := range maps.Keys(updated.AdConfiguration) {
		shown = append(shown, "adConfiguration."+member)
	}
	slices.Sort(shown)
	want := slices.DeleteFunc(slices.Clone(update.Output), func(path string) bool { return strings.Count(path, ".") > 1 })
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("the output of UpdateAdConfiguration (-SDK +server):\n%s", diff)
	}
}
