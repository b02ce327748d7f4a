// Command millrace ingests live video, serves it as low-latency HLS, and implements the
// Amazon IVS API.
//
// This file is the wiring diagram: serve opens the base of a server, run creates its
// parts, top to bottom, and deferred calls stop them in reverse order.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/httplimit"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/logs"
	"github.com/millrace/millrace/internal/metrics"
	"github.com/millrace/millrace/internal/monitor"
	"github.com/millrace/millrace/internal/playback"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/store"
)

// version is set by the linker.
var version = "dev"

// commands is the command line. Every flag can also be set in the environment:
// --http is MILLRACE_HTTP. Those of serve can be in a file too.
type commands struct {
	Settings configPath `name:"config" placeholder:"FILE" help:"Read settings from a file in YAML: flags of serve, without the dashes. The environment wins over it, and the command line over both."`

	Serve    serveCommand       `cmd:"" help:"Run the server."`
	Demo     demoCommand        `cmd:"" help:"Run the server with a channel \"demo\" and a test broadcast with a running clock. Needs ffmpeg."`
	Env      envCommand         `cmd:"" help:"Print the shell variables that point AWS SDKs and the AWS CLI at this server: eval \"$(millrace env)\"."`
	Channel  channelCommand     `cmd:"" help:"Create, list, show and delete channels of a running server, and print or replace their stream keys."`
	Check    checkCommand       `cmd:"" help:"Follow a live HLS playlist of any server as a strict player does, and report the rules that it breaks."`
	Encoders encodersCommand    `cmd:"" help:"List the H.264 encoders that can make renditions on this machine."`
	Keygen   keygenCommand      `cmd:"" help:"Make a key pair for playback tokens of private channels: the private key into a file, the public key to standard output, as ImportPlaybackKeyPair takes it."`
	Token    tokenCommand       `cmd:"" help:"Sign a playback token for a private channel."`
	Publish  publishCommand     `cmd:"" help:"Publish test video or an FLV file to a channel or an RTMP address, once or many times over."`
	Health   healthcheckCommand `cmd:"" name:"healthcheck" help:"Ask the server on this machine whether it is alive; for container images."`
	Config   configCommand      `cmd:"" help:"Print the settings in force, and where each comes from, as a file for --config. Takes the flags of serve."`
	Version  versionCommand     `cmd:"" help:"Print the version."`
}

// oneSignal is how long further signals count as the first one. A terminal sends Ctrl-C
// to every process of its group, and npm and its script pass theirs on to this one.
const oneSignal = 2 * time.Second

func main() {
	dropServiceLinks()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(oneSignal, stop) }) // a later one ends the program at once
	cli, set := &commands{}, &settings{}
	parsed := kong.Parse(cli,
		kong.Name("millrace"),
		kong.Description("Live video like Amazon IVS, on your own machine: RTMP in, low-latency HLS out, the IVS API on the wire."),
		kong.DefaultEnvars("MILLRACE"),
		kong.ShortUsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(set),
	)
	// The server must not die when the reader of its log does: with SIGPIPE caught, a
	// write fails instead. (If it were ignored, ffmpeg would inherit that.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if err := parsed.Run(); err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		time.AfterFunc(time.Second, func() { os.Exit(1) }) // if standard error blocks
		fmt.Fprintln(os.Stderr, "millrace:", set.explain(parsed, err))
		os.Exit(1)
	}
}

type versionCommand struct{}

func (versionCommand) Run() error {
	fmt.Println("millrace", version)
	return nil
}

type serveCommand struct{ config }

func (c *serveCommand) Run(ctx context.Context) error {
	return serve(ctx, c.config, func(running) {})
}

// running is a server that is ready.
type running struct {
	config  // with every default filled in and the ports that were bound
	store   *store.DB
	hub     *live.Hub
	control *api.Server
}

// A base holds what all parts of a server share. It outlives them.
type base struct {
	cfg       config // with every default filled in and the ports that were bound
	began     time.Time
	log       *slog.Logger
	logWriter *logs.Writer
	folder    *dataFolder
	keys      rootKeys
	ports     *listeners
	certs     *certificates
	db        *store.DB
	node      *cluster.Node
}

