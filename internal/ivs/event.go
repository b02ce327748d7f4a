package ivs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// EventSource is the source of IVS events.
const EventSource = "aws.ivs"

// An Event is an event as EventBridge delivers it: its JSON encoding is the envelope, with
// the members in the order that AWS documents.
type Event struct {
	ID         string // UUID
	Type       string // such as EventStreamState: detail-type
	Name       string // such as StreamStart; the limit's name for a breach
	Code       string // why, where there is a code for it
	Account    string
	Region     string
	ChannelARN string // "" for events of a whole account, which have no stream either
	Channel    string // the channel's name
	StreamID   string
	Time       time.Time                  // shown in UTC, cut to the second
	Extra      map[string]json.RawMessage // further members of the detail; may be nil
}

// detailOrder is the order of a detail's members by type of event.
var detailOrder = map[string][]string{
	EventStreamState:  {"event_name", "channel_name", "stream_id", "reason", "code"},
	EventStreamHealth: {"event_name", "channel_name", "stream_id"},
	EventLimitBreach:  {"limit_name", "limit_value", "exceeded_by", "limit_unit", "channel_name", "stream_id"},
	EventRecordingState: {"channel_name", "stream_id", "recording_status", "recording_status_reason", "recording_s3_bucket_name",
		"recording_s3_key_prefix", "recording_duration_ms", "recording_session_id", "recording_session_stream_ids"},
	EventAdBreakState: {"event_name", "channel_name", "stream_id", "ad_break_id", "duration_seconds", "target_start_time"},
}

// nameMember is where a detail shows Event.Name, where that is not event_name.
var nameMember = map[string]string{
	EventLimitBreach:    "limit_name",
	EventRecordingState: "recording_status",
}

// Resources returns the ARNs that e is about, never nil.
func (e Event) Resources() []string {
	if e.ChannelARN == "" {
		return []string{}
	}
	return []string{e.ChannelARN}
}

// Detail returns the detail of e as JSON. Members that AWS does not document come last,
// by name.
func (e Event) Detail() ([]byte, error) {
	members := maps.Clone(e.Extra)
	if members == nil {
		members = map[string]json.RawMessage{}
	}
	text := func(name, value string) { members[name], _ = json.Marshal(value) } // strings always encode
	text(cmp.Or(nameMember[e.Type], "event_name"), e.Name)
	if e.ChannelARN != "" {
		text("channel_name", e.Channel)
		text("stream_id", e.StreamID)
	}
	if e.Code != "" {
		text("code", e.Code)
	}
	var b bytes.Buffer
	for _, name := range detailMembers(e.Type, members) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + name + `":`)
		if err := json.Compact(&b, members[name]); err != nil {
			return nil, err
		}
	}
	return []byte("{" + b.String() + "}"), nil
}

// detailMembers are the names of members, in their order.
func detailMembers(eventType string, members map[string]json.RawMessage) (names []string) {
	for _, name := range detailOrder[eventType] {
		if _, ok := members[name]; ok {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// MarshalJSON returns the envelope.
func (e Event) MarshalJSON() ([]byte, error) {
	detail, err := e.Detail()
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Version    string          `json:"version"`
		ID         string          `json:"id"`
		DetailType string          `json:"detail-type"`
		Source     string          `json:"source"`
		Account    string          `json:"account"`
		Time       Time            `json:"time"`
		Region     string          `json:"region"`
		Resources  []string        `json:"resources"`
		Detail     json.RawMessage `json:"detail"`
	}{"0", e.ID, e.Type, EventSource, e.Account, Time{Time: e.Time}, e.Region, e.Resources(), detail})
}
