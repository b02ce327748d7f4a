// Typecheck checks the types of this module, tests included, for each platform that is
// named, such as freebsd/amd64, except those of this machine's system, for which go vet
// compiles. It reads sources and compiles nothing, so it takes the same few seconds whatever
// is in the build cache.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"golang.org/x/tools/go/packages"
)

func main() {
	debug.SetGCPercent(400) // little of its memory is garbage before it ends
	here, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "finding the module:", err)
		os.Exit(1)
	}
	c := &checker{here: here, set: token.NewFileSet(), parsed: map[string]*parsed{}}
	failed := false
	for _, platform := range os.Args[1:] {
		if system, _, _ := strings.Cut(platform, "/"); system == runtime.GOOS {
			continue
		}
		faults, err := c.check(platform)
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

// A checker keeps the files that it has parsed: most belong to every platform.
type checker struct {
	here string // the module's folder
	set  *token.FileSet

	mu     sync.Mutex
	parsed map[string]*parsed // guarded by mu; by file name
}

// A parsed is the result of parsing a file once, for whoever comes first.
type parsed struct {
	once sync.Once
	file *ast.File
	err  error
}

// check returns what of the module does not compile for a platform.
func (c *checker) check(platform string) (faults []string, err error) {
	system, arch, _ := strings.Cut(platform, "/")
	loaded, err := packages.Load(&packages.Config{
		// NeedDeps has all that is imported read as source, in place of compiled packages.
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax,
		Tests:     true,
		ParseFile: func(_ *token.FileSet, name string, text []byte) (*ast.File, error) { return c.parse(name, text) },
		Fset:      c.set,
		Env:       append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0"),
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
func (c *checker) parse(name string, text []byte) (*ast.File, error) {
	c.mu.Lock()
	p := c.parsed[name]
	if p == nil {
		p = &parsed{}
		c.parsed[name] = p
	}
	c.mu.Unlock()
	p.once.Do(func() {
		p.file, p.err = parser.ParseFile(c.set, name, text, parser.AllErrors|parser.SkipObjectResolution)
		if p.file != nil && !strings.HasPrefix(name, c.here+string(os.PathSeparator)) {
			for _, d := range p.file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					f.Body = &ast.BlockStmt{}
				}
			}
		}
	})
	return p.file, p.err
}
