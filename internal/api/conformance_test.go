package api_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// sdkOperations are the operations that the SDK knows, with the types of their
// input and output.
func sdkOperations() map[string][2]reflect.Type {
	all := map[string][2]reflect.Type{}
	client := reflect.TypeFor[*awsivs.Client]()
	for m := range client.Methods() {
		if m.Type.NumIn() == 4 && m.Type.NumOut() == 2 && m.Type.In(2).Kind() == reflect.Pointer && m.Type.In(2).Elem().Name() == m.Name+"Input" {
			all[m.Name] = [2]reflect.Type{m.Type.In(2).Elem(), m.Type.Out(0).Elem()}
		}
	}
	return all
}

// members yields the path of each member below a shape, and its type. The path
// of a list's item is that of the list.
func members(t reflect.Type, path string, yield func(string, reflect.Type)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return
	}
	for f := range t.Fields() {
		if f.IsExported() && f.Name != "ResultMetadata" {
			name := strings.TrimPrefix(path+"."+f.Name, ".")
			yield(name, f.Type)
			members(f.Type, name, yield)
		}
	}
}

// onWire is the path of a member as JSON has it.
func onWire(path string) string {
	words := strings.Split(path, ".")
	for i, w := range words {
		words[i] = string(unicode.ToLower(rune(w[0]))) + w[1:]
	}
	return strings.Join(words, ".")
}

// tagRoute is how the operations on tags are called.
var tagRoute = map[string]string{"ListTagsForResource": "GET", "TagResource": "POST", "UntagResource": "DELETE"}

// Every operation of the SDK is routed. Sent a value of the wrong type, every
// member of every input is named in the answer: it is known.
func TestEveryInputMember(t *testing.T) {
	w := newOpenWorld(t)
	all := sdkOperations()
	if len(all) < 40 {
		t.Fatalf("the SDK has only %d operations", len(all))
	}
	for name, shapes := range all {
		members(shapes[0], "", func(path string, typ reflect.Type) {
			wire := onWire(path)
			method, url, body := "POST", "/"+name, wrongly(strings.Split(wire, "."), shapes[0])
			if method = tagRoute[name]; method != "" {
				switch wire {
				case "resourceArn":
					url, body = "/tags/wrong", `{"tags":{}}`
				case "tagKeys":
					url = "/tags/arn%3Aaws%3Aivs%3Aus-west-2%3A123456789012%3Achannel%2Fa?tagKeys=%00"
					wire = "tags" // named so in the message
				default:
					url = "/tags/arn%3Aaws%3Aivs%3Aus-west-2%3A123456789012%3Achannel%2Fa"
				}
			} else {
				method = "POST"
			}
			if a := w.send(t, method, url, body); a.code(t) != "ValidationException" || !strings.Contains(string(a.body), wire) {
				t.Errorf("%s with a wrong %s, %s = %d %s", name, wire, body, a.status, a.body)
			}
		})
		if a := w.post(t, name, `[]`); tagRoute[name] == "" && a.code(t) != "ValidationException" {
			t.Errorf("%s = %d %s", name, a.status, a.body)
		}
	}
	if a := w.post(t, "UpdateAdConfiguration", `{}`); a.code(t) != "ValidationException" {
		t.Errorf("UpdateAdConfiguration, which this SDK does not know yet = %d %s", a.status, a.body)
	}
}

// wrongly is a body in which the member at path has a type that no member has.
func wrongly(path []string, shape reflect.Type) string {
	for shape.Kind() == reflect.Pointer {
		shape = shape.Elem()
	}
	if shape.Kind() == reflect.Slice {
		return "[" + wrongly(path, shape.Elem()) + "]"
	}
	if len(path) == 0 {
		if shape.Kind() == reflect.Struct || shape.Kind() == reflect.Map {
			return `"x"`
		}
		return `{}`
	}
	field, _ := shape.FieldByNameFunc(func(s string) bool { return onWire(s) == path[0] })
	value := wrongly(path[1:], field.Type)
	if len(path) == 1 && field.Type.Kind() == reflect.Slice {
		value = `{}`
	}
	return `{"` + path[0] + `":` + value + `}`
}

