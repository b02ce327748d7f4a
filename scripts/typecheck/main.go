// Typecheck checks the types of this module, tests included, for each platform that is
// named, such as freebsd/amd64. It reads sources and compiles nothing, so it takes the same
// few seconds whatever is in the build cache.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	debug.SetGCPercent(400) // little of its memory is garbage before it ends
	here, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "finding the module:", err)
		os.Exit(1)
	}
	failed := false
	for _, platform := range os.Args[1:] {
		faults, err := check(here, platform)
		if err != nil {
			fmt.Fprintf(os.Stderr, "loading the packages for %s: %v\n", platform, err)
			os.Exit(1)
		}
		for _, f := range faults {
			fmt.Fprintf(os.Stderr, "%s: %s\n", platform, f)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check returns what does not compile for a platform, of the module in the folder here.
func check(here, platform string) (faults []string, err error) {
	system, arch, _ := strings.Cut(platform, "/")
	loaded, err := packages.Load(&packages.Config{
		// NeedDeps has all that is imported read as source, in place of compiled packages.
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax,
		Tests: true,
		ParseFile: func(set *token.FileSet, name string, text []byte) (*ast.File, error) {
			return parse(set, name, text, strings.HasPrefix(name, here+string(os.PathSeparator)))
		},
		Env: append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0"),
	}, "./...")
	if err != nil {
		return nil, err
	}
	known := map[string]bool{} // a file may belong to a package and to its tests
	for _, p := range loaded {
		if strings.HasSuffix(p.ID, ".test") {
			continue // a main package of go test's, outside the module
		}
		for _, e := range p.Errors {
			if fault := e.Error(); !known[fault] {
				known[fault] = true
				faults = append(faults, fault)
			}
		}
	}
	return faults, nil
}

// parse parses a file. Of other modules' functions only the types matter, so their bodies
// are left out; what is then wrong with those modules is not reported.
func parse(set *token.FileSet, name string, text []byte, ours bool) (*ast.File, error) {
	file, err := parser.ParseFile(set, name, text, parser.AllErrors|parser.SkipObjectResolution)
	if file != nil && !ours {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				f.Body = &ast.BlockStmt{}
			}
		}
	}
	return file, err
}
