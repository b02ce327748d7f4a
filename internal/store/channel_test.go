package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func TestChannelKeepsEveryMember(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		want := newChannel(here, "all")
		want.LatencyMode, want.Type, want.Preset = ivs.LatencyNormal, ivs.TypeAdvancedHD, ivs.PresetConstrainedBandwidth
		want.Authorized, want.InsecureIngest = true, true
		want.RecordingConfigurationARN, want.PlaybackRestrictionPolicyARN, want.AdConfigurationARN = addResources(t, db)
		want.ContainerFormat = ivs.ContainerFMP4
		want.Multitrack = ivs.MultitrackInputConfiguration{Enabled: true, Policy: ivs.MultitrackRequire, MaximumResolution: ivs.ResolutionHD}
		want.Tags = map[string]string{"team": "ünïcode 'quotes' \"and\" more", "empty": ""}
		must(t, db.CreateChannel(t.Context(), want, newKey(here, want.ARN)))
		got, err := db.Channel(t.Context(), want.ARN)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Channel (-want +got):\n%s", diff)
		}
		list, next, err := db.ListChannels(t.Context(), here, store.ChannelFilter{}, store.Page{Max: 10})
		must(t, err)
		text, err := json.Marshal(want)
		must(t, err)
		var summary ivs.ChannelSummary // has some of the members
		must(t, json.Unmarshal(text, &summary))
		if diff := cmp.Diff([]ivs.ChannelSummary{summary}, list); diff != "" || next != "" {
			t.Errorf("ListChannels next %q (-want +got):\n%s", next, diff)
		}
	})
}

func TestUpdateChannel(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rec, policy, ad := addResources(t, db)
		c, _ := addChannel(t, db, here, "before")
		other, _ := addChannel(t, db, here, "other")
		change := func(c *ivs.Channel) error {
			c.Name, c.LatencyMode, c.Type, c.Preset = "after", ivs.LatencyNormal, ivs.TypeAdvancedSD, ivs.PresetHigherBandwidth
			c.Authorized, c.InsecureIngest, c.ContainerFormat = true, true, ivs.ContainerFMP4
			c.RecordingConfigurationARN, c.PlaybackRestrictionPolicyARN, c.AdConfigurationARN = rec, policy, ad
			c.Multitrack = ivs.MultitrackInputConfiguration{Policy: ivs.MultitrackAllow}
			return nil
		}
		want := c
		must(t, change(&want))
		got, err := db.UpdateChannel(t.Context(), c.ARN, change)
		must(t, err)
		stored, err := db.Channel(t.Context(), c.ARN)
		must(t, err)
		if diff := cmp.Diff([]ivs.Channel{want, want}, []ivs.Channel{got, stored}); diff != "" {
			t.Errorf("UpdateChannel returned and stored (-want +got):\n%s", diff)
		}

		stop := errors.New("no")
		_, err = db.UpdateChannel(t.Context(), c.ARN, func(c *ivs.Channel) error { c.Name = "never"; return stop })
		if stored, _ := db.Channel(t.Context(), c.ARN); !errors.Is(err, stop) || stored.Name != "after" {
			t.Errorf("refused change: %v, name %q", err, stored.Name)
		}
		if got, _ := db.Channel(t.Context(), other.ARN); got.Name != "other" {
			t.Errorf("the other channel became %q", got.Name)
		}
		_, err = db.UpdateChannel(t.Context(), c.ARN+"x", change)
		wantKind(t, "unknown channel", err, ivs.NotFound)
	})
}

func TestDeleteChannelTakesItsKey(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, k := addChannel(t, db, here, "")
		must(t, db.DeleteChannel(t.Context(), c.ARN))
		wantKind(t, "second DeleteChannel", db.DeleteChannel(t.Context(), c.ARN), ivs.NotFound)
		_, err := db.Channel(t.Context(), c.ARN)
		wantKind(t, "Channel", err, ivs.NotFound)
		_, err = db.StreamKey(t.Context(), k.ARN)
		wantKind(t, "StreamKey", err, ivs.NotFound)
		_, _, err = db.ChannelByStreamKey(t.Context(), k.Value, "a")
		wantKind(t, "ChannelByStreamKey", err, ivs.NotFound)
	})
}

func TestListChannelsFilters(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rec, policy, ad := addResources(t, db)
		for i := range 6 {
			c := newChannel(here, fmt.Sprintf("name%d", i%2))
			if i%3 == 0 {
				c.RecordingConfigurationARN, c.PlaybackRestrictionPolicyARN, c.AdConfigurationARN = rec, policy, ad
			}
			must(t, db.CreateChannel(t.Context(), c, newKey(here, c.ARN)))
		}
		addChannel(t, db, store.Scope{Account: here.Account, Region: "us-east-1"}, "name0")
		addChannel(t, db, store.Scope{Account: "210987654321", Region: here.Region}, "name0")
		for _, tt := range []struct {
			filter store.ChannelFilter
			want   int
		}{
			{store.ChannelFilter{}, 6},
			{store.ChannelFilter{Name: "name0"}, 3},
			{store.ChannelFilter{Name: "name"}, 0}, // exact, not a prefix
			{store.ChannelFilter{RecordingConfigurationARN: rec}, 2},
			{store.ChannelFilter{PlaybackRestrictionPolicyARN: policy}, 2},
			{store.ChannelFilter{AdConfigurationARN: ad}, 2},
			{store.ChannelFilter{AdConfigurationARN: rec}, 0},
		} {
			got := 0
			for p := (store.Page{Max: 2}); ; {
				list, next, err := db.ListChannels(t.Context(), here, tt.filter, p)
				must(t, err)
				got += len(list)
				if p.Token = next; next == "" {
					break
				}
			}
			if got != tt.want {
				t.Errorf("%+v lists %d channels, want %d", tt.filter, got, tt.want)
			}
		}
	})
}

