package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/goldentest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/monitor"
	"github.com/millrace/millrace/internal/playback"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/store"
)

// openAPIFile says what the handlers of the calls below /_millrace/ say in their comments,
// and what the types of bodies and answers are. After a change of these:
//
//	go test ./cmd/millrace -run TestOpenAPIReference -args -update
const openAPIFile = "../../docs/openapi.yaml"

func TestOpenAPIReference(t *testing.T) {
	goldentest.Check(t, openAPIFile, openAPIReference(t))
}

// A documentedCall holds what the comment on a handler leaves open. That comment has the form
//
//	Name serves METHOD PATH: summary. More.
//
//	  - parameter: What it is.
//
// and what follows is for those who read the code.
type documentedCall struct {
	pattern string // of http.ServeMux
	id      string // operationId
	body    any    // of the type of the request's body; nil for none
	status  int    // 200 by default
	answer  any    // of the type of the answer, or a mediaType
	means   string // the answer
	empty   string // what an answer 204 means; "" for none
}

// A mediaType is an answer that is not JSON.
type mediaType string

var documentedCalls = []documentedCall{
	{pattern: "GET /_millrace/channels/{channel}/health", id: "GetChannelHealth", answer: monitor.HealthOutput{}, means: "The health."},
	{pattern: "GET /_millrace/channels/{channel}/metrics", id: "GetChannelMetrics", answer: monitor.MetricsOutput{}, means: "The series."},
	{pattern: "GET /_millrace/channels/{channel}/thumbnail", id: "GetChannelThumbnail", answer: mediaType("image/jpeg"), means: "The thumbnail.", empty: "There is none now."},
	{pattern: "GET /_millrace/channels/{channel}/viewers", id: "ListViewers", answer: viewersOutput{}, means: "The viewer sessions."},
	{pattern: "POST /_millrace/channels/{channel}/playback-token", id: "CreatePlaybackToken", answer: playback.TokenOutput{}, means: "The token."},
	{pattern: "GET /_millrace/channels/{channel}/recordings", id: "ListRecordings", answer: record.RecordingsOutput{}, means: "The recordings."},
	{pattern: "GET /_millrace/streams", id: "ListLiveStreams", answer: streamsOutput{}, means: "The streams."},
	{pattern: "GET /_millrace/server", id: "GetServer", answer: serverOutput{}, means: "The report."},
	{pattern: "GET /_millrace/buckets/{bucket}", id: "CheckBucket", answer: api.BucketOutput{}, means: "What was found."},
	{pattern: "GET /_millrace/events", id: "FollowEvents", answer: mediaType("text/event-stream"), means: "The events."},
	{pattern: "GET /_millrace/events/targets", id: "ListEventTargets", answer: event.TargetsOutput{}, means: "The targets."},
	{pattern: "POST /_millrace/events/{id}/redeliver", id: "RedeliverEvent", status: http.StatusAccepted, answer: event.RedeliveredOutput{}, means: "The event is pending."},
	{pattern: "POST /_millrace/events/targets/{name}/redeliver", id: "RedeliverDeadLetters", status: http.StatusAccepted, answer: event.RedeliveredOutput{}, means: "The events are pending."},
	{pattern: "POST /_millrace/faults", id: "InjectFault", body: monitor.FaultInput{}, answer: monitor.FaultOutput{}, means: "The fault is happening."},
	{pattern: "GET /_millrace/nodes", id: "ListNodes", answer: nodesOutput{}, means: "The nodes."},
	{pattern: "POST /_millrace/drain", id: "Drain", answer: drainOutput{}, means: "It drains."},
	{pattern: "POST /_millrace/secrets/{name}/rotate", id: "RotateSecret", answer: rotatedOutput{}, means: "It is replaced."},
	{pattern: "POST /_millrace/reset", id: "Reset", answer: struct{}{}, means: "The account is empty."},
	{pattern: "POST /_millrace/sign-in-tokens", id: "CreateSignInToken", answer: api.SignInTokenOutput{}, means: "The token."},
	{pattern: signInPattern, id: "SignIn", body: api.SignInInput{}, answer: api.CredentialsOutput{}, means: "The credentials."},
}

// signInPattern is the one call that is not signed.
const signInPattern = "POST /_millrace/sign-in"

// parameterSchemas are those of parameters that are more than a string.
var parameterSchemas = map[string]*yaml.Node{
	"GetChannelMetrics.period": members("type", "integer", "enum", []int{meter.Second, meter.Minute}),
	"GetChannelMetrics.start":  members("type", "integer"),
	"GetChannelMetrics.end":    members("type", "integer"),
	"RotateSecret.name":        members("type", "string", "enum", []string{"nodes", "viewers", "webhook", "root"}),
}

