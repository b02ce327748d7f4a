package ivs

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// Resource types in ARNs.
const (
	ChannelType                   = "channel"
	StreamKeyType                 = "stream-key"
	PlaybackKeyType               = "playback-key"
	RecordingConfigurationType    = "recording-configuration"
	PlaybackRestrictionPolicyType = "playback-restriction-policy"
	AdConfigurationType           = "ad-configuration"
)

// MaxARNLen is the maximum length of an ARN in API calls, in characters.
const MaxARNLen = 128

// An ARN names a resource: arn:aws:ivs:<region>:<account>:<type>/<id>.
type ARN struct {
	Region  string
	Account string // decimal digits
	Type    string // such as ChannelType
	ID      string // letters, digits and hyphens
}

func (a ARN) String() string {
	return "arn:aws:ivs:" + a.Region + ":" + a.Account + ":" + a.Type + "/" + a.ID
}

// ParseARN parses an ARN. It accepts what the patterns of the API's model do: [a-z0-9-]+
// for the region, [0-9]+ for the account, [a-zA-Z0-9-]+ for the id; the partition must be
// aws and the service ivs.
func ParseARN(s string) (a ARN, ok bool) {
	rest, ok := strings.CutPrefix(s, "arn:aws:ivs:")
	if !ok || len(s) > MaxARNLen {
		return ARN{}, false
	}
	var resource string
	a.Region, rest, _ = strings.Cut(rest, ":")
	a.Account, resource, _ = strings.Cut(rest, ":")
	a.Type, a.ID, _ = strings.Cut(resource, "/")
	ok = consists(a.Region, lower+digits+"-") && consists(a.Account, digits) &&
		consists(a.Type, lower+"-") && consists(a.ID, base62+"-")
	if !ok {
		return ARN{}, false
	}
	return a, true
}

const (
	digits = "0123456789"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	base62 = digits + upper + lower
)

// consists reports whether s has at least one character, all of them of set.
func consists(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// NewID makes the id of a new resource: 12 base62 characters.
func NewID() string { return random(12) }

// NewStreamID makes the id of a new stream: 26 characters that begin st-1.
func NewStreamID() string { return "st-1" + random(22) }

// newStreamKeyValue makes the secret of a stream key:
// sk_<region>_<id of its ARN>_<30 base62>. The last part is secret, about 178
// random bits.
func newStreamKeyValue(region, id string) string {
	return "sk_" + region + "_" + id + "_" + random(30)
}

// NewPassphrase makes an SRT passphrase. libsrt takes 10 to 79 characters.
func NewPassphrase() string { return random(69) }

// NewUUID makes a random (version 4) UUID, RFC 9562 section 5.4.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// random makes n uniformly distributed base62 characters.
func random(n int) string {
	const fair = 256 - 256%len(base62) // bytes from here on would favour the first characters
	out := make([]byte, 0, n)
	var b [32]byte
	for {
		rand.Read(b[:]) // never fails
		for _, v := range b {
			if len(out) == n {
				return string(out)
			}
			if int(v) < fair {
				out = append(out, base62[int(v)%len(base62)])
			}
		}
	}
}