// A recorder notes which members of outputs were there.
type recorder map[string]bool

// note marks what v, an output, holds.
func (r recorder) note(v any, err error) {
	if err != nil {
		panic(err)
	}
	out := reflect.ValueOf(v).Elem()
	r.walk(out, strings.TrimSuffix(out.Type().Name(), "Output"))
}

func (r recorder) walk(v reflect.Value, path string) {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		r[path] = true
		r.walk(v.Elem(), path)
	case v.Kind() == reflect.Slice:
		r[path] = r[path] || v.Len() > 0
		for i := range v.Len() {
			r.walk(v.Index(i), path)
		}
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "ResultMetadata" {
				r.walk(v.Field(i), path+"."+f.Name)
			}
		}
	default:
		r[path] = r[path] || !v.IsZero()
	}
}

// Every member of every output is there in some answer to the SDK.
func TestEveryOutputMember(t *testing.T) {
	o := &outputs{world: newWorld(t), T: t, ctx: t.Context(), seen: recorder{}}
	o.recording = o.recordings()
	o.createAll(t)
	o.policy = o.policies()
	o.ad = o.adConfigurations()
	o.keyPairs()
	arns, key := o.channels()
	o.streams(arns)
	o.streamKeys(arns, key)
	o.seen.note(o.ivs.ListTagsForResource(o.ctx, &awsivs.ListTagsForResourceInput{ResourceArn: o.recording}))
	o.seen.note(o.ivs.BatchStartViewerSessionRevocation(o.ctx, &awsivs.BatchStartViewerSessionRevocationInput{ViewerSessions: []types.BatchStartViewerSessionRevocationViewerSession{
		{ChannelArn: aws.String(arns[0] + "x"), ViewerId: aws.String("name")}}}))
	for name, shapes := range sdkOperations() {
		members(shapes[1], name, func(path string, _ reflect.Type) {
			if !o.seen[path] && neverOutput[path] == "" {
				t.Errorf("no answer has %s", path)
			}
			if o.seen[path] && neverOutput[path] != "" {
				t.Errorf("an answer has %s, although %s", path, neverOutput[path])
			}
		})
	}
}

// neverOutput are members that no answer has, and why.
var neverOutput = map[string]string{
	"ListStreamKeys.NextToken":                                  "a channel has one key",
	"BatchGetChannel.StrictTransportSecurity":                   "whether a host is for HTTPS alone is the operator's to say",
	"BatchGetStreamKey.StrictTransportSecurity":                 "the same",
	"BatchStartViewerSessionRevocation.StrictTransportSecurity": "the same",
}

// outputs calls the operations so that their answers have all that they can have.
type outputs struct {
	*world
	*testing.T
	ctx                   context.Context
	seen                  recorder
	recording, policy, ad *string // ARNs
}

var (
	someTags = map[string]string{"k": "v"}
	one      = aws.Int32(1)
)

