package millrace_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowed is the whole import graph, a line a package: what it may import, and
// why it exists. A new import is a design decision: change this table, and
// ARCHITECTURE.md, on purpose.
var allowed = map[string]string{
	"internal/media":               "",                                                                                                                        // leaf: tracks, frames, codecs
	"internal/ivs":                 "",                                                                                                                        // leaf: the API's types
	"internal/amf0":                "",                                                                                                                        // leaf: the values in RTMP commands and FLV metadata
	"internal/token":               "",                                                                                                                        // leaf: playback tokens; pure functions
	"internal/flv":                 "internal/amf0 internal/media",                                                                                            // tags of FLV and enhanced RTMP to frames, and back
	"internal/ingest":              "internal/media",                                                                                                          // what is known of an encoder, whatever its protocol
	"internal/ingest/ingesttest":   "internal/ingest internal/media",                                                                                          // an encoder in memory; for tests only
	"internal/rtmp":                "internal/amf0 internal/flv internal/ingest internal/media internal/proxies",                                              // the protocol of encoders; the only package that knows its messages
	"internal/timeline":            "internal/media",                                                                                                          // an encoder's clock, repaired
	"internal/mpegts":              "internal/media",                                                                                                          // frames to TS packets
	"internal/meter":               "internal/media",                                                                                                          // figures of the frames that arrive, and whether they are in time
	"internal/fmp4":                "internal/media",                                                                                                          // frames to MP4 fragments
	"internal/scte35":              "internal/media",                                                                                                          // cues of ad breaks
	"internal/hls":                 "internal/media internal/proxies internal/scte35",                                                                         // the origin: parts to players
	"internal/segment":             "internal/fmp4 internal/hls internal/media internal/mpegts",                                                               // frames to parts
	"internal/broadcast":           "internal/hls internal/media internal/meter internal/segment internal/timeline",                                           // the media path of one broadcast
	"internal/transcode":           "internal/broadcast internal/flv internal/media internal/segment",                                                         // renditions by ffmpeg
	"internal/cmcd":                "",                                                                                                                        // leaf: what players say of playback
	"internal/audience":            "internal/cmcd internal/proxies",                                                                                          // who watches: viewer sessions, counted and bounded
	"internal/relay":               "internal/audience internal/hls internal/ivs internal/media",                                                              // streams of other nodes, copied once for all their viewers here
	"internal/hls/hlscheck":        "",                                                                                                                        // the checker of playlists and media, of any server
	"internal/hls/hlsplayer":       "internal/hls internal/hls/hlscheck",                                                                                      // a player in this process; for tests only
	"internal/media/mediatest":     "internal/flv internal/media",                                                                                             // test broadcasts, and a decoder; for tests only
	"internal/bucket":              "",                                                                                                                        // where recordings are kept
	"internal/lease":               "",                                                                                                                        // leaf: who does not renew a lease, and for how long
	"internal/store":               "internal/ivs",                                                                                                            // rows in SQLite or PostgreSQL; the only package with SQL
	"internal/forward":             "internal/ingest internal/media",                                                                                          // an encoder, from the node that it came to, to the one that has its session
	"internal/cluster":             "internal/ivs internal/lease internal/store",                                                                              // which nodes there are, who has which stream, and how they call each other
	"internal/record":              "internal/access internal/bucket internal/hls internal/ivs internal/lease internal/media internal/proxies internal/store", // streams to buckets
	"internal/httplimit":           "internal/hls internal/proxies",                                                                                           // what clients may have open over HTTP, each and all together
	"internal/httplimit/http2test": "",                                                                                                                        // the client's side of HTTP/2, by the byte; for tests only
	"internal/reqbody":             "internal/proxies",                                                                                                        // bodies of HTTP requests, within bounds
	"internal/strictjson":          "",                                                                                                                        // JSON from the network, without what decoders read differently
	"internal/bucket/buckettest":   "internal/wiretest",                                                                                                       // an S3 server; for tests only
	"internal/store/storetest":     "internal/ivs internal/store",                                                                                             // a private PostgreSQL; for tests and cmd/bench
	"internal/goldentest":          "",                                                                                                                        // files that tests compare with; for tests only
	"internal/logs/logstest":       "",                                                                                                                        // a log in memory; for tests only
	// A stream and its player; for tests only.
	"internal/segment/segmenttest": "internal/hls internal/hls/hlscheck internal/hls/hlsplayer internal/media internal/media/mediatest internal/segment",
	// Where what an encoder sends becomes a stream of the API.
	"internal/live":       "internal/audience internal/broadcast internal/hls internal/ingest internal/ivs internal/lease internal/media internal/meter internal/proxies internal/store internal/timeline internal/transcode",
	"internal/geoip":      "",                                                                                                                                                    // leaf: countries of addresses
	"internal/proxies":    "",                                                                                                                                                    // leaf: addresses of clients behind trusted proxies, and what each may have
	"internal/access":     "internal/audience internal/ivs internal/store internal/token",                                                                                        // who may watch
	"internal/playback":   "internal/access internal/audience internal/cmcd internal/hls internal/ivs internal/live internal/relay internal/reqbody internal/store",              // playback URLs
	"internal/api":        "internal/ivs internal/reqbody internal/store internal/strictjson",                                                                                    // the IVS API
	"internal/monitor":    "internal/audience internal/ivs internal/live internal/meter internal/store",                                                                          // the state of a stream, and faults on demand
	"internal/metrics":    "internal/event internal/hls internal/ivs internal/live internal/logs internal/media internal/record internal/relay internal/store internal/timeline", // the figures of a node, for Prometheus
	"internal/multitrack": "internal/ivs internal/proxies internal/reqbody internal/store internal/strictjson",                                                                   // the requests of encoders before they publish
	"internal/event":      "internal/ivs internal/store",                                                                                                                         // events to their targets
	"internal/clocktest":  "",                                                                                                                                                    // readings of a wall clock that was changed; for tests only
	"internal/wiretest":   "",                                                                                                                                                    // bytes in hexadecimal, connections in memory, free addresses; for tests and cmd/bench
	"internal/logs":       "",                                                                                                                                                    // the log's queue and its limits
	"internal/console":    "",                                                                                                                                                    // a client of the public API like any other
	"packaging":           "",                                                                                                                                                    // tests that build, install and run the released packages
	"scripts/sbom":        "",                                                                                                                                                    // what a build consists of
	"scripts/typecheck":   "",                                                                                                                                                    // finds what does not compile on other systems, without compiling
	// The load generator: it reads the timestamps in the video, runs ffmpeg as the server
	// does to measure encoders, and starts PostgreSQL for several nodes.
	"cmd/bench":    "internal/flv internal/media internal/store/storetest internal/token internal/transcode internal/wiretest",
	"cmd/millrace": "internal/access internal/api internal/bucket internal/cluster internal/console internal/event internal/flv internal/forward internal/geoip internal/hls internal/hls/hlscheck internal/httplimit internal/ingest internal/ivs internal/live internal/logs internal/media internal/metrics internal/monitor internal/multitrack internal/playback internal/proxies internal/record internal/relay internal/rtmp internal/store internal/token internal/transcode", // commands, flags, and what wires all packages
}

