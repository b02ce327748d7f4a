package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// settings are the values in the file of --config: flags of serve, by name. A flag on the
// command line overrides the environment, which overrides the file.
type settings struct {
	path   string
	values map[string]settingLine
}

// A settingLine is a value in the file, and where it stands.
type settingLine struct {
	value any // a string, or []any of strings
	line  int
}

// maxSettings bounds a file of settings, in bytes.
const maxSettings = 1 << 20

// A configPath is the flag --config.
type configPath string

// BeforeResolve reads the file and checks it against the flags of serve, which
// all commands share as far as they have them.
func (p configPath) BeforeResolve(ctx *kong.Context, trace *kong.Path, s *settings) error {
	path := string(ctx.FlagValue(trace.Flag).(configPath))
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	if len(content) > maxSettings {
		return fmt.Errorf("--config %s: the file is larger than %d bytes", path, maxSettings)
	}
	s.path = path
	if err := s.read(content, flagsOf(ctx.Model, "serve")); err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(s.resolve))
	return nil
}

// flagsOf are the flags of a command, without those that all commands have.
func flagsOf(app *kong.Application, command string) map[string]*kong.Flag {
	flags := map[string]*kong.Flag{}
	for _, c := range app.Children {
		if c.Name == command {
			for _, f := range c.Flags {
				flags[f.Name] = f
			}
		}
	}
	return flags
}

// read takes content in. Its error names every setting that is unknown or wrong.
func (s *settings) read(content []byte, flags map[string]*kong.Flag) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.values = map[string]settingLine{}
	if len(doc.Content) == 0 {
		return nil // nothing but comments
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: each line must be NAME: VALUE, such as http: 127.0.0.1:8080", s.path, root.Line)
	}
	var wrong []error
	for i := 0; i+1 < len(root.Content); i += 2 {
		if err := s.add(root.Content[i], root.Content[i+1], flags); err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%d: %w", s.path, root.Content[i].Line, err))
		}
	}
	return errors.Join(wrong...)
}

func (s *settings) add(key, node *yaml.Node, flags map[string]*kong.Flag) error {
	name := key.Value
	flag, ok := flags[name]
	if !ok {
		return fmt.Errorf("there is no setting %q%s; millrace config lists all", name, closest(name, maps.Keys(flags)))
	}
	if before, twice := s.values[name]; twice {
		return fmt.Errorf("%s is already set on line %d", name, before.line)
	}
	value, err := settingValue(node)
	if err == nil {
		err = checkSetting(flag, value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w. %s", name, err, flag.Help)
	}
	s.values[name] = settingLine{value, key.Line}
	return nil
}

// settingValue is a node as kong takes values.
func settingValue(node *yaml.Node) (any, error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag != "!!null":
		return node.Value, nil
	case node.Kind == yaml.SequenceNode:
		list := []any{}
		for _, n := range node.Content {
			if n.Kind != yaml.ScalarNode {
				return nil, errors.New("each item of a list must be a single value")
			}
			list = append(list, n.Value)
		}
		return list, nil
	}
	return nil, errors.New("must have a value, or a list of values")
}

// checkSetting decodes a value as the flag would.
func checkSetting(flag *kong.Flag, value any) error {
	target := reflect.New(flag.Target.Type()).Elem()
	if _, list := value.([]any); list && target.Kind() != reflect.Slice {
		return errors.New("must be one value, not a list")
	}
	decode := &kong.DecodeContext{Value: flag.Value, Scan: kong.Scan().PushTyped(value, kong.FlagValueToken)}
	if err := flag.Mapper.Decode(decode, target); err != nil {
		return err
	}
	if flag.Enum != "" && !flag.EnumMap()[target.String()] {
		return fmt.Errorf("%q is not one of %s", value, strings.Join(flag.EnumSlice(), ", "))
	}
	return nil
}

// closest suggests the one of names that name is nearest to, if one is near.
func closest(name string, names iter.Seq[string]) string {
	best, at := "", 4
	for other := range names {
		if d := editDistance(name, other); d < at || d == at && other < best {
			best, at = other, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// editDistance returns how many letters must be inserted, deleted or replaced to turn a
// into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// resolve is for kong: the file's value, where the environment has none.
func (s *settings) resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	set, ok := s.values[flag.Name]
	if !ok || environment(flag) != "" {
		return nil, nil
	}
	return set.value, nil
}

// envPrefix begins the names of all variables of the environment that are settings.
const envPrefix = "MILLRACE_"

// cgroupRoot names the folder of control groups where it is not /sys/fs/cgroup. It is no flag.
const cgroupRoot = envPrefix + "CGROUP_ROOT"

// ownVariables have envPrefix and are no settings.
var ownVariables = regexp.MustCompile(`^MILLRACE_(TEST_.*|CGROUP_ROOT)=`)

// serviceLink matches variables with envPrefix that Kubernetes makes for Services whose
// name begins with "millrace", and Docker for links to containers of such a name.
var serviceLink = regexp.MustCompile(`^MILLRACE_(.*_)?(NAME=/|ENV_\w+=)|^MILLRACE_(.*_)?(SERVICE_HOST|SERVICE_PORT|SERVICE_PORT_\w+|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))=|^MILLRACE_(.*_)?PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://`)

// dropServiceLinks removes the variables that match serviceLink from the environment, before
// the settings are read: a Service named millrace-ingest-rtmp has the name of
// --ingest-rtmp-port for its URL.
func dropServiceLinks() {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); serviceLink.MatchString(variable) {
			_ = os.Unsetenv(name) // it cannot fail for a name that the environment has
		}
	}
}

