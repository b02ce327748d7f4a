package ivs_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
)

// Parts of events.
const (
	arn    = "arn:aws:ivs:eu-west-1:123456789012:channel/AbCdEfGhIjK1"
	stream = "st-1aaaaaaaaaaaaaaaaaaaaaa"
	head   = `{"version":"0","id":"0b3e3c5e-6f5f-4a35-9d0e-6a1f4f1c2d3e","detail-type":"`
	middle = `","source":"aws.ivs","account":"123456789012","time":"2026-05-01T09:03:05Z","region":"eu-west-1","resources":`
	about  = `["` + arn + `"],"detail":{`
	names  = `"channel_name":"talk","stream_id":"` + stream + `"`
)

// extra are the members of a JSON object.
func extra(text string) (m map[string]json.RawMessage) {
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		panic(err)
	}
	return m
}

func state(name string) string {
	return head + "IVS Stream State Change" + middle + about + `"event_name":"` + name + `",` + names
}

func limit(name string) string {
	return head + "IVS Limit Breach" + middle + about + `"limit_name":"` + name + `",`
}

const recording = head + "IVS Recording State Change" + middle + about + names + `,"recording_status":"`

// envelopes are events, and what they are as JSON.
var envelopes = []struct {
	event ivs.Event
	want  string
}{
	{ivs.Event{Type: ivs.EventStreamState, Name: ivs.SessionCreated}, state("Session Created") + "}}"},
	{ivs.Event{Type: ivs.EventStreamState, Name: ivs.StreamStart}, state("Stream Start") + "}}"},
	{ivs.Event{Type: ivs.EventStreamState, Name: ivs.StreamEnd}, state("Stream End") + "}}"},
	{ivs.Event{Type: ivs.EventStreamState, Name: ivs.SessionEnded}, state("Session Ended") + "}}"},
	{ivs.Event{Type: ivs.EventStreamState, Name: ivs.SessionEnded, Code: "MultitrackInputRequired"},
		state("Session Ended") + `,"code":"MultitrackInputRequired"}}`},
	{ivs.Event{Type: ivs.EventStreamState, Name: ivs.StreamTakeover}, state("Stream Takeover") + "}}"},
	{ivs.Event{Type: ivs.EventStreamState, Name: ivs.StreamTakeoverFailure, Code: "StreamTakeoverInvalidPriority"},
		state("Stream Takeover Failure") + `,"code":"StreamTakeoverInvalidPriority"}}`},
	{ivs.Event{Type: ivs.EventStreamState, Name: ivs.StreamFailure, Extra: extra(`{"reason":"Transcode capacity exceeded. Please try again."}`)},
		state("Stream Failure") + `,"reason":"Transcode capacity exceeded. Please try again."}}`},
	{ivs.Event{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart},
		head + "IVS Stream Health Change" + middle + about + `"event_name":"Starvation Start",` + names + "}}"},
	{ivs.Event{Type: ivs.EventStreamHealth, Name: ivs.StarvationEnd},
		head + "IVS Stream Health Change" + middle + about + `"event_name":"Starvation End",` + names + "}}"},
	{ivs.Event{Type: ivs.EventLimitBreach, Name: "Ingest Bitrate", Extra: extra(`{"limit_unit":"bits per second","limit_value":8500000,"exceeded_by":412345}`)},
		limit("Ingest Bitrate") + `"limit_value":8500000,"exceeded_by":412345,"limit_unit":"bits per second",` + names + "}}"},
	{ivs.Event{Type: ivs.EventLimitBreach, Name: "Ingest Resolution", Extra: extra(`{"limit_unit":"total pixels","limit_value":2100000,"exceeded_by":1586400}`)},
		limit("Ingest Resolution") + `"limit_value":2100000,"exceeded_by":1586400,"limit_unit":"total pixels",` + names + "}}"},
	{ivs.Event{Type: ivs.EventLimitBreach, Name: "Ingest Resolution", Extra: extra(`{"limit_unit":"pixels per edge","limit_value":1920,"exceeded_by":640}`)},
		limit("Ingest Resolution") + `"limit_value":1920,"exceeded_by":640,"limit_unit":"pixels per edge",` + names + "}}"},
	{ivs.Event{Type: ivs.EventAdBreakState, Name: ivs.AdBreakInserted, Extra: extra(`{"target_start_time":"2026-05-01T09:25:10Z","duration_seconds":30,"ad_break_id":"wFDQ2ygc1Km6"}`)},
		head + "IVS Ad Break State Change" + middle + about + `"event_name":"Ad Break Inserted",` + names +
			`,"ad_break_id":"wFDQ2ygc1Km6","duration_seconds":30,"target_start_time":"2026-05-01T09:25:10Z"}}`},
	{ivs.Event{Type: ivs.EventRecordingState, Name: ivs.RecordingEnd, Extra: extra(`{"recording_session_stream_ids":["st-1a","st-1b"],
			"recording_status_reason":"","recording_s3_bucket_name":"tapes","recording_s3_key_prefix":"ivs/v1/x","recording_duration_ms":70000,"recording_session_id":"qWeRtYuIoP12"}`)},
		recording + `Recording End","recording_status_reason":"","recording_s3_bucket_name":"tapes","recording_s3_key_prefix":"ivs/v1/x",` +
			`"recording_duration_ms":70000,"recording_session_id":"qWeRtYuIoP12","recording_session_stream_ids":["st-1a","st-1b"]}}`},
	{ivs.Event{Type: ivs.EventRecordingState, Name: ivs.RecordingStart, Extra: extra(`{"recording_session_stream_ids":["st-1a"],
			"recording_status_reason":"","recording_s3_bucket_name":"tapes","recording_s3_key_prefix":"ivs/v1/x","recording_duration_ms":0,"recording_session_id":"qWeRtYuIoP12"}`)},
		recording + `Recording Start","recording_status_reason":"","recording_s3_bucket_name":"tapes","recording_s3_key_prefix":"ivs/v1/x",` +
			`"recording_duration_ms":0,"recording_session_id":"qWeRtYuIoP12","recording_session_stream_ids":["st-1a"]}}`},
	{ivs.Event{Type: ivs.EventRecordingState, Name: ivs.RecordingEndFailure, Extra: extra(`{"recording_status_reason":"InternalServerException",
			"recording_s3_bucket_name":"tapes","recording_s3_key_prefix":"ivs/v1/x","recording_duration_ms":7000,"recording_session_id":"qWeRtYuIoP12"}`)},
		recording + `Recording End Failure","recording_status_reason":"InternalServerException","recording_s3_bucket_name":"tapes","recording_s3_key_prefix":"ivs/v1/x",` +
			`"recording_duration_ms":7000,"recording_session_id":"qWeRtYuIoP12"}}`},
	{ivs.Event{Type: ivs.EventRecordingState, Name: ivs.RecordingStartFailure, Extra: extra(`{"recording_status_reason":"ValidationException",
			"recording_s3_bucket_name":"tapes","recording_s3_key_prefix":"","recording_duration_ms":0,"recording_session_id":"qWeRtYuIoP12"}`)},
		recording + `Recording Start Failure","recording_status_reason":"ValidationException","recording_s3_bucket_name":"tapes","recording_s3_key_prefix":"",` +
			`"recording_duration_ms":0,"recording_session_id":"qWeRtYuIoP12"}}`},
}