// serve runs the server until ctx is done or a part of it fails. It calls
// ready once every port answers.
func serve(ctx context.Context, cfg config, ready func(running)) error {
	began := time.Now()
	logWriter := logs.NewWriter(os.Stderr)
	defer runUntilLast(ctx, logWriter.Run)()
	log := newLog(logWriter, cfg.LogLevel)
	if err := cfg.check(); err != nil {
		return err
	}
	folder, err := openData(cfg.Data)
	if err != nil {
		return err
	}
	defer folder.Close()
	trusted, err := cfg.trusted()
	if err != nil {
		return err
	}
	ports, err := listen(&cfg, trusted)
	if err != nil {
		return err
	}
	defer func() { ports.close() }()
	db, err := openDatabase(ctx, cfg.dsn(), log)
	if err != nil {
		return err
	}
	defer db.Close()
	node, err := registerNode(ctx, db, folder, log)
	if err != nil {
		return err
	}
	defer node.Stop(ctx)
	keys, err := rootCredentials(ctx, cfg, folder, node.Secrets, log)
	if err != nil {
		return err
	}
	certs, err := openCertificates(cfg, folder, db, log)
	if err != nil {
		return err
	}
	ports.addTLS(certs.config())
	return base{cfg, began, log, logWriter, folder, keys, &ports, certs, db, node}.run(ctx, ready)
}

// run creates the parts of the server, and runs them until ctx is done or one fails.
func (b base) run(ctx context.Context, ready func(running)) error {
	cfg, db, log := b.cfg, b.db, b.log
	hub, machine, err := b.recoverHub(ctx)
	if err != nil {
		return err
	}
	nodes := b.newAnywhere(hub)
	drain := newDrain(cfg, nodes.streams, log)
	hub.Drain = drain.began
	ctx, stop := drain.after(ctx)
	defer stop()
	relays := b.newRelay(hub, machine)
	viewing, followAccess, err := cfg.accessFlags.open(ctx, db, hub, cfg.MaxStreamDuration, log)
	if err != nil {
		return err
	}
	viewing.EndViewer = endViewers(hub, relays)
	ingest := newIngest(hub, log)
	buckets, recorder, err := b.newRecorder(ctx, hub)
	if err != nil {
		return err
	}
	control := b.newControl(nodes, buckets)
	targets, err := b.targets(ctx)
	if err != nil {
		return err
	}
	watch := b.newMonitor(hub, recorder)
	recordings := record.NewHandler(record.HandlerConfig{Recorder: recorder, Access: viewing, Key: db.Key("recordings"), Public: cfg.Recordings, Channel: watch.Channel, AdmitDownload: machine.admitDownload})
	views, err := b.newPlayback(ctx, playback.Config{Hub: hub, Relay: relays, Access: viewing, Log: log, Channel: watch.Channel})
	if err != nil {
		return err
	}
	endpoints := nodes.endpoints()
	maps.Copy(endpoints, b.relayOwner(hub).Endpoints())
	b.addExtensions(ctx, control, nodes, endpoints, watch, recordings, views, machineReport{cfg, b.folder.node, b.began, hub, machine, recorder}, drain)
	probes := newProbes(cfg, db, counts(hub, relays), hub.Stalled, b.logWriter, drain.began)
	defer probes.stop()
	figures := metrics.Sources{Hub: hub, Relay: relays, Viewers: counts(hub, relays), Store: db, Targets: targets, Recorder: recorder, LogWriter: b.logWriter, Machine: machine.figures, PerChannel: cfg.PerChannel, Log: log}
	web := newHTTPServer(cfg, control, hub, views, recordings, b.node, endpoints, probes, b.certs, log, figures)

	withdraw, err := b.folder.announce(cfg.apiURL(), cfg.PublicURL)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	defer withdraw()

	dispatcher := &event.Dispatcher{Store: db, Owner: b.folder.node, Targets: targets, MaxAge: cfg.EventMaxAge, Log: log}
	defer runUntilLast(ctx, dispatcher.Run)() // sessions and recordings write events until they end
	defer runUntilLast(ctx, recorder.Run)()   // sessions are recorded until they end

	g, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{b.node.Secrets.Run, hub.Run, relays.Run, hub.Transcode.Measure, control.Run, followAccess, b.certs.run} {
		g.Go(func() error { return run(ctx) })
	}
	for _, l := range b.ports.ingest() {
		g.Go(func() error { return ingest.Serve(ctx, l) })
	}
	trusted, _ := cfg.trusted() // they were read before
	plain, secure := httplimit.CountHeaders(web, ownShares().headers, trusted, b.ports.http, b.ports.https)
	g.Go(func() error { return serveHTTP(ctx, web, plain, secure, drain.left) })

	if err := b.join(ctx, hub, relays, machine); err != nil {
		stop()
		return cmp.Or(await(ctx, g, drain.left), err) // what ended is why it could not join
	}
	g.Go(func() error { return b.node.Run(ctx) })

	warn(log, cfg)
	log.Info("millrace is ready", "version", version, "api", cfg.apiURL(), "rtmp", cfg.RTMP, "rtmps", cfg.RTMPS, "https", cfg.HTTPS, "data", cfg.Data, "after", time.Since(b.began).Round(time.Millisecond))
	ready(running{config: cfg, store: db, hub: hub, control: control})
	if err := await(ctx, g, drain.left); err != nil {
		return err
	}
	log.Info("millrace has stopped")
	return nil
}

