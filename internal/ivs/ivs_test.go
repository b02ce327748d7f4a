package ivs

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseARN(t *testing.T) {
	for _, tt := range []struct {
		arn  string
		want ARN
		ok   bool
	}{
		{"arn:aws:ivs:us-west-2:123456789012:channel/fSImSuhUEoE8", ARN{"us-west-2", "123456789012", "channel", "fSImSuhUEoE8"}, true},
		{"arn:aws:ivs:us-west-2:1:playback-key/f99cde61-c2b0-4df3-8941-ca7d38acca1a", ARN{"us-west-2", "1", "playback-key", "f99cde61-c2b0-4df3-8941-ca7d38acca1a"}, true},
		{"arn:aws:ivs:r:1:channel/" + strings.Repeat("x", 104), ARN{"r", "1", "channel", strings.Repeat("x", 104)}, true},
		{"arn:aws:ivs:r:1:channel/" + strings.Repeat("x", 105), ARN{}, false}, // 129 characters
		{"", ARN{}, false},
		{"arn:aws:ivs:us-west-2:123456789012:channel/", ARN{}, false},
		{"arn:aws:ivs:us-west-2:123456789012:channel", ARN{}, false},
		{"arn:aws:ivs:us-west-2::channel/x", ARN{}, false},
		{"arn:aws:ivs::1:channel/x", ARN{}, false},
		{"arn:aws:ivs:US:1:channel/x", ARN{}, false},
		{"arn:aws:ivs:r:a:channel/x", ARN{}, false},
		{"arn:aws:ivs:r:1:Channel/x", ARN{}, false},
		{"arn:aws:ivs:r:1:channel/x/y", ARN{}, false},
		{"arn:aws:ivs:r:1:channel/x y", ARN{}, false},
		{"arn:aws:ivs:r:1:channel/x\n", ARN{}, false},
		{"arn:aws-cn:ivs:r:1:channel/x", ARN{}, false},
		{"arn:aws:s3:r:1:channel/x", ARN{}, false},
	} {
		got, ok := ParseARN(tt.arn)
		if got != tt.want || ok != tt.ok {
			t.Errorf("ParseARN(%q) = %+v, %v; want %+v, %v", tt.arn, got, ok, tt.want, tt.ok)
		}
		if ok && got.String() != tt.arn {
			t.Errorf("%q prints as %q", tt.arn, got)
		}
	}
}

func FuzzParseARN(f *testing.F) {
	f.Add("arn:aws:ivs:us-west-2:123456789012:channel/fSImSuhUEoE8")
	f.Add("arn:aws:ivs:::/")
	pattern := regexp.MustCompile(`^arn:aws:ivs:[a-z0-9-]+:[0-9]+:[a-z-]+/[a-zA-Z0-9-]+$`)
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := ParseARN(s)
		if want := len(s) <= MaxARNLen && pattern.MatchString(s) && !strings.HasSuffix(s, "\n"); ok != want {
			t.Errorf("ParseARN(%q) = %v, the pattern says %v", s, ok, want)
		}
		if ok && a.String() != s {
			t.Errorf("%q prints as %q", s, a)
		}
	})
}

