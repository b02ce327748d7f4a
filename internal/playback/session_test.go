package playback

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/internal/access"
	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
)

// The name of a private session carries its grant, for its stream alone, and
// nothing of it can be changed.
func TestPrivateNames(t *testing.T) {
	n, other := newNames([]byte("a")), newNames([]byte("b"))
	private := func(arn, id string) stream {
		return ofSession(&live.Session{Channel: ivs.Channel{ARN: arn, Authorized: true}, StreamID: id})
	}
	s := private("arn", "st-1")
	for _, want := range []access.Grant{
		{},
		{MaxResolution: "HD", StrictOrigin: true},
		{StrictOrigin: true, Origins: []string{"https://a.example", "https://*.b.example"}},
		{Identity: audience.Identity{ViewerID: strings.Repeat("ü", 40), Version: 1<<63 - 1}, MaxResolution: "FULL_HD"},
		{Identity: audience.Identity{ViewerID: "v", Version: -1}, MaxResolution: "SD", StrictOrigin: true, Origins: []string{strings.Repeat("o", 1400)}},
	} {
		name := n.give(s, &want)
		number, got, ok := n.open(s, name)
		if !ok || cmp.Diff(&want, got, cmpopts.IgnoreUnexported(access.Grant{})) != "" {
			t.Errorf("%+v came back as %+v, %v", want, got, ok)
		}
		if again, _, _ := n.open(s, n.give(s, &want)); again == number {
			t.Error("two sessions have one number")
		}
		if len(want.ViewerID) > 8 && strings.Contains(name, base64.RawURLEncoding.EncodeToString([]byte(want.ViewerID))) {
			t.Errorf("%s shows the viewer", name)
		}
		for i := range name {
			changed := []byte(name)
			changed[i] ^= 1
			if _, _, ok := n.open(s, string(changed)); ok {
				t.Fatalf("character %d of %s can be changed", i, name)
			}
			if _, _, ok := n.open(s, name[:i]); ok {
				t.Fatalf("%s can be cut short to %d", name, i)
			}
		}
		for what, where := range map[string]stream{"channel": private("arn2", "st-1"), "stream": private("arn", "st-2")} {
			if _, _, ok := n.open(where, name); ok {
				t.Errorf("the name is good for another %s", what)
			}
		}
		if _, _, ok := other.open(s, name); ok {
			t.Error("the name is good under another key")
		}
	}
	public := n.give(ofSession(&live.Session{Channel: ivs.Channel{ARN: "arn"}}), &access.Grant{})
	for _, name := range []string{"", public, strings.Repeat("A", 64), strings.Repeat("A", 1<<16), "."} {
		if _, _, ok := n.open(s, name); ok {
			t.Errorf("%.80q is taken", name)
		}
	}
}

func FuzzGrant(f *testing.F) {
	f.Add((&access.Grant{MaxResolution: "HD", Identity: audience.Identity{ViewerID: "v", Version: 3}, StrictOrigin: true, Origins: []string{"https://a"}}).Encode())
	f.Add([]byte{0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 127})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := access.DecodeGrant(b)
		if err != nil {
			return
		}
		again, err := access.DecodeGrant(g.Encode())
		if err != nil || cmp.Diff(g, again, cmpopts.IgnoreUnexported(access.Grant{})) != "" {
			t.Errorf("%x: %+v, %+v, %v", b, g, again, err)
		}
	})
}

func BenchmarkPrivateName(b *testing.B) {
	b.ReportAllocs()
	n := newNames([]byte("a"))
	s := ofSession(&live.Session{Channel: ivs.Channel{ARN: "arn:aws:ivs:us-west-2:123456789012:channel/abcdefghijkl", Authorized: true}, StreamID: "st-1abcdefghijklmnopqrstuv"})
	name := n.give(s, &access.Grant{Identity: audience.Identity{ViewerID: "viewer-42", Version: 7}})
	for b.Loop() {
		if _, _, ok := n.open(s, name); !ok {
			b.Fatal("not ours")
		}
	}
}

// A rotation of the key ends no viewer session: names under the previous key are good
// as long as that is accepted.
func TestKeyRotates(t *testing.T) {
	signing, accepted := "old", []string{"old"}
	k := keyring{keys: func() (string, []string) { return signing, accepted }}
	for _, authorized := range []bool{false, true} {
		signing, accepted = "old", []string{"old"}
		s := ofSession(&live.Session{Channel: ivs.Channel{ARN: "arn", Authorized: authorized}, StreamID: "st-1"})
		before := k.give(s, &access.Grant{MaxResolution: "HD"})
		good := func(name string) bool {
			if authorized {
				_, grant, ok := k.open(s, name)
				return ok && grant.MaxResolution == "HD"
			}
			_, _, ok := k.check(s, name)
			return ok
		}
		signing, accepted = "new", []string{"new", "old"}
		after := k.give(s, &access.Grant{MaxResolution: "HD"})
		if !good(before) || !good(after) {
			t.Errorf("authorized %v: the name from before is good: %v, the one from after: %v", authorized, good(before), good(after))
		}
		accepted = []string{"new"}
		if good(before) || !good(after) {
			t.Errorf("authorized %v, in the end: the name from before is good: %v, the one from after: %v", authorized, good(before), good(after))
		}
	}
}