// restrictions on members, which their Go types do not express.
var restrictions = map[string]*yaml.Node{
	"FaultInput.fault":      members("enum", append(slices.Clone(live.Faults), record.FaultBucketSlow, record.FaultBucketFail)),
	"Health.health":         members("enum", streamHealth),
	"Health.state":          members("enum", []string{ivs.StateLive, ivs.StateOffline}),
	"Metrics.period":        members("enum", []int{meter.Second, meter.Minute}),
	"Recording.renditions":  members("nullable", true),
	"Recording.state":       members("enum", []string{record.StateStarting, record.StateRecording, record.StateWaiting, record.StateEnded, record.StateFailed}),
	"Recordings.recordings": members("maxItems", store.MaxRecordings),
	"Stream.health":         members("enum", streamHealth),
	"Streams.unreachable":   members("minItems", 1),
	"Target.deadLetters":    members("maxItems", event.MaxDeadLetters),
	"Viewer.addressClass":   members("enum", []string{audience.ClassUnknown.String(), audience.ClassLoopback.String(), audience.ClassPrivate.String(), audience.ClassIPv4.String(), audience.ClassIPv6.String()}),
	"Viewers.unreachable":   members("minItems", 1),
	"Viewers.viewers":       members("maxItems", playback.MaxListed),
}

var streamHealth = []string{ivs.HealthHealthy, ivs.HealthStarving, ivs.HealthUnknown}

// openAPIHead stands above the paths.
const openAPIHead = `# Generated from the handlers and types of the program; change their comments, not this file.
openapi: 3.0.3
info:
  title: Millrace, beside the IVS API
  version: "1"
  description: |
    What Millrace answers below /_millrace/. The API of Amazon IVS itself is described by AWS's own models, and any
    AWS SDK speaks it. These calls are signed in the same way: Signature Version 4, service "ivs". The tests hold
    this document against the server's answers: each member is listed here, and none is missing there.
servers:
  - url: http://127.0.0.1:8080
security:
  - sigv4: []
`

// openAPIComponents are the components that no Go type describes.
const openAPIComponents = `components:
  securitySchemes:
    sigv4: {type: apiKey, name: Authorization, in: header, description: "AWS Signature Version 4, service ivs."}
  parameters:
    channel: {name: channel, in: path, required: true, schema: {type: string}, description: "Id of a channel in the region of the signature, or its ARN (percent-encoded)."}
  responses:
    Error: {description: "An error of the IVS API; its code is in X-Amzn-Errortype too.", content: {application/json: {schema: {$ref: "#/components/schemas/Error"}}}}
`