// untested lists packages that the tests of a package must not import either: those of
// live prove that it needs no protocol.
var untested = map[string]string{"internal/live": "internal/rtmp internal/flv"}

// The two halves, of which neither imports the other, even through other packages.
const (
	dataPlane    = "media amf0 flv ingest forward rtmp timeline meter mpegts fmp4 scte35 hls hls/hlscheck segment broadcast transcode"
	controlPlane = "ivs token store cluster access api event multitrack"
)

// bothHalves are the packages that import both, and why.
var bothHalves = map[string]string{
	"internal/live":     "what an encoder sends becomes a stream of the API there",
	"internal/record":   "finished segments, and the rows of recordings",
	"internal/playback": "requests for media, and who may watch",
	"internal/monitor":  "the figures of a session, and its rows",
	"internal/metrics":  "the figures of a node, of either half",
	"internal/relay":    "an ivs.Channel beside the media of its stream",
}

// maxChain is how many imports may lead from a command to the last package: who follows
// a frame or a request meets no more packages than that on the way.
const maxChain = 8

// longestChain is the longest path from a package through what it imports. It keeps in
// known what it has found.
func longestChain(from string, imports, known map[string][]string) []string {
	if chain, ok := known[from]; ok {
		return chain
	}
	var longest []string
	for _, next := range imports[from] {
		if chain := longestChain(next, imports, known); len(chain) > len(longest) {
			longest = chain
		}
	}
	known[from] = append([]string{from}, longest...)
	return known[from]
}

