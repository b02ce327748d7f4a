# Two commands: `make run` shows Millrace, `make test` proves it.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CONSOLE := internal/console/dist/index.html

# Everything but the tests with the race detector is compiled as releases are, so that
# checks, tests and packages share the build cache.
RELEASE := CGO_ENABLED=0 GOFLAGS='$(GOFLAGS) -trimpath'

.PHONY: run build test programs race-packages race-program single released lint typecheck short check cross dist bench soak chaos fuzz clean

# Where there is no apt-get, the demo does without that font, and so perhaps without its clock.
run: build ## a server, a channel "demo" and a broadcast with a running clock
	@scripts/need ffmpeg
	@! command -v apt-get >/dev/null || scripts/need fonts-dejavu-core:/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf
	bin/millrace demo

build: $(CONSOLE) ## bin/millrace, one static binary with the console in it
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/millrace ./cmd/millrace

$(CONSOLE): $(shell find console player -name node_modules -prune -o -type f -print 2>/dev/null)
	cd console && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build && npm run --silent test
	@touch $@

test: ## everything: unit, end to end with real clients, browser
	@$(MAKE) --no-print-directory -j2 programs lint
	$(GO) test -race -c -o bin/race/millrace.test ./cmd/millrace
	@$(MAKE) --no-print-directory -j2 race-packages race-program
	@$(MAKE) --no-print-directory -j2 single released
	$(RELEASE) $(GO) test -vet=off -run '$(call one_of,$(PLAIN))' -timeout 45m ./cmd/millrace

programs:
	@scripts/need ffmpeg chromium fonts-dejavu-core:/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf awscli:aws python3-boto3:/usr/lib/python3/dist-packages/boto3 nginx-light:/usr/sbin/nginx haproxy:/usr/sbin/haproxy varnish:/usr/sbin/varnishd python3-jwt:/usr/lib/python3/dist-packages/jwt python3-cryptography:/usr/lib/python3/dist-packages/cryptography openssl postgresql:/usr/lib/postgresql shellcheck systemd:/usr/bin/systemd-analyze

# Nothing is vetted a second time: lint has vetted all, with the tags of tests that take long.

# The race detector has each process sleep for a second as it ends, also those that tests start.
race-packages race-program: export GORACE := $(GORACE) atexit_sleep_ms=0

# The packages compute while the program's tests mostly wait, so both run at once. The one
# that takes longest comes first.
race-packages:
	$(GO) test -race -vet=off -tags versitygw -skip '$(call one_of,$(SINGLE))' -timeout 45m ./internal/record ./internal/...

race-program:
	cd cmd/millrace && '$(CURDIR)/bin/race/millrace.test' -test.skip '$(call one_of,$(PLAIN))' -test.timeout 45m

# Both compute and neither is held to times: what one leaves of the processors the other uses.
single:
	$(RELEASE) $(GO) test -vet=off -run '$(call one_of,$(SINGLE))' -timeout 45m ./internal/broadcast ./internal/segment

released:
	$(RELEASE) $(GO) test -vet=off -timeout 45m . ./packaging

# Everything runs with the race detector, including the servers that tests start, except the
# tests that are listed here, each by its whole name, under a reason that is true of it.
# TestSkippedTests reads the lists.
one_of = ^($(subst $(space),|,$(strip $(1))))$$
space := $(subst ,, )

# Of internal: hours of media that one goroutine writes and reads.
SINGLE := TestLyingClocks TestStreams TestTroubledStreams TestManyChanges TestSizes \
	TestSplice TestAudioGoesOn

# Of cmd/millrace:
PLAIN = $(TRANSCODED) $(PLAYED) $(BOUNDED)
# ffmpeg makes a ladder, which must keep up with real time.
TRANSCODED := TestLadders TestLadderObeysHLS TestTranscodeFailureOnDemand TestTranscoderDies \
	TestTranscodeCapacity TestAudioOnly TestThumbnails TestRecordTranscoded TestNoKeyFrames \
	TestSoak