func (b base) newMonitor(hub *live.Hub, recorder *record.Recorder) *monitor.Handler {
	return &monitor.Handler{Hub: hub, Store: b.db, Faults: b.cfg.Faults,
		BucketFault: recorder.Fault, BucketFaults: []string{record.FaultBucketSlow, record.FaultBucketFail}}
}

// ofPeers are the log lines that peers without a valid key can cause.
var ofPeers = []string{
	"playback refused", "publish refused", "takeover refused", "multitrack configuration refused",
	"RTMP connection failed", "RTMP connection over the limit", "panic on an RTMP connection", "looking up a stream key failed",
	"a recording cannot be served", "a recording was refused", "download of a recording is incomplete",
	"reading playback keys failed", "reading a playback restriction policy failed", "recording the use of a token failed",
	"a stream of another node cannot be relayed", "asking the node of a stream for its thumbnail failed",
	"HTTP connection failed", "API call failed", "a request between nodes was refused",
}

// newLog is the log of the server: lines that peers without a key can cause are
// limited.
func newLog(w *logs.Writer, level slog.Level) *slog.Logger {
	return slog.New(w.Limit(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}), ofPeers...))
}

// recoverHub returns the hub of this node, which admits streams as long as the machine has
// room, after it has cleared away what a crash left: files of transcoding, and open
// sessions, which it ends.
func (b base) recoverHub(ctx context.Context) (*live.Hub, *capacity, error) {
	scratch, err := b.folder.emptied("transcode")
	if err != nil {
		return nil, nil, err
	}
	pool, err := b.cfg.newPool(scratch, b.log)
	if err != nil {
		return nil, nil, fmt.Errorf("--transcode %s: %w", b.cfg.Transcode, err)
	}
	machine := newCapacity(pool.Enabled())
	hub := &live.Hub{Store: b.db, Owner: b.folder.node, Log: b.log, Limits: b.cfg.limits(), Transcode: pool, Machine: machine}
	if err := hub.Recover(ctx); err != nil {
		return nil, nil, fmt.Errorf("ending the sessions that a crash left open: %w", err)
	}
	return hub, machine, nil
}

// newControl returns the IVS API, wired to the hub and the buckets.
func (b base) newControl(nodes anywhere, buckets *bucket.Place) *api.Server {
	cfg := b.cfg
	return &api.Server{
		Store: b.db, Endpoints: cfg.endpoints(), Log: b.log,
		Root:   api.Root{Account: cfg.Account, Keys: b.keys},
		Region: cfg.Region, AuthOff: cfg.Auth == "off", AuthOffOrigins: cfg.Origins,
		Quotas: cfg.quotas(), Throttle: cfg.Throttle, MaxCalls: int64(ownShares().calls),
		CheckBucket: func(ctx context.Context, _, name string) error { return buckets.Check(ctx, name) },
		Live:        nodes.live(),
	}
}