func TestImportGraph(t *testing.T) {
	const module = "github.com/millrace/millrace/"
	list := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	imports := map[string][]string{} // of each package, those of this module
	for packages := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, inside := strings.CutPrefix(p.ImportPath, module)
		if !inside {
			continue // this file's own package
		}
		imports[name] = nil
		may, known := allowed[name]
		if !known {
			t.Errorf("%s is not in the table of packages", name)
		}
		for _, i := range p.Imports {
			other, ours := strings.CutPrefix(i, module)
			if !ours {
				continue
			}
			imports[name] = append(imports[name], other)
			if !slices.Contains(strings.Fields(may), other) {
				t.Errorf("%s imports %s: the table does not allow it", name, other)
			}
		}
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if other, ours := strings.CutPrefix(i, module); ours && slices.Contains(strings.Fields(untested[name]), other) {
				t.Errorf("the tests of %s import %s", name, other)
			}
		}
	}
	known := map[string][]string{}
	for name := range allowed {
		if _, seen := imports[name]; !seen {
			t.Errorf("%s is in the table of packages but not in the tree", name)
		}
		if chain := longestChain(name, imports, known); len(chain)-1 > maxChain {
			t.Errorf("a chain of %d imports, where %d are allowed: %s", len(chain)-1, maxChain, strings.Join(chain, " > "))
		}
	}
}

// reachable is name and all that it may import, through other packages too.
func reachable(name string, known map[string]bool) map[string]bool {
	known[name] = true
	for next := range strings.FieldsSeq(allowed[name]) {
		if !known[next] {
			reachable(next, known)
		}
	}
	return known
}

// TestHalves checks that the data plane and the control plane do not import each other,
// and that bothHalves lists every package inside that imports both.
func TestHalves(t *testing.T) {
	reaches := func(all map[string]bool, half string) bool {
		for name := range strings.FieldsSeq(half) {
			if all["internal/"+name] {
				return true
			}
		}
		return false
	}
	for name := range strings.FieldsSeq(dataPlane + " " + controlPlane) {
		if _, known := allowed["internal/"+name]; !known {
			t.Errorf("%s is in a half but not in the table of packages", name)
		}
	}
	for name := range allowed {
		if !strings.HasPrefix(name, "internal/") {
			continue // commands and scripts
		}
		all := reachable(name, map[string]bool{})
		_, may := bothHalves[name]
		if both := reaches(all, dataPlane) && reaches(all, controlPlane); both != may {
			t.Errorf("%s imports both halves: %v, and bothHalves has it: %v", name, both, may)
		}
	}
}

// codecFiles contain all code that is specific to a codec, H.264 or AAC.
var codecFiles = []string{"internal/media/h264.go", "internal/media/h264_sets.go", "internal/media/x264.go", "internal/media/aac.go"}

// special matches names that belong to a codec, as those of NAL unit types and boxes.
var special = regexp.MustCompile(`(?i:[hx]26[45]|hevc|avc|aac|adts|mp4a|esds)|[VSP]PS|^[vsp]ps|IDR|NAL[A-Z]`)

// codecChoices are the names that other files have nevertheless: the number of each
// codec and its line in the table, and those of ffmpeg's encoders and filters.
var codecChoices = map[string][]string{
	"internal/media/codec.go":       {"H264", "H264", "h264", "AAC", "AAC", "aac"},
	"internal/record/download.go":   {`"aac_adtstoasc"`},
	"internal/transcode/args.go":    {`"aac"`},
	"internal/transcode/encoder.go": {`"libx264"`, `"h264_nvenc"`, `"h264_vaapi"`, `"h264_qsv"`},
}

