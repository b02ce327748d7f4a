package api_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// What the real Go SDK sees from a channel's creation to its deletion.
func TestSDKChannelLife(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	created, err := w.ivs.CreateChannel(ctx, &awsivs.CreateChannelInput{Name: aws.String("demo"), Tags: map[string]string{"team": "a b"}})
	must(t, err)
	ch, key := created.Channel, created.StreamKey
	for what, tt := range map[string]struct{ got, pattern string }{
		"arn":            {*ch.Arn, `^arn:aws:ivs:us-west-2:123456789012:channel/[A-Za-z0-9]{12}$`},
		"playbackUrl":    {*ch.PlaybackUrl, `^https://live\.example\.com/api/video/v1/us-west-2\.123456789012\.channel\.[A-Za-z0-9]{12}\.m3u8$`},
		"ingestEndpoint": {*ch.IngestEndpoint, `^live\.example\.com$`},
		"srt endpoint":   {*ch.Srt.Endpoint, `^live\.example\.com$`},
		"passphrase":     {*ch.Srt.Passphrase, `^[A-Za-z0-9]{69}$`},
		"key arn":        {*key.Arn, `^arn:aws:ivs:us-west-2:123456789012:stream-key/[A-Za-z0-9]{12}$`},
		"key value":      {*key.Value, `^sk_us-west-2_` + (*key.Arn)[len(*key.Arn)-12:] + `_[A-Za-z0-9]{30}$`},
	} {
		if !regexp.MustCompile(tt.pattern).MatchString(tt.got) {
			t.Errorf("%s is %q, want %s", what, tt.got, tt.pattern)
		}
	}
	if ch.Type != types.ChannelTypeStandardChannelType || ch.LatencyMode != types.ChannelLatencyModeLowLatency ||
		ch.ContainerFormat != types.ContainerFormatTs || ch.Preset != "" || ch.Authorized || ch.InsecureIngest ||
		*ch.RecordingConfigurationArn != "" || *ch.PlaybackRestrictionPolicyArn != "" || *ch.MultitrackInputConfiguration != (types.MultitrackInputConfiguration{
		Policy: types.MultitrackPolicyAllow, MaximumResolution: types.MultitrackMaximumResolutionFullHd}) {
		t.Errorf("defaults: %+v", ch)
	}
	if want := map[string]string{"team": "a b"}; !maps.Equal(ch.Tags, want) || !maps.Equal(key.Tags, want) || *key.ChannelArn != *ch.Arn {
		t.Errorf("tags %v, key %+v", ch.Tags, key)
	}

	updated, err := w.ivs.UpdateChannel(ctx, &awsivs.UpdateChannelInput{Arn: ch.Arn, Type: types.ChannelTypeAdvancedHDChannelType, InsecureIngest: true})
	must(t, err)
	if u := updated.Channel; *u.Name != "demo" || u.Preset != types.TranscodePresetHigherBandwidthTranscodePreset || !u.InsecureIngest || *u.Srt.Passphrase != *ch.Srt.Passphrase {
		t.Errorf("updated: %+v", u)
	}
	got, err := w.ivs.GetChannel(ctx, &awsivs.GetChannelInput{Arn: ch.Arn})
	must(t, err)
	if got.Channel.Type != types.ChannelTypeAdvancedHDChannelType || !maps.Equal(got.Channel.Tags, ch.Tags) {
		t.Errorf("GetChannel = %+v", got.Channel)
	}
	_, err = w.ivs.DeleteChannel(ctx, &awsivs.DeleteChannelInput{Arn: ch.Arn})
	must(t, err)
	_, err = w.ivs.GetChannel(ctx, &awsivs.GetChannelInput{Arn: ch.Arn})
	notFound, ok := errors.AsType[*types.ResourceNotFoundException](err)
	if !ok || aws.ToString(notFound.ExceptionMessage) != "Resource: "+*ch.Arn+" not found" {
		t.Errorf("GetChannel of a deleted channel = %v", err)
	}
}

