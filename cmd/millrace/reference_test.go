package main

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/millrace/millrace/internal/goldentest"
)

// docs/configuration.md says what the flags say. After a change of these:
//
//	go test ./cmd/millrace -run TestConfigurationReference -args -update
func TestConfigurationReference(t *testing.T) {
	goldentest.Check(t, "../../docs/configuration.md", []byte(configurationReference(t)))
}

func configurationReference(t *testing.T) string {
	parser, err := kong.New(&commands{}, kong.Name("millrace"), kong.DefaultEnvars("MILLRACE"), kong.Bind(&settings{}))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`# Configuration

Generated from the flags of the program; change their texts, not this file.

A setting is a flag on the command line, a variable of the environment, or a line of the file that ` + "`--config`" + ` (` + "`MILLRACE_CONFIG`" + `) names. The command line wins over the environment, and that over the file. The file is YAML, a flag of ` + "`serve`" + ` without its dashes on each line:

` + "```" + `
http: 0.0.0.0:8080
public-url: https://live.example.com
trusted-proxies: [10.0.0.0/8]
` + "```" + `

A line that is unknown or wrong is refused with its number and what is allowed. So is a variable that begins with ` + "`MILLRACE_`" + ` and belongs to no flag of any command, except those that Kubernetes makes for a Service (such as ` + "`MILLRACE_SERVICE_HOST`" + `) and Docker for a link, which are ignored. ` + "`millrace config`" + ` prints what is in force, where each value comes from, and masks secrets; its output is a file for ` + "`--config`" + `. Relative paths are relative to the folder in which the program is started. Other commands take from the file what they share with ` + "`serve`" + `.
`)
	shared := map[string]bool{"help": true}
	for _, command := range parser.Model.Leaves(true) {
		if command.Name == "config" {
			continue // takes the flags of serve
		}
		fmt.Fprintf(&b, "\n## millrace %s\n\n%s\n", command.FullPath()[len("millrace "):], cell(command.Help))
		rows := 0
		for _, f := range command.Flags {
			if shared[f.Name] || command.Name == "demo" || f.Hidden {
				continue
			}
			if rows++; rows == 1 {
				b.WriteString("\n| Flag | Environment | Default | |\n|---|---|---|---|\n")
			}
			value := ""
			if f.PlaceHolder != "" && !f.IsBool() {
				value = " " + f.PlaceHolder
			}
			standard := cmp.Or(f.Default, map[bool]string{true: "off", false: ""}[f.IsBool()])
			if standard != "" {
				standard = "`" + standard + "`"
			}
			fmt.Fprintf(&b, "| `--%s%s` | `%s` | %s | %s |\n", f.Name, value, strings.Join(f.Envs, "`, `"), standard, cell(strings.ReplaceAll(f.OrigHelp, " (${default})", "")))
		}
		if command.Name == "demo" {
			b.WriteString("\nTakes the flags of `millrace serve`.\n")
		}
	}
	return b.String()
}

// cell is a text as a cell of a table takes it.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "*", `\*`).Replace(text)
}