// TestCodecFiles checks that adding a codec takes only its files and a line in codec.go:
// no other file on the path of a frame has an identifier, or a string of one word, that
// belongs to a codec.
func TestCodecFiles(t *testing.T) {
	read := 0
	for _, pkg := range []string{"media", "ingest", "flv", "rtmp", "timeline", "meter", "mpegts", "fmp4", "hls", "segment", "broadcast", "relay", "forward", "live", "transcode", "record"} {
		files, err := filepath.Glob("internal/" + pkg + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") || slices.Contains(codecFiles, name) {
				continue
			}
			read++
			named := codecNames(t, name)
			for _, once := range codecChoices[name] {
				if i := slices.Index(named, once); i >= 0 {
					named = slices.Delete(named, i, i+1)
				}
			}
			if len(named) > 0 {
				t.Errorf("%s has names of a codec: %q", name, named)
			}
		}
	}
	if read < 50 {
		t.Errorf("%d files were read", read)
	}
	for _, name := range codecFiles {
		if len(codecNames(t, name)) == 0 {
			t.Errorf("%s has no name of a codec", name)
		}
	}
}

// codecNames are the identifiers of a file, and its strings of one word, that belong to a
// codec.
func codecNames(t *testing.T, name string) (all []string) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		word := ""
		switch n := n.(type) {
		case *ast.Ident:
			word = n.Name
		case *ast.BasicLit:
			if n.Kind == token.STRING && !strings.Contains(n.Value, " ") {
				word = n.Value
			}
		}
		if special.MatchString(word) {
			all = append(all, word)
		}
		return true
	})
	return all
}

// TestSkippedTests holds that each test that `make test` skips where all others run with the
// race detector is named by its whole name, exists, and runs without the detector instead:
// those of SINGLE in the two packages of `make single`, and those of PLAIN, which are listed
// by reason, in cmd/millrace.
func TestSkippedTests(t *testing.T) {
	text, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string]string{} // by variable, the packages that its tests run in
	for _, m := range regexp.MustCompile(`(?m)^\t.* -(?:test\.)?run '\$\(call one_of,\$\((\w+)\)\)' .*? (\./.*)$`).FindAllSubmatch(text, -1) {
		runs[string(m[1])] = string(m[2])
	}
	for list, folder := range map[string]string{"SINGLE": "internal", "PLAIN": "cmd/millrace"} {
		if !regexp.MustCompile(`(?m)^\t.* -(?:test\.)?skip '\$\(call one_of,\$\(`+list+`\)\)' `).Match(text) || runs[list] == "" {
			t.Errorf("the Makefile does not skip %s, or runs it nowhere", list)
		}
		tests, named := testsIn(t, folder), map[string]bool{}
		for _, name := range namesIn(t, text, list) {
			if named[name] {
				t.Errorf("%s names %s twice", list, name)
			}
			named[name] = true
			if in := tests[name]; len(in) != 1 || !slices.Contains(strings.Fields(runs[list]), "./"+in[0]) {
				t.Errorf("%s of %s runs in %s, but %s has tests of that name in %q", name, list, runs[list], folder, in)
			}
		}
		if len(named) == 0 || len(named) > len(tests)/3 {
			t.Errorf("%s names %d of the %d tests of %s", list, len(named), len(tests), folder)
		}
	}
}

// namesIn are the names of tests in a variable of the Makefile, and in those that it
// consists of.
func namesIn(t *testing.T, makefile []byte, variable string) (names []string) {
	t.Helper()
	value := regexp.MustCompile(`(?m)^` + variable + ` :?= ((?:.*\\\n)*.*)$`).FindSubmatch(makefile)
	if value == nil {
		t.Fatalf("the Makefile has no %s", variable)
	}
	for word := range strings.FieldsSeq(strings.ReplaceAll(string(value[1]), "\\\n", " ")) {
		if list := regexp.MustCompile(`^\$\((\w+)\)$`).FindStringSubmatch(word); list != nil {
			names = append(names, namesIn(t, makefile, list[1])...)
		} else if names = append(names, word); !regexp.MustCompile(`^Test\w+$`).MatchString(word) {
			t.Errorf("%s has %q, which is not the name of a test", variable, word)
		}
	}
	return names
}

// testsIn are the tests in a folder and below: by name, the folders that have one.
func testsIn(t *testing.T, folder string) map[string][]string {
	t.Helper()
	tests := map[string][]string{}
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return filepath.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				tests[f.Name.Name] = append(tests[f.Name.Name], filepath.ToSlash(filepath.Dir(name)))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