func TestNewIDs(t *testing.T) {
	for name, tt := range map[string]struct {
		make    func() string
		pattern string
	}{
		"id":         {NewID, `^[0-9A-Za-z]{12}$`},
		"stream id":  {NewStreamID, `^st-1[0-9A-Za-z]{22}$`},
		"key value":  {func() string { return newStreamKeyValue("us-west-2", "abcdefghijkl") }, `^sk_us-west-2_abcdefghijkl_[0-9A-Za-z]{30}$`},
		"passphrase": {NewPassphrase, `^[0-9A-Za-z]{69}$`},
		"uuid":       {NewUUID, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`},
	} {
		pattern, seen := regexp.MustCompile(tt.pattern), map[string]bool{}
		for range 1000 {
			id := tt.make()
			if !pattern.MatchString(id) || seen[id] {
				t.Errorf("%s %q (seen: %v) does not match %s", name, id, seen[id], tt.pattern)
			}
			seen[id] = true
		}
	}
}

// Each of the 62 characters is as likely as the others.
func TestRandomIsUniform(t *testing.T) {
	const n = 62 * 2000
	count := map[rune]int{}
	for _, c := range random(n) {
		count[c]++
	}
	if len(count) != 62 {
		t.Errorf("%d different characters", len(count))
	}
	for c, got := range count {
		if got < 1700 || got > 2300 { // 2000 ± 6.7 standard deviations
			t.Errorf("%c came %d times of %d", c, got, n)
		}
	}
}

// No kind lacks its row, and no two are the same on the wire.
func TestKindsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for k := range numKinds {
		if k.Code() == "" || k.Status() < 400 || k.Status() > 599 || seen[k.Code()] {
			t.Errorf("kind %d is %q, %d", k, k.Code(), k.Status())
		}
		seen[k.Code()] = true
	}
	if len(kinds) != int(numKinds) {
		t.Errorf("%d rows for %d kinds", len(kinds), numKinds)
	}
}

func TestPublicTellsNothingOfTheInside(t *testing.T) {
	notFound := NoSuch("x")
	for _, tt := range []struct {
		err  error
		kind Kind
		msg  string
	}{
		{notFound, NotFound, "Resource: x not found"},
		{fmt.Errorf("store: Channel(x): %w", notFound), NotFound, "Resource: x not found"},
		{errors.New("SELECT secret"), Internal, "An internal error occurred"},
		{fmt.Errorf("outer: %w", Errorf(Internal, "disk /dev/sda")), Internal, "An internal error occurred"},
	} {
		kind, msg := Public(tt.err)
		if kind != tt.kind || !strings.HasPrefix(msg, tt.msg) {
			t.Errorf("Public(%v) = %v %q, want %v %q", tt.err, kind, msg, tt.kind, tt.msg)
		}
	}
	if !Is(fmt.Errorf("x: %w", notFound), NotFound) || Is(notFound, Conflict) || Is(errors.New("x"), Internal) || Is(nil, NotFound) {
		t.Error("Is is wrong")
	}
}

func TestTimeJSON(t *testing.T) {
	cet := time.FixedZone("CET", 3600)
	for _, tt := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 5, 1, 9, 3, 12, 0, time.UTC), `"2026-05-01T09:03:12Z"`},
		{time.Date(2026, 5, 1, 9, 3, 12, 999_999_999, time.UTC), `"2026-05-01T09:03:12Z"`},
		{time.Date(2026, 5, 1, 0, 3, 12, 0, cet), `"2026-04-30T23:03:12Z"`},
	} {
		b, err := json.Marshal(Time{tt.at})
		if err != nil || string(b) != tt.want {
			t.Errorf("%v = %s, %v; want %s", tt.at, b, err, tt.want)
		}
		var back Time
		if err := json.Unmarshal(b, &back); err != nil || !back.Equal(tt.at.Truncate(time.Second)) {
			t.Errorf("%s reads back as %v, %v", b, back, err)
		}
	}
}

// What the API leaves out and what it shows empty.
func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		v    any
		want string
	}{
		{Channel{Tags: map[string]string{}}, `{"arn":"","name":"","latencyMode":"","type":"","recordingConfigurationArn":"","ingestEndpoint":"",` +
			`"playbackUrl":"","authorized":false,"insecureIngest":false,"preset":"","playbackRestrictionPolicyArn":"","adConfigurationArn":"",` +
			`"containerFormat":"","multitrackInputConfiguration":{"enabled":false,"policy":"","maximumResolution":""},"srt":{"endpoint":"","passphrase":""},"tags":{}}`},
		{StreamSessionSummary{StreamID: "s"}, `{"streamId":"s","hasErrorEvent":false}`},
		{StreamEvent{Name: "n", Type: "t"}, `{"name":"n","type":"t","eventTime":"0001-01-01T00:00:00Z"}`},
		{IngestConfiguration{Audio: AudioConfiguration{Codec: "mp4a.40.2"}}, `{"audio":{"codec":"mp4a.40.2","targetBitrate":0,"sampleRate":0,"channels":0,"track":""}}`},
		{RecordingConfiguration{Tags: map[string]string{}}, `{"arn":"","name":"","destinationConfiguration":{"s3":{"bucketName":""}},"state":"","tags":{},"recordingReconnectWindowSeconds":0}`},
	} {
		if b, err := json.Marshal(tt.v); err != nil || string(b) != tt.want {
			t.Errorf("%T = %s, %v; want %s", tt.v, b, err, tt.want)
		}
	}
}

func TestFirstIngestConfiguration(t *testing.T) {
	if got := (IngestConfigurations{}).First(); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
	all := IngestConfigurations{
		Video: []VideoConfiguration{{Profile: "High", Level: "4.2", Track: "track0"}, {Profile: "Main", Track: "track1"}},
		Audio: []AudioConfiguration{{Channels: 2}},
	}
	want := IngestConfiguration{Video: VideoConfiguration{AVCProfile: "High", AVCLevel: "4.2", Profile: "High", Level: "4.2", Track: "track0"}, Audio: AudioConfiguration{Channels: 2}}
	if got := all.First(); got == nil || *got != want || all.Video[0].AVCProfile != "" {
		t.Errorf("First = %+v, of %+v", got, all)
	}
}

func TestEndpoints(t *testing.T) {
	e := Endpoints{PublicURL: "http://h:8080/", IngestHost: "in.example.com"}
	c := Channel{ARN: "arn:aws:ivs:eu-west-1:1:channel/abc", SRT: SRT{Passphrase: "p"}}
	e.Fill(&c)
	if c.PlaybackURL != "http://h:8080/api/video/v1/eu-west-1.1.channel.abc.m3u8" || c.IngestEndpoint != "in.example.com" || c.SRT != (SRT{"in.example.com", "p"}) {
		t.Errorf("filled: %+v", c)
	}
	if want := (MultitrackInputConfiguration{false, MultitrackAllow, ResolutionFullHD}); c.Multitrack != want {
		t.Errorf("multitrack = %+v, want %+v", c.Multitrack, want)
	}
	c.Multitrack = MultitrackInputConfiguration{true, MultitrackRequire, ResolutionSD}
	if e.Fill(&c); c.Multitrack != (MultitrackInputConfiguration{true, MultitrackRequire, ResolutionSD}) {
		t.Errorf("multitrack that was specified = %+v", c.Multitrack)
	}
	if got := e.PlaybackURL("nope"); got != "" {
		t.Errorf("PlaybackURL of no ARN = %q", got)
	}
}

func TestWhichEventsAreErrors(t *testing.T) {
	for e, want := range map[StreamEvent]bool{
		{Name: StreamStart, Type: EventStreamState}:              false,
		{Name: SessionEnded, Type: EventStreamState, Code: "x"}:  false,
		{Name: StarvationStart, Type: EventStreamHealth}:         false,
		{Name: StreamTakeoverFailure, Type: EventStreamState}:    false,
		{Name: StreamFailure, Type: EventStreamState}:            true,
		{Name: RecordingStartFailure, Type: EventRecordingState}: true,
		{Name: RecordingEndFailure, Type: EventRecordingState}:   true,
		{Name: "Ingest Bitrate", Type: EventLimitBreach}:         true,
		{Name: "Concurrent Broadcasts", Type: EventLimitBreach}:  true,
	} {
		if e.IsError() != want {
			t.Errorf("%+v is an error: %v", e, !want)
		}
	}
}