// Every kind of event, byte for byte as EventBridge delivers it.
func TestEventEnvelope(t *testing.T) {
	for _, tt := range envelopes {
		e := tt.event
		e.ID, e.Account, e.Region = "0b3e3c5e-6f5f-4a35-9d0e-6a1f4f1c2d3e", "123456789012", "eu-west-1"
		e.ChannelARN, e.Channel, e.StreamID = arn, "talk", stream
		e.Time = time.Date(2026, 5, 1, 11, 3, 5, 999e6, time.FixedZone("CEST", 7200))
		got, err := json.Marshal(e)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.Name, diff)
		}
	}
}

// An event of a whole account is about no resource, and names no stream.
func TestAccountEventEnvelope(t *testing.T) {
	for name, unit := range map[string]string{"Concurrent Broadcasts": "active streams", "Concurrent Viewers": "viewers"} {
		e := ivs.Event{ID: "u", Type: ivs.EventLimitBreach, Name: name, Account: "123456789012", Region: "eu-west-1", Time: time.Unix(0, 0), Extra: map[string]json.RawMessage{
			"limit_value": json.RawMessage("100"), "exceeded_by": json.RawMessage(" 1 "), "limit_unit": json.RawMessage(`"` + unit + `"`)}}
		got, err := json.Marshal(e)
		want := `{"version":"0","id":"u","detail-type":"IVS Limit Breach","source":"aws.ivs","account":"123456789012","time":"1970-01-01T00:00:00Z","region":"eu-west-1",` +
			`"resources":[],"detail":{"limit_name":"` + name + `","limit_value":100,"exceeded_by":1,"limit_unit":"` + unit + `"}}`
		if err != nil || string(got) != want {
			t.Errorf("%s:\n got %s, %v\nwant %s", name, got, err, want)
		}
	}
}

// Members that AWS does not know come last; an unnamed channel has an empty
// name.
func TestEventDetailOfOurOwn(t *testing.T) {
	e := ivs.Event{Type: "IVS Something Else", Name: "N", ChannelARN: "arn:x", StreamID: "s", Extra: map[string]json.RawMessage{"b": json.RawMessage("1"), "a": json.RawMessage("[]")}}
	got, err := e.Detail()
	if want := `{"a":[],"b":1,"channel_name":"","event_name":"N","stream_id":"s"}`; err != nil || string(got) != want {
		t.Errorf("Detail = %s, %v, want %s", got, err, want)
	}
	e.Type = ivs.EventStreamState
	got, err = e.Detail()
	if want := `{"event_name":"N","channel_name":"","stream_id":"s","a":[],"b":1}`; err != nil || string(got) != want {
		t.Errorf("Detail = %s, %v, want %s", got, err, want)
	}
	e.Extra["broken"] = json.RawMessage("{")
	if got, err := e.Detail(); err == nil {
		t.Errorf("Detail with a member that is no JSON = %s", got)
	}
}
