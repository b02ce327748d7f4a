// Package packaging_test builds what is released, for this platform, installs it
// and runs it. What needs Docker, Kubernetes, GitHub, a JDK or Terraform is only checked,
// by linters, builders and parsers.
package packaging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

const version = "1.2.3"

// run runs a program and returns what it wrote.
func run(t *testing.T, dir string, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1750000000", "npm_config_cache="+filepath.Join(os.TempDir(), "millrace-npm-cache"))
	var stdout, stderr bytes.Buffer // warnings are no output
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// tool runs a linter or builder of testdata/linters in that folder.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	return run(t, "testdata/linters", "go", append([]string{"tool", name}, args...)...)
}

// copyTree copies what dist needs of the tree to another place.
func copyTree(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{"cmd", "internal", "packaging", "player", "scripts"} {
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(filepath.Join("..", name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "README.md", "LICENSE", "console/package-lock.json"} {
		content, err := os.ReadFile(filepath.Join("..", name))
		if err == nil {
			err = errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755), os.WriteFile(filepath.Join(to, name), content, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	modules, err := filepath.Abs("../console/node_modules")
	if err == nil {
		err = os.Symlink(modules, filepath.Join(to, "console/node_modules"))
	}
	if err != nil {
		t.Fatal(err)
	}
	changelog := "# Changelog\n\n## Unreleased\n\n- What comes next.\n\n## " + version + " (2026-01-31)\n\n- What is new.\n\n## " + version + "0\n\n- What is old.\n"
	if err := os.WriteFile(filepath.Join(to, "CHANGELOG.md"), []byte(changelog), 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}

// The artefacts of two trees at two places are the same bytes, and work: the
// Debian package is installed into a root, the npm packages into a folder, and
// both are run.
func TestDist(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Log("the Debian and npm packages are built on Linux")
		return
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	first, second := filepath.Join(t.TempDir(), "dist"), filepath.Join(t.TempDir(), "dist")
	for _, build := range []struct{ tree, out string }{{copyTree(t), first}, {copyTree(t), second}} {
		run(t, build.tree, "scripts/dist", version, build.out, platform)
	}
	sums, err := os.ReadFile(filepath.Join(first, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(filepath.Join(second, "SHA256SUMS"))
	if err != nil || !bytes.Equal(sums, again) {
		t.Errorf("two builds differ: %v\n%s\n%s", err, sums, again)
	}
	run(t, first, "sha256sum", "--check", "--quiet", "SHA256SUMS")
	notes, err := os.ReadFile(filepath.Join(first, "RELEASE_NOTES.md"))
	if err != nil || string(notes) != "# Millrace "+version+"\n\n- What is new.\n" {
		t.Errorf("the release notes: %v\n%s", err, notes)
	}
	for _, want := range []string{".tar.gz", ".deb", ".cdx.json", "millrace-1.2.3.tgz", "millrace-player-1.2.3.tgz"} {
		if !strings.Contains(string(sums), want) {
			t.Errorf("there is no artefact %s in\n%s", want, sums)
		}
	}
	bom, err := os.ReadFile(filepath.Join(first, "millrace-"+version+"-linux-"+runtime.GOARCH+".cdx.json"))
	if err != nil || !strings.Contains(string(bom), "pkg:golang/github.com/alecthomas/kong@") || !strings.Contains(string(bom), "pkg:npm/hls.js@") {
		t.Errorf("the list of components: %v\n%.2000s", err, bom)
	}
	t.Run("Debian package", func(t *testing.T) { testDebian(t, filepath.Join(first, "millrace_"+version+"_"+runtime.GOARCH+".deb")) })
	t.Run("npm package", func(t *testing.T) { testNPM(t, first) })
	t.Run("player", func(t *testing.T) { testPlayer(t, first) })
}

func testDebian(t *testing.T, deb string) {
	root := t.TempDir()
	admin := filepath.Join(root, "var/lib/dpkg")
	for _, dir := range []string{"info", "updates"} {
		if err := os.MkdirAll(filepath.Join(admin, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(admin, "status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg, asked := dpkgIn(t, root)
	dpkg("--install", deb)
	dpkg("--install", deb) // as in an upgrade
	if got := asked(); got != "daemon-reload\ndaemon-reload\n" {
		t.Errorf("installed twice, the package asks systemd for %q", got)
	}

	unit, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/millrace.service"))
	if err != nil {
		t.Fatal(err)
	}
	// systemd knows every setting of the unit, and finds the program.
	run(t, root, "systemd-analyze", "--root="+root, "--man=no", "--recursive-errors=no", "verify", "millrace.service")
	start := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindSubmatch(unit)
	if start == nil {
		t.Fatalf("the unit starts nothing:\n%s", unit)
	}
	words := strings.Fields(string(start[1]))
	for i, word := range words {
		if strings.HasPrefix(word, "/") {
			words[i] = filepath.Join(root, word)
		}
	}
	serves(t, root, append(words, "--transcode", "off"), started, isHealthy(t))

	dpkg("--remove", "millrace")
	if got := asked(); got != "disable --now millrace.service\ndaemon-reload\n" {
		t.Errorf("the package that is removed asks systemd for %q", got)
	}
	if _, err := os.Stat(filepath.Join(root, "etc/millrace/millrace.yaml")); err != nil {
		t.Errorf("the settings do not stay: %v", err)
	}
}

// dpkgIn runs dpkg for a root in which systemd seems to run; asked returns what the
// package's scripts have asked of it since the last call.
func dpkgIn(t *testing.T, root string) (dpkg func(args ...string), asked func() string) {
	bin, lines := t.TempDir(), filepath.Join(t.TempDir(), "asked")
	script := "#!/bin/sh\necho \"$@\" >>'" + lines + "'\n"
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755), os.WriteFile(filepath.Join(bin, "systemctl"), []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	dpkg = func(args ...string) {
		t.Helper()
		run(t, root, "env", append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "dpkg", "--root=" + root, "--force-not-root", "--force-bad-path", "--force-script-chrootless"}, args...)...)
	}
	asked = func() string {
		content, err := os.ReadFile(lines)
		if err == nil {
			err = os.Remove(lines)
		}
		if err != nil {
			t.Error(err)
		}
		return string(content)
	}
	return dpkg, asked
}

// serves runs a server in dir, on other ports and folders than its settings say, until it
// has printed what ready matches, and answered what check asks it. Then it is stopped as by
// Ctrl-C: a terminal signals the whole group.
func serves(t *testing.T, dir string, words []string, ready string, check func(ctx context.Context, match [][]byte)) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	data := t.TempDir()
	words = append(words, "--data", data, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0")
	c := exec.CommandContext(ctx, "setsid", words...)
	c.Dir = dir
	c.Cancel = func() error { return exec.Command("sh", "-c", fmt.Sprintf("kill -INT -%d", c.Process.Pid)).Run() }
	c.WaitDelay = 60 * time.Second
	output, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	c.Stdout, c.Stderr = end, end
	err = c.Start()
	end.Close()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	var match [][]byte
	for buf := make([]byte, 4096); match == nil; {
		n, err := output.Read(buf)
		said.Write(buf[:n])
		match = regexp.MustCompile(ready).FindSubmatch(said.Bytes())
		if err != nil && match == nil {
			t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, said.Bytes())
		}
	}
	var ended sync.WaitGroup
	ended.Go(func() { io.Copy(&said, output) }) // until all processes have ended
	check(ctx, match)
	stop()
	if err := c.Wait(); err != nil && !errors.Is(err, context.Canceled) && err.Error() != "signal: interrupt" { // npx ends by the signal
		t.Errorf("it ends with %v", err)
	}
	ended.Wait()
	if _, err := os.Stat(filepath.Join(data, "api-url")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it did not end in good order: %v\n%s", err, said.Bytes())
	}
}

// started matches the line of a server that is ready.
const started = `millrace is ready.* version=(\S+) api=(\S+) `

// isHealthy checks the server that printed what started matches.
func isHealthy(t *testing.T) func(context.Context, [][]byte) {
	return func(ctx context.Context, match [][]byte) {
		if string(match[1]) != version {
			t.Errorf("it is version %s", match[1])
		}
		if status, body := get(ctx, string(match[2])+"/healthz"); status != http.StatusOK {
			t.Errorf("/healthz: %d %s", status, body)
		}
	}
}

// get returns the status and the body of the response, or 0 and the error.
func get(ctx context.Context, url string) (status int, body string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// isLive waits until the demo that printed the addresses of its watch page and its stream
// can be watched.
func isLive(t *testing.T) func(context.Context, [][]byte) {
	return func(ctx context.Context, match [][]byte) {
		if status, page := get(ctx, string(match[1])); status != http.StatusOK || !strings.Contains(page, "<video") {
			t.Errorf("the watch page %s: %d %s", match[1], status, page)
		}
		for {
			status, playlist := get(ctx, string(match[2]))
			if status == http.StatusOK && strings.Contains(playlist, "#EXT-X-STREAM-INF:") {
				return
			}
			select {
			case <-ctx.Done():
				t.Errorf("the stream %s is not live: %d %s", match[2], status, playlist)
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

func testNPM(t *testing.T, dist string) {
	packages, err := filepath.Glob(filepath.Join(dist, "millrace-*.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"install", "--offline", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error"}
	for _, p := range packages {
		if !strings.Contains(p, "player") { // which depends on hls.js
			args = append(args, p)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private": true}`), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "npm", args...)
	program := filepath.Join(dir, "node_modules/.bin/millrace")
	if got := run(t, dir, program, "version"); got != "millrace "+version+"\n" {
		t.Errorf("npx millrace version: %q", got)
	}
	for _, file := range []string{"kubernetes/millrace.yaml", "container/millrace.yaml"} { // testDebian serves with its own
		settings, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		run(t, dir, program, "config", "--config", settings)
	}
	serves(t, dir, []string{program, "serve", "--transcode", "off"}, started, isHealthy(t))
	serves(t, dir, []string{"npx", "--offline", "millrace", "demo"}, `Watch +(\S+)\n(?s:.*)Playback +(\S+)\n`, isLive(t))
}

// testPlayer unpacks the npm package of the player beside hls.js. It is a module for Node
// and for TypeScript, as it is for bundlers.
func testPlayer(t *testing.T, dist string) {
	modules, err := filepath.Abs("../console/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	player := filepath.Join(dir, "node_modules/millrace-player")
	if err := os.MkdirAll(player, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(modules, "hls.js"), filepath.Join(dir, "node_modules/hls.js")); err != nil {
		t.Fatal(err)
	}
	run(t, player, "tar", "--strip-components=1", "-xzf", filepath.Join(dist, "millrace-player-"+version+".tgz"))
	if got := run(t, player, "node", "-p", `require("./package.json").version`); got != version+"\n" {
		t.Errorf("the player is version %q", got)
	}
	if _, err := os.Stat(filepath.Join(player, "LICENSE")); err != nil {
		t.Error(err)
	}
	use := `import { Player, PlayerState } from "millrace-player"; `
	if got := run(t, dir, "node", "--input-type=module", "-e", use+`console.log(typeof Player, PlayerState.PLAYING)`); got != "function Playing\n" {
		t.Errorf("the player in Node: %q", got)
	}
	use += "export const state: PlayerState = PlayerState.PLAYING; export const make = (v: HTMLVideoElement): Player => new Player(v);"
	if err := os.WriteFile(filepath.Join(dir, "use.mts"), []byte(use), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, filepath.Join(modules, ".bin/tsc"), "--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "use.mts")
}

// What is for programs that are not run here is what these take, and names files, ports
// and settings that exist.
func TestFiles(t *testing.T) {
	t.Parallel()
	testPorts(t)
	testRegions(t)
	testLinted(t)
	testKubernetes(t)
	testWorkflows(t)
	testDependabot(t)
	err := filepath.WalkDir("../examples", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".go":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if formatted, err := format.Source(text); err != nil || !bytes.Equal(text, formatted) {
				t.Errorf("%s is not formatted, or no Go: %v", path, err)
			}
		case ".mjs":
			run(t, ".", "node", "--check", path)
		case ".java":
			const parse = `import { parse } from "java-parser"; import { readFileSync } from "fs"; parse(readFileSync(process.argv[1], "utf8"))`
			run(t, "../console", "node", "--input-type=module", "-e", parse, path)
		case ".tf":
			tool(t, "hclfmt", "-check", filepath.Join("../..", path))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	testDockerfile(t)
	run(t, "..", "shellcheck", ".ci/run", "scripts/dist", "scripts/fuzz", "scripts/need", "scripts/wrong-clock")
}

// `make run` asks for no Debian package where apt-get cannot install it: on macOS, FreeBSD
// and other Linux distributions ffmpeg suffices.
func TestRunWithoutAptGet(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for name, of := range map[string]string{"sh": "sh", "ffmpeg": "true"} {
		path, err := exec.LookPath(of)
		if err == nil {
			err = os.Symlink(path, filepath.Join(bin, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	needs := 0
	for line := range strings.Lines(run(t, "..", "make", "--no-print-directory", "-n", "run")) {
		if !strings.Contains(line, "scripts/need") {
			continue
		}
		needs++
		c := exec.Command(filepath.Join(bin, "sh"), "-c", strings.ReplaceAll(line, ":/usr/share", ":/nowhere"))
		c.Dir, c.Env = "..", []string{"PATH=" + bin}
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s%v: %s", line, err, out)
		}
	}
	if needs == 0 {
		t.Error("make run asks for nothing, not even ffmpeg")
	}
}

// The testcontainers example compiles, with the versions in its go.mod.
func TestGoExample(t *testing.T) {
	t.Parallel()
	run(t, "../examples/testcontainers/go", "go", "vet", "./...")
}

// testWorkflows checks that the workflows run targets of the Makefile, in the time that
// these may take, keep no credentials in the checkout, and need no secret that somebody
// must set; and that the one that releases takes nothing from caches.
func testWorkflows(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	type job struct {
		Timeout int `yaml:"timeout-minutes"`
		Steps   []struct {
			Run, Uses string
			With      map[string]any
		}
	}
	off := map[string]string{"actions/checkout": "persist-credentials"} // inputs that are on unless set
	for _, file := range []string{"../.github/workflows/ci.yml", "../.github/workflows/release.yml"} {
		var workflow struct{ Jobs map[string]job }
		readYAML(t, file, &workflow)
		if filepath.Base(file) == "release.yml" {
			off["actions/setup-go"], off["docker/setup-qemu-action"], off["docker/setup-buildx-action"] = "cache", "cache-image", "cache-binary"
		}
		for name, job := range workflow.Jobs {
			if job.Timeout == 0 {
				t.Errorf("%s: the job %s has no limit", file, name)
			}
			for _, step := range job.Steps {
				action, _, _ := strings.Cut(step.Uses, "@")
				if input := off[action]; input != "" && step.With[input] != false {
					t.Errorf("%s: the job %s has %s with %v, without %s: false", file, name, action, step.With, input)
				}
				target := regexp.MustCompile(`^make (\w+)`).FindStringSubmatch(step.Run)
				if target != nil && !regexp.MustCompile(`(?m)^`+target[1]+`:`).Match(makefile) {
					t.Errorf("%s: there is no %s", file, target[0])
				}
				if target != nil && target[1] == "test" && job.Timeout < longestTest(t, string(makefile)) {
					t.Errorf("%s: make test may take %d minutes, and has %d", file, longestTest(t, string(makefile)), job.Timeout)
				}
			}
		}
		if text, err := os.ReadFile(file); err != nil || bytes.Contains(text, []byte("secrets.")) {
			t.Errorf("%s needs secrets: %v", file, err)
		}
	}
}

// longestTest is how many minutes the steps of `make test` may take, one after another.
func longestTest(t *testing.T, makefile string) (minutes int) {
	limits := regexp.MustCompile(`timeout (\d+)m`).FindAllStringSubmatch(makefile, -1)
	if len(limits) == 0 {
		t.Fatal("the Makefile has no limits")
	}
	for _, m := range limits {
		n, _ := strconv.Atoi(m[1])
		minutes += n
	}
	return minutes
}

// testDependabot checks that all that names versions of others is kept up to date.
func testDependabot(t *testing.T) {
	var config struct {
		Updates []struct {
			Ecosystem   string `yaml:"package-ecosystem"`
			Directory   string
			Directories []string
		}
	}
	readYAML(t, "../.github/dependabot.yml", &config)
	var kept []string
	for _, u := range config.Updates {
		for _, directory := range append(u.Directories, u.Directory) {
			kept = append(kept, u.Ecosystem+" "+directory)
		}
	}
	ecosystems := map[string]string{"go.mod": "gomod", "package-lock.json": "npm", "Dockerfile": "docker", "compose.yaml": "docker-compose"}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{"node_modules", ".git", "dist", "bin", "millrace-data"}, d.Name()) {
			return fs.SkipDir
		}
		ecosystem, ok := ecosystems[d.Name()]
		if want := ecosystem + " " + filepath.Join("/", strings.TrimPrefix(filepath.Dir(path), "..")); ok && !slices.Contains(kept, want) {
			t.Errorf("dependabot does not know %s: %q", path, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Both targets of the Dockerfile are as they are described: not root, and with a health
// check.
func testDockerfile(t *testing.T) {
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FROM scratch AS minimal", "FROM debian:trixie-slim\n", "USER 65532:65532", "HEALTHCHECK"} {
		if !strings.Contains(string(dockerfile), want) {
			t.Errorf("Dockerfile: no %q", want)
		}
	}
	if strings.Contains(string(dockerfile), "MILLRACE_HTTP") || strings.Contains(string(dockerfile), "MILLRACE_RTMP") {
		t.Error("Dockerfile: the image's environment would override settings in a file")
	}
	if got := strings.Count(string(dockerfile), `["/usr/bin/millrace", "healthcheck"]`); got != 2 {
		t.Errorf("Dockerfile: %d images have a health check", got)
	}
}

// modules has the linters and types of what is not run here.
const modules = "../console/node_modules"

// testLinted has linters judge the Dockerfile, the compose files by their schema, and the
// workflows with the scripts in them.
func testLinted(t *testing.T) {
	tool(t, "actionlint", "../../../.github/workflows/ci.yml", "../../../.github/workflows/release.yml", "../../../examples/github-actions/workflow.yml")
	const lint = `const { validate } = require("dockerfile-utils")
		for (const found of validate(require("fs").readFileSync("../Dockerfile", "utf8"))) console.log(found.range.start.line + 1, found.message)`
	if got := run(t, "../console", "node", "-e", lint); got != "" {
		t.Errorf("Dockerfile: %s", got)
	}
	const compose = `import { DCLinter } from "dclint"
		const linter = new DCLinter({ rules: {}, quiet: false, debug: false, exclude: [] })
		for (const { filePath, messages } of linter.lintFiles(process.argv.slice(1), false))
			for (const { rule, line, message } of messages) if (rule === "invalid-schema" || rule === "invalid-yaml") console.log(filePath, line, message)`
	if got := run(t, "../console", "node", "--input-type=module", "-e", compose, "../compose.yaml", "../examples/cluster/compose.yaml"); got != "" {
		t.Errorf("compose files: %s", got)
	}
}

// testKubernetes has Kustomize build what `kubectl apply -k` applies, and the TypeScript
// compiler check the objects: they have the fields of their types, and no others.
func testKubernetes(t *testing.T) {
	var program strings.Builder
	for i, folder := range []string{"packaging/kubernetes", "examples/cluster/kubernetes"} {
		built := tool(t, "kustomize", "build", "../../../"+folder)
		var kinds []string
		for n, docs := 0, yaml.NewDecoder(strings.NewReader(built)); ; n++ {
			var doc map[string]any
			if err := docs.Decode(&doc); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", folder, err)
			}
			version := fmt.Sprint(doc["apiVersion"])
			if !strings.Contains(version, "/") {
				version = "core/" + version
			}
			object, err := json.Marshal(doc)
			if err != nil {
				t.Fatalf("%s: %v", folder, err)
			}
			var set struct {
				Spec struct {
					Template struct {
						Spec struct {
							Containers []struct{ Name, Image string }
						}
					}
				}
			}
			if err := json.Unmarshal(object, &set); err != nil {
				t.Fatalf("%s: %v", folder, err)
			}
			for _, c := range set.Spec.Template.Spec.Containers {
				if c.Image == "" { // made by a patch that misspells a container's name
					t.Errorf("%s: the container %s has no image", folder, c.Name)
				}
			}
			kinds = append(kinds, fmt.Sprint(doc["kind"]))
			fmt.Fprintf(&program, "// %s\nexport const object%d_%d: import('kubernetes-types/%s').%s = %s\n", folder, i, n, version, doc["kind"], object)
		}
		if !slices.Equal(kinds, []string{"ConfigMap", "Service", "StatefulSet"}) {
			t.Errorf("%s: %v is built", folder, kinds)
		}
	}
	dir := t.TempDir()
	from, err := filepath.Abs(modules)
	if err == nil {
		err = errors.Join(os.Symlink(from, filepath.Join(dir, "node_modules")), os.WriteFile(filepath.Join(dir, "objects.ts"), []byte(program.String()), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, filepath.Join(from, ".bin/tsc"), "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "objects.ts")
}

// readYAML decodes a file.
func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// testPorts checks that the Service reaches ports of the container, and encoders the port
// that the API shows them, which is the one that the server listens on.
func testPorts(t *testing.T) {
	type port struct {
		Name          string
		Port          int
		TargetPort    string `yaml:"targetPort"`
		ContainerPort int    `yaml:"containerPort"`
	}
	var service struct{ Spec struct{ Ports []port } }
	var set struct {
		Spec struct {
			Template struct {
				Spec struct{ Containers []struct{ Ports []port } }
			}
		}
	}
	var settings map[string]any
	readYAML(t, "kubernetes/service.yaml", &service)
	readYAML(t, "kubernetes/statefulset.yaml", &set)
	readYAML(t, "kubernetes/millrace.yaml", &settings)
	of := map[string]int{}
	for _, p := range set.Spec.Template.Spec.Containers[0].Ports {
		of[p.Name] = p.ContainerPort
	}
	if of["https"] == 0 || len(service.Spec.Ports) != len(of) {
		t.Errorf("the Service has %+v, the container %v", service.Spec.Ports, of)
	}
	for _, p := range service.Spec.Ports {
		listens, set := settings[p.Name]
		if of[p.TargetPort] == 0 || set && listens != fmt.Sprintf(":%d", of[p.TargetPort]) {
			t.Errorf("port %s of the Service leads to %d of the container, which listens on %v", p.Name, of[p.TargetPort], listens)
		}
		if strings.HasPrefix(p.Name, "rtmp") && p.Port != of[p.TargetPort] {
			t.Errorf("encoders are told port %d, and the Service has %d", of[p.TargetPort], p.Port)
		}
	}
}

// testRegions checks that the S3 server of the compose files is in the region that the
// server signs for: it refuses others.
func testRegions(t *testing.T) {
	for _, file := range []string{"../compose.yaml", "../examples/cluster/compose.yaml"} {
		var compose struct {
			Settings map[string]string `yaml:"x-settings"`
			Services map[string]struct {
				Command     string
				Environment any
			}
		}
		readYAML(t, file, &compose)
		region := compose.Settings["AWS_REGION"]
		if environment, ok := compose.Services["millrace"].Environment.(map[string]any); ok {
			region, _ = environment["AWS_REGION"].(string)
		}
		if got := compose.Services["s3"].Command; region == "" || !strings.Contains(got, "--region "+region+" ") {
			t.Errorf("%s: s3 runs with %s, in the region %q", file, got, region)
		}
	}
}

// The balancers that docs/cluster.md names take their configurations. nginx takes
// what is about HTTP: Debian has its stream module in another package.
func TestBalancers(t *testing.T) {
	here := func(file string) string {
		content, err := os.ReadFile(filepath.Join("../examples/cluster", file))
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`node\d:`).ReplaceAllString(string(content), "127.0.0.1:")
	}
	write := func(name, content string) (path string) {
		path = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run(t, ".", "/usr/sbin/haproxy", "-c", "-f", write("haproxy.cfg", here("haproxy.cfg")))
	nginx := regexp.MustCompile(`(?s)\nstream \{.*?\n\}\n`).ReplaceAllString(here("nginx.conf"), "\n")
	run(t, ".", "/usr/sbin/nginx", "-t", "-e", "/dev/null", "-g", "pid "+filepath.Join(t.TempDir(), "pid")+";", "-c", write("nginx.conf", nginx))
}