func openAPIReference(t *testing.T) []byte {
	d := document{T: t, comments: readComments(t), types: map[string]reflect.Type{}, schemas: map[string]*yaml.Node{}, used: map[string]bool{}}
	paths := members()
	for _, c := range documentedCalls {
		method, path, _ := strings.Cut(c.pattern, " ")
		add(paths, path, members(strings.ToLower(method), d.operation(c)))
	}
	d.schema(reflect.TypeFor[api.ErrorOutput]())
	schemas := members()
	for _, name := range slices.Sorted(maps.Keys(d.schemas)) {
		add(schemas, name, d.schemas[name])
	}
	for pattern := range d.comments.calls {
		if !slices.ContainsFunc(documentedCalls, func(c documentedCall) bool { return c.pattern == pattern }) {
			t.Errorf("a comment describes %s, which is not among the documented calls", pattern)
		}
	}
	for name := range restrictions {
		if !d.used[name] {
			t.Errorf("there is no member %s, which is restricted", name)
		}
	}
	for name := range parameterSchemas {
		if !d.used[name] {
			t.Errorf("there is no parameter %s, which has a schema", name)
		}
	}
	b := bytes.NewBufferString(openAPIHead)
	write := yaml.NewEncoder(b)
	write.SetIndent(2)
	var components yaml.Node
	if err := yaml.Unmarshal([]byte(openAPIComponents), &components); err != nil {
		t.Fatal(err)
	}
	root := components.Content[0]
	add(root.Content[1], "schemas", schemas)
	root.Content = append(members("paths", paths).Content, root.Content...)
	if err := write.Encode(root); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A document is being generated.
type document struct {
	*testing.T
	comments comments
	types    map[string]reflect.Type // of the schemas
	schemas  map[string]*yaml.Node
	used     map[string]bool // of restrictions and parameterSchemas
}

func (d *document) operation(c documentedCall) *yaml.Node {
	said, ok := d.comments.calls[c.pattern]
	if !ok {
		d.Fatalf("no handler has the comment “… serves %s: …”", c.pattern)
	}
	summary, description, more := strings.Cut(said.text, ". ")
	if more {
		summary += "."
	}
	operation := members("operationId", c.id, "summary", summary, "description", description)
	if c.pattern == signInPattern {
		add(operation, "security", oneLine(&yaml.Node{Kind: yaml.SequenceNode}))
	}
	if parameters := d.parameters(c, said); len(parameters) > 0 {
		add(operation, "parameters", parameters)
	}
	if c.body != nil {
		add(operation, "requestBody", oneLine(members("required", true, "content", d.content(c.body))))
	}
	responses := members(strconv.Itoa(cmp.Or(c.status, http.StatusOK)), oneLine(members("description", c.means, "content", d.content(c.answer))))
	if c.empty != "" {
		add(responses, strconv.Itoa(http.StatusNoContent), oneLine(members("description", c.empty)))
	}
	add(responses, "default", oneLine(members("$ref", "#/components/responses/Error")))
	add(operation, "responses", responses)
	return operation
}

// content describes a body of the type of v.
func (d *document) content(v any) *yaml.Node {
	media, ok := v.(mediaType)
	switch {
	case !ok:
		return members("application/json", members("schema", d.schema(reflect.TypeOf(v))))
	case strings.HasPrefix(string(media), "text/"):
		return members(string(media), members("schema", members("type", "string")))
	}
	return members(string(media), members("schema", members("type", "string", "format", "binary")))
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// parameters are those that the comment lists. That of a channel is the same everywhere.
func (d *document) parameters(c documentedCall, said callComment) (all []*yaml.Node) {
	var inPath []string
	for _, m := range pathParameter.FindAllStringSubmatch(c.pattern, -1) {
		if m[1] == "channel" {
			all = append(all, oneLine(members("$ref", "#/components/parameters/channel")))
			continue
		}
		inPath = append(inPath, m[1])
	}
	for _, p := range said.parameters {
		in, required := "query", any(nil)
		if i := slices.Index(inPath, p.name); i >= 0 {
			in, required = "path", true
			inPath = slices.Delete(inPath, i, i+1)
		}
		schema, ok := parameterSchemas[c.id+"."+p.name]
		if !ok {
			schema = members("type", "string")
		}
		d.used[c.id+"."+p.name] = true
		all = append(all, oneLine(members("name", p.name, "in", in, "required", required, "schema", schema, "description", p.text)))
	}
	if len(inPath) > 0 {
		d.Errorf("the comment on the handler of %s does not list %q", c.pattern, inPath)
	}
	return all
}

// schema describes values of a type as encoding/json shows them.
func (d *document) schema(t reflect.Type) *yaml.Node {
	switch t {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[ivs.Time]():
		return members("type", "string", "format", "date-time")
	case reflect.TypeFor[ivs.Event]():
		return members("type", "object")
	case reflect.TypeFor[monitor.Duration]():
		return members("anyOf", []*yaml.Node{members("type", "string"), members("type", "number")})
	}
	if p := reflect.PointerTo(t); p.Implements(reflect.TypeFor[json.Marshaler]()) || p.Implements(reflect.TypeFor[json.Unmarshaler]()) {
		d.Fatalf("%v encodes itself, in a form that is not known here", t)
	}
	switch t.Kind() {
	case reflect.Bool:
		return members("type", "boolean")
	case reflect.Int, reflect.Int64:
		return members("type", "integer")
	case reflect.Float64:
		return members("type", "number")
	case reflect.String:
		return members("type", "string")
	case reflect.Pointer: // nil is left out
		return d.schema(t.Elem())
	case reflect.Slice:
		return members("type", "array", "items", d.schema(t.Elem()))
	case reflect.Array:
		return members("type", "array", "minItems", t.Len(), "maxItems", t.Len(), "items", d.schema(t.Elem()))
	case reflect.Map:
		return members("type", "object", "additionalProperties", d.schema(t.Elem()))
	case reflect.Struct:
		return d.structSchema(t)
	}
	d.Fatalf("%v has no schema", t)
	return nil
}

// structSchema is a reference to the schema of a struct, which it makes if there is none
// yet.
func (d *document) structSchema(t reflect.Type) *yaml.Node {
	if t.NumField() == 0 {
		return members("type", "object", "additionalProperties", false)
	}
	name := capital(strings.TrimSuffix(t.Name(), "Output"))
	ref := members("$ref", "#/components/schemas/"+name)
	if other, ok := d.types[name]; ok {
		if other != t {
			d.Errorf("%v and %v have the same name in the document", t, other)
		}
		return ref
	}
	d.types[name] = t
	properties := members()
	var required []string
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue // its fields follow
		}
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" || key == "-" {
			d.Fatalf("%v.%s has no name in JSON", t, f.Name)
		}
		if !strings.HasPrefix(options, "omit") {
			required = append(required, key)
		}
		add(properties, key, d.member(t, f, name+"."+key))
	}
	said := typeComment.FindStringSubmatch(d.comments.types[t.String()])
	if said == nil {
		d.Fatalf("%v has no comment of the form “A Name is …”", t)
	}
	schema := members("description", capital(said[1]), "type", "object", "additionalProperties", false)
	if len(required) > 0 {
		add(schema, "required", oneLine(value(required)))
	}
	add(schema, "properties", properties)
	d.schemas[name] = schema
	return ref
}