// recordings makes two recording configurations, and returns the ARN of the first.
func (o *outputs) recordings() (first *string) {
	for _, bucket := range []string{"bucket-one", "bucket-two"} {
		out, err := o.ivs.CreateRecordingConfiguration(o.ctx, &awsivs.CreateRecordingConfigurationInput{
			Name: aws.String("name"), Tags: someTags, RecordingReconnectWindowSeconds: 60,
			DestinationConfiguration: &types.DestinationConfiguration{S3: &types.S3DestinationConfiguration{BucketName: &bucket}},
			ThumbnailConfiguration: &types.ThumbnailConfiguration{RecordingMode: types.RecordingModeInterval, TargetIntervalSeconds: aws.Int64(5),
				Resolution: types.ThumbnailConfigurationResolutionHd, Storage: []types.ThumbnailConfigurationStorage{types.ThumbnailConfigurationStorageLatest}},
			RenditionConfiguration: &types.RenditionConfiguration{RenditionSelection: types.RenditionConfigurationRenditionSelectionCustom,
				Renditions: []types.RenditionConfigurationRendition{types.RenditionConfigurationRenditionFullHd}},
		})
		o.seen.note(out, err)
		first = cmp.Or(first, out.RecordingConfiguration.Arn)
	}
	o.seen.note(o.ivs.GetRecordingConfiguration(o.ctx, &awsivs.GetRecordingConfigurationInput{Arn: first}))
	o.seen.note(o.ivs.ListRecordingConfigurations(o.ctx, &awsivs.ListRecordingConfigurationsInput{MaxResults: one}))
	return first
}

// policies makes two playback restriction policies, and returns the ARN of the first.
func (o *outputs) policies() (first *string) {
	for range 2 {
		out, err := o.ivs.CreatePlaybackRestrictionPolicy(o.ctx, &awsivs.CreatePlaybackRestrictionPolicyInput{Name: aws.String("name"), Tags: someTags,
			AllowedCountries: []string{"DE"}, AllowedOrigins: []string{"https://example.com"}, EnableStrictOriginEnforcement: aws.Bool(true)})
		o.seen.note(out, err)
		first = cmp.Or(first, out.PlaybackRestrictionPolicy.Arn)
	}
	o.seen.note(o.ivs.GetPlaybackRestrictionPolicy(o.ctx, &awsivs.GetPlaybackRestrictionPolicyInput{Arn: first}))
	o.seen.note(o.ivs.UpdatePlaybackRestrictionPolicy(o.ctx, &awsivs.UpdatePlaybackRestrictionPolicyInput{Arn: first}))
	o.seen.note(o.ivs.ListPlaybackRestrictionPolicies(o.ctx, &awsivs.ListPlaybackRestrictionPoliciesInput{}))
	return first
}

// adConfigurations makes two, and returns the ARN of the first.
func (o *outputs) adConfigurations() (first *string) {
	for range 2 {
		out, err := o.ivs.CreateAdConfiguration(o.ctx, &awsivs.CreateAdConfigurationInput{Name: aws.String("name"), Tags: someTags,
			MediaTailorPlaybackConfigurations: []types.MediaTailorPlaybackConfiguration{{PlaybackConfigurationArn: aws.String(mediaTailor)}}})
		o.seen.note(out, err)
		first = cmp.Or(first, out.AdConfiguration.Arn)
	}
	o.seen.note(o.ivs.GetAdConfiguration(o.ctx, &awsivs.GetAdConfigurationInput{Arn: first}))
	o.seen.note(o.ivs.ListAdConfigurations(o.ctx, &awsivs.ListAdConfigurationsInput{MaxResults: one}))
	return first
}

func (o *outputs) keyPairs() {
	for range 2 {
		pair, err := o.ivs.ImportPlaybackKeyPair(o.ctx, &awsivs.ImportPlaybackKeyPairInput{Name: aws.String("name"), Tags: someTags, PublicKeyMaterial: aws.String(newPublicKey(o.T))})
		o.seen.note(pair, err)
		o.seen.note(o.ivs.GetPlaybackKeyPair(o.ctx, &awsivs.GetPlaybackKeyPairInput{Arn: pair.KeyPair.Arn}))
	}
	o.seen.note(o.ivs.ListPlaybackKeyPairs(o.ctx, &awsivs.ListPlaybackKeyPairsInput{MaxResults: one}))
}