func TestSDKStreamKeys(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	created, err := w.ivs.CreateChannel(ctx, &awsivs.CreateChannelInput{})
	must(t, err)
	key := created.StreamKey
	_, err = w.ivs.CreateStreamKey(ctx, &awsivs.CreateStreamKeyInput{ChannelArn: created.Channel.Arn})
	if _, ok := errors.AsType[*types.ServiceQuotaExceededException](err); !ok {
		t.Errorf("second key: %v", err)
	}
	got, err := w.ivs.GetStreamKey(ctx, &awsivs.GetStreamKeyInput{Arn: key.Arn})
	if err != nil || *got.StreamKey.Value != *key.Value {
		t.Errorf("GetStreamKey = %v, %v", got, err)
	}
	other := *key.Arn + "x"
	batch, err := w.ivs.BatchGetStreamKey(ctx, &awsivs.BatchGetStreamKeyInput{Arns: []string{other, *key.Arn, other}})
	must(t, err)
	if len(batch.StreamKeys) != 1 || *batch.StreamKeys[0].Value != *key.Value || len(batch.Errors) != 1 || *batch.Errors[0].Arn != other || *batch.Errors[0].Code != "404" {
		t.Errorf("BatchGetStreamKey = %+v", batch)
	}
	list, err := w.ivs.ListStreamKeys(ctx, &awsivs.ListStreamKeysInput{ChannelArn: created.Channel.Arn})
	if err != nil || len(list.StreamKeys) != 1 || *list.StreamKeys[0].Arn != *key.Arn || list.NextToken != nil {
		t.Errorf("ListStreamKeys = %+v, %v", list, err)
	}
	_, err = w.ivs.DeleteStreamKey(ctx, &awsivs.DeleteStreamKeyInput{Arn: key.Arn})
	must(t, err)
	reset, err := w.ivs.CreateStreamKey(ctx, &awsivs.CreateStreamKeyInput{ChannelArn: created.Channel.Arn, Tags: map[string]string{"k": "v"}})
	if err != nil || *reset.StreamKey.Value == *key.Value || reset.StreamKey.Tags["k"] != "v" {
		t.Errorf("reset key = %+v, %v", reset, err)
	}
}

func TestSDKStreamLife(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	created, err := w.ivs.CreateChannel(ctx, &awsivs.CreateChannelInput{Name: aws.String("demo")})
	must(t, err)
	arn := created.Channel.Arn
	_, err = w.ivs.GetStream(ctx, &awsivs.GetStreamInput{ChannelArn: arn})
	if _, ok := errors.AsType[*types.ChannelNotBroadcasting](err); !ok {
		t.Errorf("GetStream of an idle channel: %v", err)
	}
	_, err = w.ivs.StopStream(ctx, &awsivs.StopStreamInput{ChannelArn: arn})
	if _, ok := errors.AsType[*types.ChannelNotBroadcasting](err); !ok {
		t.Errorf("StopStream of an idle channel: %v", err)
	}

	begin := time.Date(2026, 5, 1, 9, 3, 11, 987_000_000, time.UTC)
	id := w.goLive(t, *arn, begin)
	start := time.Date(2026, 5, 1, 9, 3, 12, 0, time.UTC) // to the second
	st, err := w.ivs.GetStream(ctx, &awsivs.GetStreamInput{ChannelArn: arn})
	must(t, err)
	if s := st.Stream; *s.StreamId != id || !s.StartTime.Equal(start) || s.State != types.StreamStateStreamLive ||
		s.Health != types.StreamHealthUnknown || *s.PlaybackUrl != *created.Channel.PlaybackUrl || s.ViewerCount != 0 {
		t.Errorf("GetStream = %+v", s)
	}
	streams, err := w.ivs.ListStreams(ctx, &awsivs.ListStreamsInput{FilterBy: &types.StreamFilters{Health: types.StreamHealthUnknown}})
	if err != nil || len(streams.Streams) != 1 || *streams.Streams[0].StreamId != id {
		t.Errorf("ListStreams = %+v, %v", streams, err)
	}
	for what, call := range map[string]func() error{
		"UpdateChannel": func() error {
			_, err := w.ivs.UpdateChannel(ctx, &awsivs.UpdateChannelInput{Arn: arn})
			return err
		},
		"DeleteChannel": func() error {
			_, err := w.ivs.DeleteChannel(ctx, &awsivs.DeleteChannelInput{Arn: arn})
			return err
		},
	} {
		if _, ok := errors.AsType[*types.ConflictException](call()); !ok {
			t.Errorf("%s of a live channel: %v", what, call())
		}
	}

	_, err = w.ivs.StopStream(ctx, &awsivs.StopStreamInput{ChannelArn: arn})
	must(t, err)
	session, err := w.ivs.GetStreamSession(ctx, &awsivs.GetStreamSessionInput{ChannelArn: arn})
	must(t, err)
	var names []string
	for _, e := range session.StreamSession.TruncatedEvents {
		names = append(names, *e.Name)
	}
	if want := []string{"Session Ended", "Stream End", "Stream Start", "Session Created"}; !slices.Equal(names, want) {
		t.Errorf("events %v, want %v", names, want)
	}
	if s := session.StreamSession; *s.Channel.Name != "demo" || *s.Channel.PlaybackUrl == "" || s.EndTime == nil ||
		*s.IngestConfiguration.Video.AvcProfile != "High" || *s.IngestConfigurations.VideoConfigurations[0].AvcProfile != "" {
		t.Errorf("GetStreamSession = %+v", s)
	}
	sessions, err := w.ivs.ListStreamSessions(ctx, &awsivs.ListStreamSessionsInput{ChannelArn: arn})
	if err != nil || len(sessions.StreamSessions) != 1 || *sessions.StreamSessions[0].StreamId != id || sessions.StreamSessions[0].HasErrorEvent {
		t.Errorf("ListStreamSessions = %+v, %v", sessions, err)
	}
}