// typeComment matches the comment on a type: its name, a verb, and what is published.
var typeComment = regexp.MustCompile(`^(?:An? )?\w+ \w+ (.+)$`)

// member describes a field of t, which is called name.
func (d *document) member(t reflect.Type, f reflect.StructField, name string) *yaml.Node {
	schema := d.schema(f.Type)
	for _, i := range f.Index[:len(f.Index)-1] {
		t = t.Field(i).Type // which is embedded
	}
	said := d.comments.types[t.String()+"."+f.Name]
	if schema.Content[0].Value == "$ref" && said != "" {
		schema = members("allOf", []*yaml.Node{schema}) // nothing may stand beside a reference
	}
	if more, ok := restrictions[name]; ok {
		schema.Content = append(schema.Content, more.Content...)
		d.used[name] = true
	}
	add(schema, "description", said)
	return oneLine(schema)
}

// comments holds the program's comments on calls and types.
type comments struct {
	calls map[string]callComment // by pattern
	types map[string]string      // by package and type, or package, type and field
}

// A callComment is the comment on a handler.
type callComment struct {
	text       string
	parameters []parameterComment
}

type parameterComment struct{ name, text string }

// readComments reads those of this command and of the packages in internal.
func readComments(t *testing.T) comments {
	all := comments{calls: map[string]callComment{}, types: map[string]string{}}
	for _, pattern := range []string{"*.go", "../../internal/*/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range f.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					all.addCall(decl.Doc.Text())
				case *ast.GenDecl:
					all.addTypes(f.Name.Name, decl)
				}
			}
		}
	}
	return all
}

var servesCall = regexp.MustCompile(`^\w+ serves ([A-Z]+ /_millrace/\S+): (.+)$`)

func (c comments) addCall(text string) {
	blocks := new(comment.Parser).Parse(text).Content
	if len(blocks) == 0 {
		return
	}
	m := servesCall.FindStringSubmatch(plain(blocks[0]))
	if m == nil {
		return
	}
	call := callComment{text: capital(m[2])}
	if len(blocks) > 1 {
		if list, ok := blocks[1].(*comment.List); ok {
			for _, item := range list.Items {
				name, text, _ := strings.Cut(plain(item.Content...), ": ")
				call.parameters = append(call.parameters, parameterComment{name, text})
			}
		}
	}
	c.calls[m[1]] = call
}

func (c comments) addTypes(pkg string, decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		spec, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		name := pkg + "." + spec.Name.Name
		if blocks := new(comment.Parser).Parse(cmp.Or(spec.Doc.Text(), decl.Doc.Text())).Content; len(blocks) > 0 {
			c.types[name] = plain(blocks[0])
		}
		if fields, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range fields.Fields.List {
				for _, id := range f.Names {
					c.types[name+"."+id.Name] = strings.Join(strings.Fields(f.Comment.Text()), " ")
				}
			}
		}
	}
}

// plain is the text of blocks of a comment, without its line breaks.
func plain(blocks ...comment.Block) string {
	text := (&comment.Printer{TextWidth: -1}).Text(&comment.Doc{Content: blocks})
	return strings.TrimSpace(string(text))
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// members is a mapping of YAML, in the order of its names and values, which alternate.
func members(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		add(n, pairs[i].(string), pairs[i+1])
	}
	return n
}

// add adds a member, unless its value is nil or "".
func add(to *yaml.Node, name string, v any) {
	if v != nil && v != "" {
		to.Content = append(to.Content, value(name), value(v))
	}
}

func value(v any) *yaml.Node {
	n := &yaml.Node{}
	switch v := v.(type) {
	case *yaml.Node:
		return v
	case []*yaml.Node:
		return &yaml.Node{Kind: yaml.SequenceNode, Content: v}
	}
	if err := n.Encode(v); err != nil {
		panic(err) // of scalars and lists of them
	}
	return n
}

// oneLine has a value written on one line.
func oneLine(n *yaml.Node) *yaml.Node {
	n.Style = yaml.FlowStyle
	return n
}