// channels makes two, since not every member of a channel goes with every other, and
// returns the stream key of the first too.
func (o *outputs) channels() (arns []string, streamKey *string) {
	many, err := o.ivs.CreateChannel(o.ctx, &awsivs.CreateChannelInput{Name: aws.String("name"), Tags: someTags, Authorized: true, RecordingConfigurationArn: o.recording, PlaybackRestrictionPolicyArn: o.policy,
		ContainerFormat: types.ContainerFormatFragmentedMP4, MultitrackInputConfiguration: &types.MultitrackInputConfiguration{
			Enabled: true, Policy: types.MultitrackPolicyAllow, MaximumResolution: types.MultitrackMaximumResolutionHd}})
	o.seen.note(many, err)
	more, err := o.ivs.CreateChannel(o.ctx, &awsivs.CreateChannelInput{Tags: someTags, InsecureIngest: true, AdConfigurationArn: o.ad, Type: types.ChannelTypeAdvancedHDChannelType})
	o.seen.note(more, err)
	arns = []string{*many.Channel.Arn, *more.Channel.Arn}
	for _, arn := range arns {
		o.seen.note(o.ivs.GetChannel(o.ctx, &awsivs.GetChannelInput{Arn: &arn}))
		o.seen.note(o.ivs.UpdateChannel(o.ctx, &awsivs.UpdateChannelInput{Arn: &arn}))
	}
	o.seen.note(o.ivs.BatchGetChannel(o.ctx, &awsivs.BatchGetChannelInput{Arns: append(arns, arns[0]+"x")}))
	o.seen.note(o.ivs.ListChannels(o.ctx, &awsivs.ListChannelsInput{MaxResults: one}))
	o.seen.note(o.ivs.ListChannels(o.ctx, &awsivs.ListChannelsInput{}))
	return arns, many.StreamKey.Arn
}

// streams has both channels live, and ended, twice.
func (o *outputs) streams(arns []string) {
	for _, arn := range arns {
		o.broadcast(o.T, arn)
		o.seen.note(o.ivs.GetStream(o.ctx, &awsivs.GetStreamInput{ChannelArn: &arn}))
		o.seen.note(o.ivs.PutMetadata(o.ctx, &awsivs.PutMetadataInput{ChannelArn: &arn, Metadata: aws.String("name")}))
		o.seen.note(o.ivs.ListStreams(o.ctx, &awsivs.ListStreamsInput{MaxResults: one}))
	}
	o.seen.note(o.ivs.InsertAdBreak(o.ctx, &awsivs.InsertAdBreakInput{ChannelArn: &arns[1], DurationSeconds: one}))
	for _, arn := range arns {
		o.seen.note(o.ivs.StopStream(o.ctx, &awsivs.StopStreamInput{ChannelArn: &arn}))
		o.seen.note(o.ivs.GetStreamSession(o.ctx, &awsivs.GetStreamSessionInput{ChannelArn: &arn}))
		o.broadcast(o.T, arn)
		o.seen.note(o.ivs.ListStreamSessions(o.ctx, &awsivs.ListStreamSessionsInput{ChannelArn: &arn, MaxResults: one}))
		must(o.T, o.stop(o.ctx, arn))
		o.seen.note(o.ivs.ListStreamSessions(o.ctx, &awsivs.ListStreamSessionsInput{ChannelArn: &arn}))
	}
}

func (o *outputs) streamKeys(arns []string, key *string) {
	o.seen.note(o.ivs.GetStreamKey(o.ctx, &awsivs.GetStreamKeyInput{Arn: key}))
	o.seen.note(o.ivs.BatchGetStreamKey(o.ctx, &awsivs.BatchGetStreamKeyInput{Arns: []string{*key, *key + "x"}}))
	o.seen.note(o.ivs.ListStreamKeys(o.ctx, &awsivs.ListStreamKeysInput{ChannelArn: &arns[0]}))
	o.seen.note(o.ivs.DeleteStreamKey(o.ctx, &awsivs.DeleteStreamKeyInput{Arn: key}))
	o.seen.note(o.ivs.CreateStreamKey(o.ctx, &awsivs.CreateStreamKeyInput{ChannelArn: &arns[0], Tags: someTags}))
}

