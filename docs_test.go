package millrace_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced  = regexp.MustCompile("(?s)```.*?```")
	strange = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the fragments that the forge makes of a document's headings.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(strange.ReplaceAllString(strings.ToLower(strings.TrimSpace(h[1])), ""), " ", "-")] = true
	}
	return all
}

// Every link from a document to a file of the tree, or to a heading, leads there.
// Links to other sites are not followed: the tests need no internet.
func TestLinks(t *testing.T) {
	texts := map[string]string{} // by path
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "millrace-data") {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			texts[path] = fenced.ReplaceAllString(string(content), "")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for path, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			file, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, ":") {
				continue // another site
			}
			checked++
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s: %v", path, m[1], err)
			} else if fragment != "" && filepath.Ext(to) == ".md" && !anchors(texts[to])[fragment] {
				t.Errorf("%s: %s: there is no such heading", path, m[1])
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d links were found", checked)
	}
}

// goNames are the names that a document may use.
type goNames struct {
	packages map[string]map[string]bool // by package: what it declares
	members  map[string]map[string]bool // by type, of any package: its methods and fields
}

func (n goNames) declare(m map[string]map[string]bool, of, name string) {
	if m[of] == nil {
		m[of] = map[string]bool{}
	}
	m[of][name] = true
}

// read takes in a file.
func (n goNames) read(f *ast.File) {
	pkg := f.Name.Name
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				n.declare(n.packages, pkg, d.Name.Name)
			} else if of, ok := baseType(d.Recv.List[0].Type).(*ast.Ident); ok {
				n.declare(n.members, of.Name, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				n.readSpec(pkg, s)
			}
		}
	}
}

func (n goNames) readSpec(pkg string, s ast.Spec) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			n.declare(n.packages, pkg, name.Name)
		}
	case *ast.TypeSpec:
		n.declare(n.packages, pkg, s.Name.Name)
		var fields *ast.FieldList
		switch t := s.Type.(type) {
		case *ast.StructType:
			fields = t.Fields
		case *ast.InterfaceType:
			fields = t.Methods
		default:
			return
		}
		for _, field := range fields.List {
			for _, name := range field.Names {
				n.declare(n.members, s.Name.Name, name.Name)
			}
		}
	}
}

// baseType is the type of a receiver without its pointer and type parameters.
func baseType(e ast.Expr) ast.Expr {
	switch t := e.(type) {
	case *ast.StarExpr:
		return baseType(t.X)
	case *ast.IndexExpr:
		return baseType(t.X)
	}
	return e
}

// has reports whether a dotted name is a declaration of a package, or a member of a
// type.
func (n goNames) has(parts []string) bool {
	if len(parts) == 3 {
		return n.packages[parts[0]][parts[1]] && n.members[parts[1]][parts[2]]
	}
	return n.packages[parts[0]][parts[1]] || n.members[parts[0]][parts[1]]
}

var dotted = regexp.MustCompile("`([A-Za-z]\\w*(?:\\.[A-Za-z]\\w*){1,2})`")

// Every name of the code that ARCHITECTURE.md uses is there.
func TestArchitectureNames(t *testing.T) {
	names := goNames{map[string]map[string]bool{}, map[string]map[string]bool{}}
	for _, root := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				names.read(f)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, m := range dotted.FindAllStringSubmatch(string(text), -1) {
		parts := strings.Split(m[1], ".")
		if parts[len(parts)-1] == "go" {
			continue // a file
		}
		checked++
		if !names.has(parts) {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", m[1])
		}
	}
	if checked < 50 {
		t.Errorf("only %d names were found", checked)
	}
}

// The index of the documentation has every document, once.
func TestReadingOrder(t *testing.T) {
	index, err := os.ReadFile("docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("docs/*.*")
	if err != nil || len(files) < 10 {
		t.Fatalf("documents: %q, %v", files, err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		if ext := filepath.Ext(name); (ext == ".md" || ext == ".yaml") && name != "README.md" && strings.Count(string(index), "]("+name+")") != 1 {
			t.Errorf("docs/README.md does not link %s exactly once", name)
		}
	}
}