func TestSDKPaginator(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	for i := range 7 {
		_, err := w.ivs.CreateChannel(ctx, &awsivs.CreateChannelInput{Name: aws.String(fmt.Sprintf("c%d", i%2))})
		must(t, err)
	}
	for filter, want := range map[string]int{"": 7, "c1": 3, "none": 0} {
		in := &awsivs.ListChannelsInput{MaxResults: aws.Int32(2)}
		if filter != "" {
			in.FilterByName = &filter
		}
		seen := map[string]bool{}
		for p := awsivs.NewListChannelsPaginator(w.ivs, in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			must(t, err)
			for _, c := range page.Channels {
				seen[*c.Arn] = true
			}
		}
		if len(seen) != want {
			t.Errorf("filter %q: %d channels, want %d", filter, len(seen), want)
		}
	}
}

func TestSDKTags(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	created, err := w.ivs.CreateChannel(ctx, &awsivs.CreateChannelInput{Tags: map[string]string{"a b": "1"}})
	must(t, err)
	arn := created.Channel.Arn
	_, err = w.ivs.TagResource(ctx, &awsivs.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"a b": "2", "c/d": "3", "e": ""}})
	must(t, err)
	_, err = w.ivs.UntagResource(ctx, &awsivs.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"c/d", "absent"}})
	must(t, err)
	list, err := w.ivs.ListTagsForResource(ctx, &awsivs.ListTagsForResourceInput{ResourceArn: arn})
	if want := map[string]string{"a b": "2", "e": ""}; err != nil || !maps.Equal(list.Tags, want) {
		t.Errorf("tags %v, %v; want %v", list, err, want)
	}
	_, err = w.ivs.ListTagsForResource(ctx, &awsivs.ListTagsForResourceInput{ResourceArn: aws.String(*arn + "x")})
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
		t.Errorf("tags of nothing: %v", err)
	}
}

// Regions do not see each other's resources, and the ARN says whose they are.
func TestSDKRegions(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	created, err := w.ivs.CreateChannel(ctx, &awsivs.CreateChannelInput{})
	must(t, err)
	other, _ := w.clients(keyID, secret, "eu-west-1")
	if list, err := other.ListChannels(ctx, &awsivs.ListChannelsInput{}); err != nil || len(list.Channels) != 0 {
		t.Errorf("the other region lists %v, %v", list, err)
	}
	_, err = other.GetChannel(ctx, &awsivs.GetChannelInput{Arn: created.Channel.Arn})
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
		t.Errorf("the other region gets %v", err)
	}
	batch, err := other.BatchGetChannel(ctx, &awsivs.BatchGetChannelInput{Arns: []string{*created.Channel.Arn}})
	if err != nil || len(batch.Channels) != 0 || len(batch.Errors) != 1 {
		t.Errorf("the other region's batch: %+v, %v", batch, err)
	}
}

func TestSDKCallerIdentity(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id, err := w.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || *id.Account != account || *id.Arn != "arn:aws:iam::123456789012:root" || *id.UserId != account {
		t.Errorf("GetCallerIdentity = %+v, %v", id, err)
	}
	_, stranger := w.clients("AKIDSTRANGER", secret, region)
	_, err = stranger.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "InvalidClientTokenId" || e.ErrorMessage() == "" {
		t.Errorf("a stranger's GetCallerIdentity: %v", err)
	}
	_, forger := w.clients(keyID, "wrong", region)
	_, err = forger.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "SignatureDoesNotMatch" {
		t.Errorf("a forger's GetCallerIdentity: %v", err)
	}
	_, err = w.sts.GetSessionToken(ctx, &sts.GetSessionTokenInput{})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "InvalidAction" {
		t.Errorf("another action: %v", err)
	}
}

// An SDK that sees the error for a wrong clock corrects its own by the Date
// header of the answer, and tries again.
func TestSDKCorrectsItsClock(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		w := newWorld(t)
		w.Now = func() time.Time { return time.Now().Add(off) }
		var calls atomic.Int32
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			rw.Header().Set("Date", w.Now().UTC().Format(http.TimeFormat))
			w.ServeHTTP(rw, r)
		}))
		defer srv.Close()
		opts := w.ivs.Options()
		opts.RetryMaxAttempts, opts.BaseEndpoint = 3, &srv.URL
		if _, err := awsivs.New(opts).ListChannels(t.Context(), &awsivs.ListChannelsInput{}); err != nil || calls.Load() != 2 {
			t.Errorf("a clock off by %v: %d calls, %v", off, calls.Load(), err)
		}
	}
}