// broadcast makes the channel live as far as its row goes, with all that a
// session shows.
func (w *world) broadcast(t testing.TB, arn string) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	id := storetest.Session(t, w.db, arn, "n", now)
	must(t, w.db.StartStream(ctx, id, now, ivs.IngestConfigurations{
		Video: []ivs.VideoConfiguration{{Codec: "avc1.64002A", Profile: "High", Level: "4.2", Encoder: "x", VideoWidth: 1920, VideoHeight: 1080,
			TargetBitrate: 1, TargetFramerate: 30, Track: "track0"}},
		Audio: []ivs.AudioConfiguration{{Codec: "mp4a.40.2", Channels: 2, SampleRate: 48000, TargetBitrate: 1, Track: "track0"}}}))
	must(t, w.db.ChangeSessions(ctx, []store.SessionChange{{StreamID: id, Health: ivs.HealthUnknown, Events: []store.Event{{Type: ivs.EventLimitBreach, Name: "Ingest Bitrate", Code: "C", At: now}}}}))
	_, err := w.db.Heartbeat(ctx, "n", now, []store.SessionState{{StreamID: id, Health: ivs.HealthHealthy, ViewerCount: 1}})
	must(t, err)
}

// createAll waits until no recording configuration is CREATING.
func (w *world) createAll(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	for {
		list, err := w.db.RecordingConfigurations().Pending(ctx, 1)
		must(t, err)
		if len(list) == 0 {
			break
		}
	}
	cancel()
	must(t, <-done)
}

// modelledErrors are the errors that the SDK expects of each operation.
func modelledErrors(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/ivs").Output()
	must(t, err)
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "deserializers.go"))
	must(t, err)
	function := regexp.MustCompile(`(?ms)^func awsRestjson1_deserializeOpError(\w+)\(.*?^}`)
	code := regexp.MustCompile(`EqualFold\("(\w+)", errorCode\)`)
	all := map[string][]string{}
	for _, f := range function.FindAllStringSubmatch(string(source), -1) {
		for _, c := range code.FindAllStringSubmatch(f[0], -1) {
			all[f[1]] = append(all[f[1]], c[1])
		}
	}
	return all
}

const mediaTailor = "arn:aws:mediatailor:us-west-2:123456789012:playbackConfiguration/demo"

// neverAnywhere are errors that no operation answers with, and neverAnswered those
// that one operation does not, and why.
var (
	neverAnywhere = map[string]string{
		"AccessDeniedException": "there are the root credentials only, which may do everything",
		"PendingVerification":   "accounts are not verified",
	}
	neverAnswered = map[string]string{
		"CreateAdConfiguration ConflictException":           "names may repeat, and nothing else could conflict",
		"CreateAdConfiguration ResourceNotFoundException":   "MediaTailor is not asked for what it has",
		"CreateRecordingConfiguration ConflictException":    "names and buckets may repeat",
		"ListPlaybackRestrictionPolicies ConflictException": "there are no filters that could conflict",
		"UpdatePlaybackRestrictionPolicy ConflictException": "a policy may be changed while it is in use",
	}
)