# A browser plays, which must have the media in time.
PLAYED := TestBrowserPlays TestBrowserPlaysPrivate TestBrowserPlaysWithOthers TestBrowserAdapts \
	TestBrowserOrigins TestBrowserShowsStarvation TestCaptions TestMetadataReachesTheBrowser \
	TestWatchPage TestWatchPageInFrame TestWatchPageInLimitedBrowser TestWatchPageMenus \
	TestWatchPageOverHTTPS TestConsole TestConsoleChannel TestConsoleNewcomer TestConsoleViewers \
	TestRecordTakeoverAndKill
# The server is held to bounds on memory, which the race detector multiplies.
BOUNDED := TestFaults TestLimitTable TestSmallGroup TestStacksOfWaitingRequests

lint: $(CONSOLE) ## format, vet, staticcheck, errcheck
	@test -z "$$(gofmt -l *.go cmd internal packaging scripts examples)" || { gofmt -l *.go cmd internal packaging scripts examples; echo 'run gofmt -w on these'; exit 1; }
	$(RELEASE) $(GO) vet -tags chaos,versitygw ./...
	$(RELEASE) $(GO) tool staticcheck ./...
	$(RELEASE) $(GO) tool errcheck -ignoretests -exclude scripts/errcheck.txt ./...

# One architecture of each system: nothing in the tree is for one alone, and `make cross`
# compiles for all. This machine's system is left out: lint compiles for it.
typecheck: $(CONSOLE) ## the types of all packages and tests on other systems
	$(RELEASE) $(GO) run ./scripts/typecheck linux/arm64 darwin/arm64 windows/amd64 freebsd/amd64

# Left out are cmd/millrace, whose tests run servers, encoders and browsers;
# packaging, which makes a release; hours of media; and the tests that testing.Short skips,
# which transcode, record, kill processes or start PostgreSQL.
short: lint # which compiles what the tests need
	$(RELEASE) $(GO) test -short -vet=off -skip '$(call one_of,$(SINGLE))' . ./internal/...

check: ## before a commit: lint, other systems, the quick tests
	@$(MAKE) --no-print-directory -j2 -Otarget typecheck short

# The systems that the program and its tests are compiled for.
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64 freebsd/amd64 freebsd/arm64
cross: $(CONSOLE) ## build and vet for every system in PLATFORMS, tests included
	@for p in $(PLATFORMS); do echo $$p; \
		GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/millrace && \
		GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) vet ./... || exit 1; done

dist: $(CONSOLE) ## everything that is released, in dist/: archives, .deb, npm packages, SBOM, checksums
	GO=$(GO) scripts/dist "$(VERSION)" dist $(PLATFORMS)

# BENCH chooses: scenarios of cmd/bench, with commas between them, or "go" for
# the Go benchmarks alone. PROFILE is a folder for perf's profiles of the server.
BENCH   ?=
PROFILE ?=
bench: $(CONSOLE) ## what a stream and a viewer cost: docs/performance.md
	@scripts/need ffmpeg chromium
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/bench/millrace ./cmd/millrace
	@[ "$(BENCH)" = go ] || $(GO) run ./cmd/bench -millrace bin/bench/millrace -only "$(BENCH)" -profile "$(PROFILE)"
	@[ -n "$(BENCH)" ] && [ "$(BENCH)" != go ] || $(GO) test -run '^$$' -bench . -benchmem ./internal/...

SOAK ?= 1h
soak: $(CONSOLE) ## a STANDARD broadcast of 720p30 for SOAK: renditions stay in step, memory flat
	@scripts/need ffmpeg
	$(GO) test -run '^TestSoak$$' -v -timeout 0 ./cmd/millrace -args -soak $(SOAK)

CHAOS ?= 10m
CHAOSFLAGS ?=
chaos: $(CONSOLE) ## random faults of three nodes for CHAOS: every session is closed once, every event delivered in order
	@scripts/need ffmpeg postgresql:/usr/lib/postgresql
	$(GO) test -tags chaos -run '^TestChaos$$' -v -timeout 0 ./cmd/millrace -args -chaos $(CHAOS) $(CHAOSFLAGS)

FUZZTIME ?= 30s
fuzz: ## every parser of network bytes, FUZZTIME each
	GO=$(GO) scripts/fuzz $(FUZZTIME)

clean:
	rm -rf bin dist console/node_modules internal/console/dist/*