// BeforeResolve refuses variables of the environment that look like settings and are none
// of any command: one misspelled would be ignored otherwise.
func (*commands) BeforeResolve(ctx *kong.Context) error {
	known := map[string]bool{}
	err := kong.Visit(ctx.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			for _, name := range flag.Envs {
				known[name] = true
			}
		}
		return next(nil)
	})
	return errors.Join(err, unknownVariables(os.Environ(), known))
}

func unknownVariables(environ []string, known map[string]bool) error {
	var wrong []error
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix) && !known[name] && !ownVariables.MatchString(variable) {
			wrong = append(wrong, fmt.Errorf("%s is set in the environment, but there is no such setting%s; millrace serve --help lists all", name, closest(name, maps.Keys(known))))
		}
	}
	return errors.Join(wrong...)
}

// environment is the variable that sets the flag, "" if none does.
func environment(flag *kong.Flag) string {
	for _, name := range flag.Envs {
		if _, ok := os.LookupEnv(name); ok {
			return name
		}
	}
	return ""
}

// source returns where the value of a flag comes from; "" for its default.
func (s *settings) source(ctx *kong.Context, flag *kong.Flag) string {
	for _, p := range ctx.Path {
		if p.Flag == flag && !p.Resolved {
			return "command line"
		}
	}
	if name := environment(flag); name != "" {
		return name
	}
	if set, ok := s.values[flag.Name]; ok {
		return fmt.Sprintf("%s:%d", s.path, set.line)
	}
	return ""
}

// explain adds the source of the values to an error about flags, unless that is the command
// line.
func (s *settings) explain(ctx *kong.Context, err error) string {
	text := err.Error()
	if ctx.Selected() == nil {
		return text
	}
	named := regexp.MustCompile(`--[a-z0-9-]+`).FindAllString(text, -1)
	for _, flag := range ctx.Selected().Flags {
		from := s.source(ctx, flag)
		if from != "" && from != "command line" && slices.Contains(named, "--"+flag.Name) {
			text += fmt.Sprintf("\n  --%s is set by %s", flag.Name, from)
		}
	}
	return text
}

// configCommand prints the settings in force.
type configCommand struct{ config }

// Run prints a file for --config, each line with its source. What is not set is a
// comment, with what follows from other settings. What cannot work together is an
// error after that.
func (c *configCommand) Run(ctx *kong.Context, s *settings) error {
	derived := c.derived()
	for _, flag := range ctx.Selected().Flags {
		if flag.Name == "help" {
			continue
		}
		value, source, comment := settingShown(flag), s.source(ctx, flag), ""
		if source == "" {
			source = "default"
		}
		follows, isDerived := derived[flag.Name]
		if list, ok := value.(flow); value == "" || value == 0 && isDerived || ok && len(list) == 0 {
			comment = "# "
			if isDerived {
				value, source = follows, "derived"
			}
		}
		line, err := yaml.Marshal(map[string]any{flag.Name: value})
		if err != nil {
			return fmt.Errorf("--%s: %w", flag.Name, err)
		}
		fmt.Printf("%-60s # %s\n", comment+strings.TrimSpace(string(line)), source)
	}
	return c.check()
}

// derived are the settings that follow from others unless they are given.
func (c *configCommand) derived() map[string]any {
	full := c.config
	full.fillPublic()
	return map[string]any{
		"public-url": full.PublicURL, "ingest-host": full.IngestHost, "ingest-rtmp-port": full.IngestRTMPPort, "ingest-rtmps-port": full.IngestRTMPSPort,
		"database": c.dsn(), "buckets": c.buckets(),
	}
}

// settingShown returns the value of a flag for display: secrets are masked.
func settingShown(flag *kong.Flag) any {
	switch v := flag.Target.Interface().(type) {
	case fmt.Stringer:
		return v.String()
	case []string:
		shown := flow{}
		for _, text := range v {
			shown = append(shown, masked(text))
		}
		return shown
	case string:
		if flag.Tag.Has("secret") && v != "" {
			return mask
		}
		return masked(v)
	default:
		return v
	}
}

// A flow is a list in one line of YAML.
type flow []string

// MarshalYAML is for the encoder.
func (f flow) MarshalYAML() (any, error) {
	node := &yaml.Node{}
	err := node.Encode([]string(f))
	node.Style = yaml.FlowStyle
	return node, err
}

const mask = "********"

var userinfo = regexp.MustCompile(`(://[^:/@\s]*):[^/@\s]*@`)

// masked hides the password of a URL, and the values of its query that may be
// secrets.
func masked(text string) string {
	text = userinfo.ReplaceAllString(text, "$1:"+mask+"@")
	before, query, ok := strings.Cut(text, "?")
	if !ok {
		return text
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return before + "?" + mask
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values.Get(name)
		if secretName.MatchString(name) {
			value = mask
		}
		parts = append(parts, name+"="+value)
	}
	return before + "?" + strings.Join(parts, "&")
}

var secretName = regexp.MustCompile(`(?i)pass|secret|token|key|sig|auth|code`)