// Every error that the model gives an operation is answered by it, where the
// rules allow it at all.
func TestEveryModelledError(t *testing.T) {
	s := newErrorScene(t, engine(t))
	got := map[string]bool{}
	call := func(operation, body string) answer {
		a := s.call(operation, body)
		got[operation+" "+a.code(t)] = true
		return a
	}
	operations := slices.Sorted(maps.Keys(sdkOperations()))
	for _, c := range s.conflicts {
		call(c.operation, c.body)
	}
	for _, operation := range operations {
		call(operation, s.wrong(operation))
		call(operation, s.missing(operation))
		if !strings.HasPrefix(operation, "Delete") {
			call(operation, s.valid[operation]) // not live, or beyond the quota
		}
	}
	s.Live.InsertAdBreak = func(context.Context, string, string, time.Duration) error {
		return ivs.Errorf(ivs.Conflict, "one is running")
	}
	call("InsertAdBreak", strings.TrimSuffix(s.live, "}")+`,"durationSeconds":1}`)
	s.Live.StopStream = failWith(context.DeadlineExceeded)
	call("StopStream", s.live)
	inside, leave, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.Live.StopStream = func(context.Context, string) error {
		inside <- struct{}{}
		<-leave
		return nil
	}
	s.MaxCalls = 1
	go func() {
		defer close(left)
		s.call("StopStream", s.live)
	}()
	<-inside
	for _, operation := range operations {
		call(operation, s.valid[operation])
	}
	close(leave)
	<-left
	s.MaxCalls = 0
	s.Throttle, s.Now = true, func() time.Time { return t0 }
	for _, operation := range operations {
		for range 200 {
			if call(operation, s.wrong(operation)).status == 429 {
				break
			}
		}
	}
	s.Throttle = false
	must(t, s.close())
	for _, operation := range operations {
		call(operation, s.valid[operation])
	}

	for operation, codes := range modelledErrors(t) {
		for _, code := range codes {
			pair := operation + " " + code
			exempt := neverAnywhere[code] != "" || neverAnswered[pair] != ""
			if got[pair] == exempt {
				t.Errorf("%s: answered %v, exempt %v", pair, got[pair], exempt)
			}
		}
	}
}

// An errorScene is a server with one of everything, at its quotas.
type errorScene struct {
	*world
	t         *testing.T
	arn       map[string]string // by type
	live      string            // body that names a live channel
	valid     map[string]string // a body for each operation that breaks no constraint
	conflicts []struct{ operation, body string }
	close     func() error // closes the database
}

// ofType are the operations on one resource of a type, by the noun they end in.
var ofType = map[string]string{"Channel": "channel", "StreamKey": "stream-key", "PlaybackKeyPair": "playback-key",
	"RecordingConfiguration": "recording-configuration", "PlaybackRestrictionPolicy": "playback-restriction-policy", "AdConfiguration": "ad-configuration"}

func newErrorScene(t *testing.T, dsn string) *errorScene {
	db, err := store.Open(t.Context(), dsn) // will be closed before the test ends
	must(t, err)
	w := newWorldOn(t, db)
	w.AuthOff = true
	w.Quotas = api.Quotas{Channels: 2, RecordingConfigurations: 1, AdConfigurations: 1, PlaybackKeyPairs: 1, PlaybackRestrictionPolicies: 1}
	s := &errorScene{world: w, t: t, arn: map[string]string{}, close: sync.OnceValue(db.Close)}
	t.Cleanup(func() { s.close() })
	s.valid = map[string]string{ // the first four make one of each
		"CreateRecordingConfiguration":    `{"destinationConfiguration":{"s3":{"bucketName":"bucket"}}}`,
		"CreatePlaybackRestrictionPolicy": `{}`,
		"CreateAdConfiguration":           `{"mediaTailorPlaybackConfigurations":[{"playbackConfigurationArn":"` + mediaTailor + `"}]}`,
		"ImportPlaybackKeyPair":           `{"publicKeyMaterial":` + quote(newPublicKey(t)) + `}`,
	}
	find := regexp.MustCompile(`"arn":"(arn:aws:ivs:[a-z0-9-]+:[0-9]+:([a-z-]+)/[^"]+)"`)
	for operation, body := range s.valid {
		a := w.post(t, operation, body)
		m := find.FindSubmatch(a.body)
		if m == nil {
			t.Fatalf("%s = %s", operation, a.body)
		}
		s.arn[string(m[2])] = string(m[1])
	}
	w.createAll(t)
	s.valid["CreateChannel"] = `{"recordingConfigurationArn":"` + s.arn["recording-configuration"] + `","playbackRestrictionPolicyArn":"` +
		s.arn["playback-restriction-policy"] + `","adConfigurationArn":"` + s.arn["ad-configuration"] + `"}`
	s.arn["channel"], s.arn["stream-key"] = w.create(t, s.valid["CreateChannel"])
	other, _ := w.create(t, `{"adConfigurationArn":"`+s.arn["ad-configuration"]+`"}`)
	w.goLive(t, other, t0)
	s.live = `{"channelArn":"` + other + `"}`
	s.fillValid()

	conflict := func(operation, body string) {
		s.conflicts = append(s.conflicts, struct{ operation, body string }{operation, body})
	}
	conflict("ImportPlaybackKeyPair", s.valid["ImportPlaybackKeyPair"])
	conflict("UpdateChannel", `{"arn":"`+other+`"}`)
	conflict("DeleteChannel", `{"arn":"`+other+`"}`)
	conflict("ListChannels", `{"filterByName":"a","filterByAdConfigurationArn":"`+s.arn["ad-configuration"]+`"}`)
	for _, noun := range []string{"RecordingConfiguration", "PlaybackRestrictionPolicy", "AdConfiguration"} {
		conflict("Delete"+noun, s.valid["Delete"+noun])
	}
	s.valid["ImportPlaybackKeyPair"] = `{"publicKeyMaterial":` + quote(newPublicKey(t)) + `}`
	return s
}