// newIngest returns the RTMP server, which passes encoders to the hub.
func newIngest(hub *live.Hub, log *slog.Logger) *rtmp.Server {
	return &rtmp.Server{Handle: func(ctx context.Context, p *rtmp.Publisher) error { return hub.Publish(ctx, p) }, App: rtmp.App, Log: log,
		MaxConns: ownShares().rtmp, MaxConnsPerAddr: ownShares().rtmpOfOne()}
}

// newPlayback returns the handler of playback URLs, with the keys of viewer sessions that
// all nodes share.
func (b base) newPlayback(ctx context.Context, c playback.Config) (*playback.Handler, error) {
	keys, err := b.node.Secrets.Open(ctx, "viewers", cluster.NewSecret)
	if err != nil {
		return nil, err
	}
	c.Keys = keys.Values
	return playback.New(c), nil
}

// addExtensions adds the signed calls below /_millrace/ to control, and those that other
// nodes forward to endpoints.
func (b base) addExtensions(ctx context.Context, control *api.Server, nodes anywhere, endpoints map[string]http.Handler, watch *monitor.Handler, recordings *record.Handler, views *playback.Handler, machine machineReport, drain *drain) {
	control.Extensions = b.eventCalls(ctx.Done(), watch)
	for pattern, answer := range map[string]api.Extension{
		"GET /_millrace/channels/{channel}/recordings":      recordings.List,
		"POST /_millrace/channels/{channel}/playback-token": views.Token,
		"GET /_millrace/buckets/{bucket}":                   control.Bucket,
		"POST /_millrace/reset":                             control.Reset,
		"POST /_millrace/sign-in-tokens":                    control.CreateSignInToken,
		"GET /_millrace/nodes":                              listNodes(b.node),
		"POST /_millrace/secrets/{name}/rotate":             b.cfg.rotateSecret(b.node.Secrets),
	} {
		control.Extensions[pattern] = answer
	}
	for pattern, answer := range map[string]api.Extension{
		"GET /_millrace/channels/{channel}/metrics":   watch.Metrics,
		"GET /_millrace/channels/{channel}/health":    watch.Health,
		"GET /_millrace/channels/{channel}/thumbnail": watch.Thumbnail,
	} {
		nodes.addExtension(control, endpoints, pattern, answer, ofPath(watch.Channel))
	}
	nodes.addExtension(control, endpoints, "POST /_millrace/faults", watch.Fault, ofBody(watch.Channel))
	nodes.addNodeExtension(control, endpoints, "POST /_millrace/drain", drain.call)
	nodes.addNodeExtension(control, endpoints, "GET /_millrace/server", machine.answer)
	nodes.addEverywhere(control, endpoints, watch, views)
}

// newRecorder opens the buckets, and returns the recorder of the hub's streams.
func (b base) newRecorder(ctx context.Context, hub *live.Hub) (*bucket.Place, *record.Recorder, error) {
	buckets, err := bucket.Open(ctx, b.cfg.buckets(), b.cfg.Region)
	if err != nil {
		return nil, nil, fmt.Errorf("--buckets: %w", err)
	}
	recorder, err := b.cfg.recorder(ctx, b.db, buckets, b.node, b.log)
	if err != nil {
		return nil, nil, err
	}
	hub.Record = recordSession(recorder)
	return buckets, recorder, nil
}

// await waits for g, and after ctx is done for at most a second longer than what is left
// then. The end of ctx is not an error.
func await(ctx context.Context, g *errgroup.Group, left func() time.Duration) error {
	ended := make(chan error, 1)
	go func() {
		err := g.Wait()
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(left() + time.Second):
		return errors.New("the server did not shut down in time (--drain): sessions that are open in the database are ended at the next start")
	}
}

// runUntilLast starts f with a context that outlives ctx: stop ends it and waits for f.
func runUntilLast(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}