func TestBatchesKeepTheOrderAskedFor(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c1, k1 := addChannel(t, db, here, "1")
		c2, k2 := addChannel(t, db, here, "2")
		channels, err := db.Channels(t.Context(), []string{c2.ARN, "none", c1.ARN, c2.ARN})
		must(t, err)
		keys, err := db.StreamKeys(t.Context(), []string{k2.ARN, "none", k1.ARN})
		must(t, err)
		if diff := cmp.Diff([]ivs.Channel{c2, c1}, channels); diff != "" {
			t.Errorf("Channels (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]ivs.StreamKey{k2, k1}, keys); diff != "" {
			t.Errorf("StreamKeys (-want +got):\n%s", diff)
		}
		if none, err := db.Channels(t.Context(), nil); err != nil || len(none) != 0 {
			t.Errorf("Channels of nothing = %v, %v", none, err)
		}
	})
}

func TestStreamKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, k := addChannel(t, db, here, "mine")
		got, rec, err := db.ChannelByStreamKey(t.Context(), k.Value, "a")
		if err != nil || got.ARN != c.ARN || rec != nil {
			t.Errorf("ChannelByStreamKey = %v, %v; want %s", got.ARN, err, c.ARN)
		}
		for _, bad := range []string{"", k.Value + "x", k.Value[:len(k.Value)-1], k.ARN, "'; DROP TABLE channels; --"} {
			_, _, err := db.ChannelByStreamKey(t.Context(), bad, "a")
			wantKind(t, "ChannelByStreamKey("+bad+")", err, ivs.NotFound)
		}
		recorded, _, _ := addResources(t, db)
		_, err = db.UpdateChannel(t.Context(), c.ARN, func(c *ivs.Channel) error { c.RecordingConfigurationARN = recorded; return nil })
		must(t, err)
		if _, rec, err := db.ChannelByStreamKey(t.Context(), k.Value, "a"); err != nil || rec == nil || rec.ARN != recorded {
			t.Errorf("ChannelByStreamKey of a channel that is recorded: %+v, %v; want %s", rec, err, recorded)
		}
		second := newKey(here, c.ARN)
		wantKind(t, "second key", db.CreateStreamKey(t.Context(), second), ivs.QuotaExceeded)
		wantKind(t, "key of no channel", db.CreateStreamKey(t.Context(), newKey(here, c.ARN+"x")), ivs.NotFound)

		must(t, db.DeleteStreamKey(t.Context(), k.ARN))
		wantKind(t, "second DeleteStreamKey", db.DeleteStreamKey(t.Context(), k.ARN), ivs.NotFound)
		must(t, db.CreateStreamKey(t.Context(), second))
		if list, next, err := db.ListStreamKeys(t.Context(), c.ARN, store.Page{Max: 1}); err != nil || next != "" || len(list) != 1 || list[0].ARN != second.ARN {
			t.Errorf("ListStreamKeys = %v, %q, %v", list, next, err)
		}
		_, _, err = db.ListStreamKeys(t.Context(), c.ARN+"x", store.Page{Max: 1})
		wantKind(t, "ListStreamKeys of no channel", err, ivs.NotFound)
	})
}

// A channel is found by its account and id in every region, and in no other
// account.
func TestChannelOfAccount(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for _, region := range []string{"eu-west-1", "us-west-2", "ap-south-1"} {
			c, _ := addChannel(t, db, store.Scope{Account: here.Account, Region: region}, "")
			id := c.ARN[strings.LastIndexByte(c.ARN, '/')+1:]
			if got, err := db.ChannelOfAccount(t.Context(), here.Account, id); err != nil || got.ARN != c.ARN {
				t.Errorf("ChannelOfAccount = %s, %v; want %s", got.ARN, err, c.ARN)
			}
			for _, other := range [][2]string{{"999999999999", id}, {here.Account, id + "x"}, {here.Account, "%"}, {"", ""}} {
				_, err := db.ChannelOfAccount(t.Context(), other[0], other[1])
				wantKind(t, "ChannelOfAccount", err, ivs.NotFound)
			}
		}
	})
}

func TestTags(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, k := addChannel(t, db, here, "")
		for _, arn := range []string{c.ARN, k.ARN} {
			must(t, db.UpdateTags(t.Context(), arn, func(tags map[string]string) error { tags["k"] = "v"; return nil }))
			got, err := db.Tags(t.Context(), arn)
			if diff := cmp.Diff(map[string]string{"k": "v"}, got); err != nil || diff != "" {
				t.Errorf("Tags(%s): %v (-want +got):\n%s", arn, err, diff)
			}
		}
		for _, arn := range []string{c.ARN + "x", "arn:aws:ivs:eu-west-1:123456789012:playback-key/x", "nope"} {
			_, err := db.Tags(t.Context(), arn)
			wantKind(t, "Tags("+arn+")", err, ivs.NotFound)
		}
	})
}