// fillValid makes bodies for the operations that do not create.
func (s *errorScene) fillValid() {
	idle := `{"channelArn":"` + s.arn["channel"] + `"`
	for operation, shapes := range sdkOperations() {
		if s.valid[operation] != "" {
			continue
		}
		s.valid[operation] = `{}`
		for noun, typ := range ofType {
			if slices.Contains([]string{"Get" + noun, "Update" + noun, "Delete" + noun}, operation) {
				s.valid[operation] = `{"arn":"` + s.arn[typ] + `"}`
			}
		}
		if _, ok := shapes[0].FieldByName("ChannelArn"); ok {
			s.valid[operation] = idle + `}`
		}
	}
	s.valid["PutMetadata"] = idle + `,"metadata":"x"}`
	s.valid["InsertAdBreak"] = idle + `,"durationSeconds":1}`
	s.valid["StartViewerSessionRevocation"] = idle + `,"viewerId":"x"}`
	s.valid["BatchStartViewerSessionRevocation"] = `{"viewerSessions":[` + idle + `,"viewerId":"x"}]}`
	s.valid["BatchGetChannel"] = `{"arns":["` + s.arn["channel"] + `"]}`
	s.valid["BatchGetStreamKey"] = `{"arns":["` + s.arn["stream-key"] + `"]}`
	s.valid["TagResource"] = `{"tags":{"k":"v"}}`
}

// call sends body; that of a tag operation may be an ARN instead.
func (s *errorScene) call(operation, body string) answer {
	method := tagRoute[operation]
	if method == "" {
		return s.post(s.t, operation, body)
	}
	arn := s.arn["channel"]
	if strings.HasPrefix(body, "arn:") {
		arn, body = body, `{"tags":{}}`
	}
	return s.send(s.t, method, "/tags/"+arn+"?tagKeys=k", body)
}

func (s *errorScene) wrong(operation string) string {
	if tagRoute[operation] != "" {
		return "arn:nope"
	}
	return `[]`
}

// missing is the valid body with ARNs of nothing.
func (s *errorScene) missing(operation string) string {
	if tagRoute[operation] != "" {
		return s.arn["channel"] + "x"
	}
	body := s.valid[operation]
	for _, arn := range s.arn {
		body = strings.ReplaceAll(body, arn, arn+"x")
	}
	return body
}

func quote(s string) string {
	b, _ := json.Marshal(s) // strings always encode
	return string(b)
}

// newPublicKey is the public half of a new P-384 pair, in PEM.
func newPublicKey(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	return publicPEM(t, &key.PublicKey)
}

func publicPEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}
