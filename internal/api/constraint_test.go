package api_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// tags is a JSON object of n tags.
func tags(n int) string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprintf("k%d", i)] = "v"
	}
	b, _ := json.Marshal(m)
	return string(b)
}

// list is a JSON array of n copies of s.
func list(n int, s string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(`"`+s+`",`, n), ",") + "]"
}

// A constraint is a call and what it is answered. In the body, CH stands for a
// channel's ARN, KEY for its key's and LIVE for that of a channel that is live.
type constraint struct {
	operation, body string
	code            string // "" means that the call succeeds
	says            string // in the message
}

const (
	foreignARN = "arn:aws:ivs:us-west-2:999999999999:channel/abcdefghijkl"
	rec        = "arn:aws:ivs:us-west-2:123456789012:recording-configuration/abcdefghijkl"
	policy     = "arn:aws:ivs:us-west-2:123456789012:playback-restriction-policy/abcdefghijkl"
	ad         = "arn:aws:ivs:us-west-2:123456789012:ad-configuration/abcdefghijkl"

	invalid  = "ValidationException"
	missing  = "ResourceNotFoundException"
	conflict = "ConflictException"
	quota    = "ServiceQuotaExceededException"
	offline  = "ChannelNotBroadcasting"

	tailor = `{"playbackConfigurationArn":"` + mediaTailor + `"}`
)

var n128 = strings.Repeat("n", 128)

// bucket is a recording configuration with the JSON of a bucket's name.
func bucket(name, more string) string {
	return `{"destinationConfiguration":{"s3":{"bucketName":` + name + `}}` + more + `}`
}

// sessions is a revocation of n viewer sessions.
func sessions(n int, s string) string {
	return `{"viewerSessions":[` + strings.TrimSuffix(strings.Repeat(s+",", n), ",") + `]}`
}

// Every constraint of every member: at the limit, beyond it, empty, of a wrong
// type.
func TestConstraints(t *testing.T) {
	w := newOpenWorld(t)
	channelARN, keyARN := w.create(t, `{}`)
	liveARN, _ := w.create(t, `{}`)
	w.goLive(t, liveARN, t0)
	arns := strings.NewReplacer(`"CH`, `"`+channelARN, `"KEY`, `"`+keyARN, `"LIVE"`, `"`+liveARN+`"`)
	for _, group := range []struct {
		name        string
		constraints []constraint
	}{
		{"channels", channelConstraints},
		{"references and tags", referenceConstraints},
		{"ARNs and key pairs", arnConstraints(t)},
		{"recording configurations", recordingConstraints},
		{"policies, ads and revocations", policyConstraints},
		{"streams and lists", streamConstraints},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.constraints {
				c.check(t, w.post(t, c.operation, arns.Replace(c.body)))
			}
		})
	}
}

func (c constraint) check(t *testing.T, a answer) {
	name := c.operation + " " + c.body
	if len(name) > 120 {
		name = name[:120]
	}
	if c.code == "" {
		if a.status != 200 {
			t.Errorf("%s = %d %s", name, a.status, a.body)
		}
		return
	}
	if got := a.code(t); got != c.code || a.status != statusOf[c.code] || !strings.Contains(string(a.body), c.says) || strings.Contains(string(a.body), "Members") {
		t.Errorf("%s = %d %s, want %s saying %q", name, a.status, a.body, c.code, c.says)
	}
}

// channelConstraints are those of the members of a channel.
var channelConstraints = []constraint{
	// The body as a whole.
	{"CreateChannel", ``, "", ""},
	{"CreateChannel", `{}`, "", ""},
	{"CreateChannel", `null`, "", ""},
	{"CreateChannel", `{"unknown":{"deep":[1,2]},"name":"x"}`, "", ""},
	{"CreateChannel", `[]`, invalid, "JSON object"},
	{"CreateChannel", `"x"`, invalid, "JSON object"},
	{"CreateChannel", `{`, invalid, "not valid JSON"},
	{"CreateChannel", `{} {}`, invalid, "not valid JSON"},
	{"CreateChannel", `{"name":"` + "\x01" + `"}`, invalid, "not valid JSON"},

	// name
	{"CreateChannel", `{"name":""}`, "", ""},
	{"CreateChannel", `{"name":null}`, "", ""},
	{"CreateChannel", `{"name":"aZ09-_"}`, "", ""},
	{"CreateChannel", `{"name":"` + n128 + `"}`, "", ""},
	{"CreateChannel", `{"name":"` + n128 + `n"}`, invalid, "name must be"},
	{"CreateChannel", `{"name":"a b"}`, invalid, "name must be"},
	{"CreateChannel", `{"name":"ü"}`, invalid, "name must be"},
	{"CreateChannel", `{"name":"a\u0000"}`, invalid, "name has a string that is not Unicode text, or has a NUL"},
	{"CreateChannel", `{"name":"a","name":"b"}`, invalid, "has the member"},
	{"CreateChannel", `{"name":"a","Name":"b"}`, invalid, "has the member"},
	{"CreateChannel", `{"name":1}`, invalid, "name must not be a JSON number"},
	{"CreateChannel", `{"name":{}}`, invalid, "name must not be a JSON object"},

	// enumerations and flags
	{"CreateChannel", `{"latencyMode":"NORMAL"}`, "", ""},
	{"CreateChannel", `{"latencyMode":"low"}`, invalid, "latencyMode must be one of LOW, NORMAL"},
	{"CreateChannel", `{"latencyMode":""}`, invalid, "latencyMode"},
	{"CreateChannel", `{"type":"BASIC"}`, "", ""},
	{"CreateChannel", `{"type":"PREMIUM"}`, invalid, "type must be one of"},
	{"CreateChannel", `{"type":""}`, invalid, "type must be one of"},
	{"CreateChannel", `{"type":true}`, invalid, "type must not be a JSON bool"},
	{"CreateChannel", `{"authorized":"yes"}`, invalid, "authorized must not be a JSON string"},
	{"CreateChannel", `{"insecureIngest":1}`, invalid, "insecureIngest must not be a JSON number"},
	{"CreateChannel", `{"containerFormat":"FRAGMENTED_MP4"}`, "", ""},
	{"CreateChannel", `{"containerFormat":"MP4"}`, invalid, "containerFormat must be one of"},

	// preset
	{"CreateChannel", `{"type":"ADVANCED_SD","preset":"CONSTRAINED_BANDWIDTH_DELIVERY"}`, "", ""},
	{"CreateChannel", `{"type":"ADVANCED_SD","preset":""}`, "", ""},
	{"CreateChannel", `{"type":"STANDARD","preset":""}`, "", ""},
	{"CreateChannel", `{"type":"STANDARD","preset":"HIGHER_BANDWIDTH_DELIVERY"}`, invalid, "preset applies only"},
	{"CreateChannel", `{"preset":"HIGHER_BANDWIDTH_DELIVERY"}`, invalid, "preset applies only"},
	{"CreateChannel", `{"type":"ADVANCED_HD","preset":"BEST"}`, invalid, "preset must be one of"},
}

// referenceConstraints are those of what a channel refers to, multitrack input and tags.
var referenceConstraints = []constraint{
	// what a channel refers to
	{"CreateChannel", `{"recordingConfigurationArn":"","playbackRestrictionPolicyArn":"","adConfigurationArn":""}`, "", ""},
	{"CreateChannel", `{"recordingConfigurationArn":"` + rec + `"}`, missing, "Resource: " + rec},
	{"CreateChannel", `{"playbackRestrictionPolicyArn":"` + policy + `"}`, missing, "Resource: " + policy},
	{"CreateChannel", `{"adConfigurationArn":"` + ad + `"}`, missing, "Resource: " + ad},
	{"CreateChannel", `{"recordingConfigurationArn":"` + policy + `"}`, invalid, "recordingConfigurationArn must be empty or an ARN"},
	{"CreateChannel", `{"adConfigurationArn":"none"}`, invalid, "adConfigurationArn must be empty or an ARN"},

	// multitrackInputConfiguration
	{"CreateChannel", `{"multitrackInputConfiguration":{}}`, "", ""},
	{"CreateChannel", `{"multitrackInputConfiguration":null}`, "", ""},
	{"CreateChannel", `{"multitrackInputConfiguration":[]}`, invalid, "multitrackInputConfiguration must not be a JSON array"},
	{"CreateChannel", `{"multitrackInputConfiguration":{"enabled":"yes"}}`, invalid, "multitrackInputConfiguration.enabled must not be"},
	{"CreateChannel", `{"multitrackInputConfiguration":{"policy":"DENY"}}`, invalid, "multitrackInputConfiguration.policy must be one of ALLOW, REQUIRE"},
	{"CreateChannel", `{"multitrackInputConfiguration":{"maximumResolution":"UHD"}}`, invalid, "maximumResolution must be one of"},
	{"CreateChannel", `{"containerFormat":"FRAGMENTED_MP4","multitrackInputConfiguration":{"enabled":true,"policy":"ALLOW","maximumResolution":"HD"}}`, "", ""},
	{"CreateChannel", `{"multitrackInputConfiguration":{"enabled":true,"policy":"ALLOW","maximumResolution":"HD"}}`, invalid, "containerFormat FRAGMENTED_MP4"},
	{"CreateChannel", `{"containerFormat":"FRAGMENTED_MP4","multitrackInputConfiguration":{"enabled":true,"maximumResolution":"HD"}}`, invalid, "are required when enabled is true"},
	{"CreateChannel", `{"containerFormat":"FRAGMENTED_MP4","multitrackInputConfiguration":{"enabled":true,"policy":"ALLOW"}}`, invalid, "are required when enabled is true"},
	{"CreateChannel", `{"type":"BASIC","containerFormat":"FRAGMENTED_MP4","multitrackInputConfiguration":{"enabled":true,"policy":"ALLOW","maximumResolution":"HD"}}`, invalid, "type STANDARD"},

	// tags
	{"CreateChannel", `{"tags":{}}`, "", ""},
	{"CreateChannel", `{"tags":` + tags(50) + `}`, "", ""},
	{"CreateChannel", `{"tags":` + tags(51) + `}`, invalid, "tags must have at most 50"},
	{"CreateChannel", `{"tags":{"Üñ 1_.:/=+-@":"Üñ 1_.:/=+-@"}}`, "", ""},
	{"CreateChannel", `{"tags":{"` + strings.Repeat("ü", 128) + `":"` + strings.Repeat("ü", 256) + `"}}`, "", ""},
	{"CreateChannel", `{"tags":{"` + strings.Repeat("k", 129) + `":""}}`, invalid, "key of tags"},
	{"CreateChannel", `{"tags":{"k":"` + strings.Repeat("v", 257) + `"}}`, invalid, "value of tags"},
	{"CreateChannel", `{"tags":{"":"v"}}`, invalid, "key of tags"},
	{"CreateChannel", `{"tags":{"a#b":"v"}}`, invalid, "key of tags"},
	{"CreateChannel", `{"tags":{"k":"a#b"}}`, invalid, "value of tags"},
	{"CreateChannel", `{"tags":{"aws:x":"v"}}`, invalid, "aws:"},
	{"CreateChannel", `{"tags":{"k":"1","K":"2"}}`, "", ""},
	{"CreateChannel", `{"tags":{"k":"1","k":"2"}}`, invalid, "tags has the member"},
	{"CreateChannel", `{"tags":{"k":null}}`, invalid, "tags must not have a null item"},
	{"CreateChannel", `{"tags":{"k":"\ud800"}}`, invalid, "tags has a string that is not Unicode text"},
	{"CreateChannel", `{"tags":{"k":1}}`, invalid, "tags"},
	{"CreateChannel", `{"tags":["k"]}`, invalid, "tags must not be a JSON array"},
}

// arnConstraints are those of ARNs and playback key pairs.
func arnConstraints(t *testing.T) []constraint {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return []constraint{
		// ARNs
		{"GetChannel", `{}`, invalid, ".arn is a required attribute"},
		{"GetChannel", `{"arn":""}`, invalid, ".arn is a required attribute"},
		{"GetChannel", `{"arn":"nope"}`, invalid, "arn must be an ARN"},
		{"GetChannel", `{"arn":5}`, invalid, "arn must not be a JSON number"},
		{"GetChannel", `{"arn":"KEY"}`, invalid, ":channel/"},
		{"GetChannel", `{"arn":"CH"}`, "", ""},
		{"GetChannel", `{"arn":"CHx"}`, missing, "Resource: arn:"},
		{"GetChannel", `{"arn":"` + foreignARN + `"}`, missing, "Resource: " + foreignARN},
		{"GetChannel", `{"arn":"arn:aws:ivs:us-west-2:1:channel/` + strings.Repeat("x", 96) + `"}`, missing, "Resource: arn:"}, // 128 characters
		{"GetChannel", `{"arn":"arn:aws:ivs:us-west-2:1:channel/` + strings.Repeat("x", 97) + `"}`, invalid, "arn must be an"}, // 129
		{"GetStreamKey", `{"arn":"KEY"}`, "", ""},
		{"GetStreamKey", `{"arn":"CH"}`, invalid, ":stream-key/"},
		{"GetStreamKey", `{"arn":"KEYx"}`, missing, "Resource: arn:"},
		{"DeleteStreamKey", `{"arn":"KEYx"}`, missing, "Resource: arn:"},
		{"DeleteChannel", `{"arn":"CHx"}`, missing, "Resource: arn:"},
		{"UpdateChannel", `{"arn":"CHx"}`, missing, "Resource: arn:"},
		{"UpdateChannel", `{"name":"x"}`, invalid, ".arn is a required attribute"},
		{"UpdateChannel", `{"arn":"` + foreignARN + `","name":"a b"}`, invalid, "name must be"}, // validation goes first
		{"UpdateChannel", `{"arn":"CH","recordingConfigurationArn":"` + rec + `"}`, missing, "Resource: arn:"},
		{"UpdateChannel", `{"arn":"CH","name":true}`, invalid, "name must not be a JSON bool"},
		{"UpdateChannel", `{"arn":"CH","tags":{"a#b":"ignored"}}`, "", ""}, // not a member

		// playback key pairs
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(newPublicKey(t)) + `,"name":"` + n128 + `","tags":` + tags(50) + `}`, "", ""},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(newPublicKey(t)+"\n\n") + `}`, "", ""},
		{"ImportPlaybackKeyPair", `{}`, invalid, ".publicKeyMaterial is a required attribute"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":""}`, invalid, ".publicKeyMaterial is a required attribute"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":"nope"}`, invalid, "P-384"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote("more\n"+newPublicKey(t)) + `}`, invalid, "P-384"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(strings.Replace(newPublicKey(t), "-----\n", "-----\nA: b\n\n", 1)) + `}`, invalid, "P-384"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(newPublicKey(t)+"more") + `}`, invalid, "P-384"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(publicPEM(t, &p256.PublicKey)) + `}`, invalid, "P-384"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(publicPEM(t, edwards)) + `}`, invalid, "P-384"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}`, invalid, "P-384"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(strings.ReplaceAll(newPublicKey(t), "PUBLIC", "PRIVATE")) + `}`, invalid, "P-384"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(newPublicKey(t)) + `,"name":"` + n128 + `n"}`, invalid, "name must be"},
		{"ImportPlaybackKeyPair", `{"publicKeyMaterial":` + quote(newPublicKey(t)) + `,"tags":` + tags(51) + `}`, invalid, "tags must have at most 50"},
		{"GetPlaybackKeyPair", `{"arn":"CH"}`, invalid, ":playback-key/"},
		{"DeletePlaybackKeyPair", `{"arn":"` + strings.Replace(rec, "recording-configuration", "playback-key", 1) + `"}`, missing, "Resource: arn:"},
		{"ListPlaybackKeyPairs", `{"maxResults":100}`, "", ""},
		{"ListPlaybackKeyPairs", `{"maxResults":101}`, invalid, "maxResults must be between 1 and 100"},
	}
}

// recordingConstraints are those of recording configurations.
var recordingConstraints = []constraint{
	// recording configurations
	{"CreateRecordingConfiguration", bucket(`"abc"`, ``), "", ""},
	{"CreateRecordingConfiguration", bucket(`"`+strings.Repeat("b", 63)+`"`, ``), "", ""},
	{"CreateRecordingConfiguration", bucket(`"a-1.b"`, `,"name":"`+n128+`","tags":`+tags(50)), "", ""},
	{"CreateRecordingConfiguration", bucket(`"ab"`, ``), invalid, "destinationConfiguration.s3.bucketName must be 3 to 63"},
	{"CreateRecordingConfiguration", bucket(`"`+strings.Repeat("b", 64)+`"`, ``), invalid, "bucketName must be 3 to 63"},
	{"CreateRecordingConfiguration", bucket(`"ABC"`, ``), invalid, "bucketName must be"},
	{"CreateRecordingConfiguration", bucket(`"a/b/c"`, ``), invalid, "bucketName must be"},
	{"CreateRecordingConfiguration", bucket(`"..."`, ``), invalid, "bucketName must be"},
	{"CreateRecordingConfiguration", bucket(`"a..b"`, ``), invalid, "bucketName must be"},
	{"CreateRecordingConfiguration", bucket(`".abc"`, ``), invalid, "bucketName must be"},
	{"CreateRecordingConfiguration", bucket(`""`, ``), invalid, "bucketName must be"},
	{"CreateRecordingConfiguration", bucket(`null`, ``), invalid, ".destinationConfiguration.s3.bucketName is a required attribute"},
	{"CreateRecordingConfiguration", `{}`, invalid, ".destinationConfiguration is a required attribute"},
	{"CreateRecordingConfiguration", `{"destinationConfiguration":{}}`, invalid, ".destinationConfiguration.s3 is a required attribute"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"recordingReconnectWindowSeconds":0`), "", ""},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"recordingReconnectWindowSeconds":300`), "", ""},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"recordingReconnectWindowSeconds":301`), invalid, "recordingReconnectWindowSeconds must be between 0 and 300, not 301"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"recordingReconnectWindowSeconds":-1`), invalid, "recordingReconnectWindowSeconds must be"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"targetIntervalSeconds":1}`), "", ""},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"targetIntervalSeconds":60,"recordingMode":"INTERVAL"}`), "", ""},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"targetIntervalSeconds":0}`), invalid, "targetIntervalSeconds must be between 1 and 60"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"targetIntervalSeconds":61}`), invalid, "targetIntervalSeconds must be between 1 and 60"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"recordingMode":"DISABLED"}`), "", ""},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"recordingMode":"DISABLED","targetIntervalSeconds":5}`), invalid, "only to the recordingMode INTERVAL"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"recordingMode":"OFF"}`), invalid, "thumbnailConfiguration.recordingMode must be one of"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"resolution":"4K"}`), invalid, "thumbnailConfiguration.resolution must be one of"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"storage":["LATEST","SEQUENTIAL"],"resolution":"LOWEST_RESOLUTION"}`), "", ""},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"thumbnailConfiguration":{"storage":["NONE"]}`), invalid, "each item of thumbnailConfiguration.storage"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"renditionConfiguration":{"renditionSelection":"CUSTOM","renditions":["SD","HD"]}`), "", ""},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"renditionConfiguration":{"renditionSelection":"CUSTOM"}`), invalid, "renditionConfiguration.renditions is required"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"renditionConfiguration":{"renditionSelection":"NONE"}`), "", ""},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"renditionConfiguration":{"renditionSelection":"SOME"}`), invalid, "renditionConfiguration.renditionSelection must be one of"},
	{"CreateRecordingConfiguration", bucket(`"abc"`, `,"renditionConfiguration":{"renditions":["8K"]}`), invalid, "each item of renditionConfiguration.renditions"},
	{"GetRecordingConfiguration", `{"arn":"` + rec + `"}`, missing, "Resource: arn:"},
	{"ListRecordingConfigurations", `{"maxResults":0}`, invalid, "maxResults"},
}

// policyConstraints are those of playback restriction policies, ad configurations and revocations.
var policyConstraints = []constraint{
	// playback restriction policies
	{"CreatePlaybackRestrictionPolicy", `{"allowedCountries":` + list(200, "DE") + `,"allowedOrigins":` + list(5, strings.Repeat("o", 256)) + `}`, "", ""},
	{"CreatePlaybackRestrictionPolicy", `{"allowedCountries":[],"allowedOrigins":[],"name":"` + n128 + `"}`, "", ""},
	{"CreatePlaybackRestrictionPolicy", `{"allowedCountries":` + list(201, "DE") + `}`, invalid, "allowedCountries must have at most 200"},
	{"CreatePlaybackRestrictionPolicy", `{"allowedCountries":["DEU"]}`, invalid, "each item of allowedCountries"},
	{"CreatePlaybackRestrictionPolicy", `{"allowedCountries":["D"]}`, invalid, "each item of allowedCountries"},
	{"CreatePlaybackRestrictionPolicy", `{"allowedCountries":["de"]}`, invalid, "each item of allowedCountries"},
	{"CreatePlaybackRestrictionPolicy", `{"allowedCountries":"DE"}`, invalid, "allowedCountries must not be a JSON string"},
	{"CreatePlaybackRestrictionPolicy", `{"allowedOrigins":` + list(6, "o") + `}`, invalid, "allowedOrigins must have at most 5"},
	{"CreatePlaybackRestrictionPolicy", `{"allowedOrigins":["` + strings.Repeat("o", 257) + `"]}`, invalid, "each item of allowedOrigins"},
	{"CreatePlaybackRestrictionPolicy", `{"allowedOrigins":[null]}`, invalid, "allowedOrigins must not have a null item"},
	{"CreatePlaybackRestrictionPolicy", `{"allowedOrigins":["\u0000"]}`, invalid, "allowedOrigins has a string"},
	{"CreatePlaybackRestrictionPolicy", `{"enableStrictOriginEnforcement":"yes"}`, invalid, "enableStrictOriginEnforcement must not be"},
	{"UpdatePlaybackRestrictionPolicy", `{"arn":"` + policy + `"}`, missing, "Resource: arn:"},
	{"UpdatePlaybackRestrictionPolicy", `{}`, invalid, ".arn is a required attribute"},

	// ad configurations
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[` + tailor + `,` + tailor + `,` + tailor + `]}`, "", ""},
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[` + tailor + `,` + tailor + `,` + tailor + `,` + tailor + `]}`, invalid, "1 to 3 items, not 4"},
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[]}`, invalid, "1 to 3 items, not 0"},
	{"CreateAdConfiguration", `{}`, invalid, ".mediaTailorPlaybackConfigurations is a required attribute"},
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[{}]}`, invalid, "playbackConfigurationArn of mediaTailorPlaybackConfigurations must be an ARN"},
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[{"playbackConfigurationArn":"` + rec + `"}]}`, invalid, "playbackConfigurationArn of mediaTailorPlaybackConfigurations must be an ARN"},
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[{"playbackConfigurationArn":"` + mediaTailor + strings.Repeat("x", 100) + `"}]}`, invalid, "playbackConfigurationArn"},
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[` + tailor + `],"postRollConfiguration":{"enabled":true,"durationSeconds":300}}`, "", ""},
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[` + tailor + `],"postRollConfiguration":{"enabled":true,"durationSeconds":301}}`, invalid, "postRollConfiguration.durationSeconds must be between 1 and 300"},
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[` + tailor + `],"postRollConfiguration":{"enabled":true,"durationSeconds":0}}`, invalid, "postRollConfiguration.durationSeconds"},
	{"CreateAdConfiguration", `{"mediaTailorPlaybackConfigurations":[` + tailor + `],"postRollConfiguration":{"enabled":true}}`, invalid, "both required"},
	{"UpdateAdConfiguration", `{"arn":"` + ad + `"}`, missing, "Resource: arn:"},
	{"UpdateAdConfiguration", `{"arn":"` + ad + `","mediaTailorPlaybackConfigurations":[]}`, invalid, "1 to 3 items"},
	{"CreateChannel", `{"adConfigurationArn":"` + ad + `","containerFormat":"FRAGMENTED_MP4"}`, invalid, "containerFormat TS"},

	// revocations
	{"StartViewerSessionRevocation", `{"channelArn":"CH","viewerId":"v"}`, "", ""},
	{"StartViewerSessionRevocation", `{"channelArn":"CH","viewerId":"` + strings.Repeat("ü", 40) + `","viewerSessionVersionsLessThanOrEqualTo":2147483647}`, "", ""},
	{"StartViewerSessionRevocation", `{"channelArn":"CH","viewerId":"` + strings.Repeat("v", 41) + `"}`, invalid, "viewerId must have 1 to 40"},
	{"StartViewerSessionRevocation", `{"channelArn":"CH","viewerId":""}`, invalid, "viewerId must have 1 to 40"},
	{"StartViewerSessionRevocation", `{"channelArn":"CH"}`, invalid, "viewerId must have 1 to 40"},
	{"StartViewerSessionRevocation", `{"channelArn":"CH","viewerId":"\u0000"}`, invalid, "viewerId has a string"},
	{"StartViewerSessionRevocation", `{"channelArn":"CH","viewerId":"\udc00"}`, invalid, "viewerId has a string"},
	{"StartViewerSessionRevocation", `{"channelArn":"CH","viewerId":5}`, invalid, "viewerId must not be a JSON number"},
	{"StartViewerSessionRevocation", `{"channelArn":"CH","viewerId":"v","viewerSessionVersionsLessThanOrEqualTo":-1}`, invalid, "viewerSessionVersionsLessThanOrEqualTo must be between 0"},
	{"StartViewerSessionRevocation", `{"channelArn":"CH","viewerId":"v","viewerSessionVersionsLessThanOrEqualTo":2147483648}`, invalid, "viewerSessionVersionsLessThanOrEqualTo must be"},
	{"StartViewerSessionRevocation", `{"channelArn":"CHx","viewerId":"v"}`, missing, "Resource: arn:"},
	{"BatchStartViewerSessionRevocation", sessions(20, `{"channelArn":"CH","viewerId":"v"}`), "", ""},
	{"BatchStartViewerSessionRevocation", sessions(21, `{"channelArn":"CH","viewerId":"v"}`), invalid, "viewerSessions must have 1 to 20 items, not 21"},
	{"BatchStartViewerSessionRevocation", sessions(0, ``), invalid, "viewerSessions must have 1 to 20 items, not 0"},
	{"BatchStartViewerSessionRevocation", `{}`, invalid, "viewerSessions must have 1 to 20"},
	{"BatchStartViewerSessionRevocation", sessions(1, `{"channelArn":"KEY","viewerId":"v"}`), invalid, "each channelArn of viewerSessions"},
	{"BatchStartViewerSessionRevocation", sessions(1, `{"channelArn":"CH"}`), invalid, "viewerId must have"},
	{"BatchStartViewerSessionRevocation", sessions(1, `null`), invalid, "viewerSessions must not have a null item"},
}

// streamConstraints are those of what is put into a stream, stream keys, batches, lists and streams.
var streamConstraints = []constraint{
	// what is put into a stream; the channel is not live
	{"PutMetadata", `{"channelArn":"CH","metadata":"` + strings.Repeat("m", 1024) + `"}`, offline, "is not currently online"},
	{"PutMetadata", `{"channelArn":"CH","metadata":"` + strings.Repeat("ü", 512) + `"}`, offline, "is not currently online"},
	{"PutMetadata", `{"channelArn":"CH","metadata":"` + strings.Repeat("m", 1025) + `"}`, invalid, "Metadata size exceeds payload limit"},
	{"PutMetadata", `{"channelArn":"CH","metadata":"` + strings.Repeat("ü", 513) + `"}`, invalid, "Metadata size exceeds payload limit"},
	{"PutMetadata", `{"channelArn":"CH","metadata":""}`, invalid, ".metadata is a required attribute"},
	{"PutMetadata", `{"channelArn":"CH"}`, invalid, ".metadata is a required attribute"},
	{"PutMetadata", `{"channelArn":"CHx","metadata":"m"}`, missing, "Resource: arn:"},
	{"InsertAdBreak", `{"channelArn":"CH","durationSeconds":1}`, offline, "is not currently online"},
	{"InsertAdBreak", `{"channelArn":"CH","durationSeconds":300}`, offline, "is not currently online"},
	{"InsertAdBreak", `{"channelArn":"CH","durationSeconds":301}`, invalid, "durationSeconds must be between 1 and 300"},
	{"InsertAdBreak", `{"channelArn":"CH","durationSeconds":0}`, invalid, "durationSeconds must be between 1 and 300"},
	{"InsertAdBreak", `{"channelArn":"CH"}`, invalid, ".durationSeconds is a required attribute"},
	{"InsertAdBreak", `{"channelArn":"LIVE","durationSeconds":1}`, conflict, "no ad configuration"},

	// stream keys
	{"CreateStreamKey", `{"channelArn":"CH"}`, quota, "already has a stream key"},
	{"CreateStreamKey", `{"channelArn":"CHx"}`, missing, "Resource: arn:"},
	{"CreateStreamKey", `{}`, invalid, ".channelArn is a required attribute"},
	{"CreateStreamKey", `{"channelArn":"CHx","tags":` + tags(51) + `}`, invalid, "tags"},

	// batches
	{"BatchGetChannel", `{}`, invalid, "arns must have 1 to 50 items"},
	{"BatchGetChannel", `{"arns":[]}`, invalid, "arns must have 1 to 50 items"},
	{"BatchGetChannel", `{"arns":` + list(50, "CH") + `}`, "", ""},
	{"BatchGetChannel", `{"arns":` + list(51, "CH") + `}`, invalid, "arns must have 1 to 50 items"},
	{"BatchGetChannel", `{"arns":["KEY"]}`, invalid, "each item of arns"},
	{"BatchGetChannel", `{"arns":[null]}`, invalid, "arns must not have a null item"},
	{"BatchGetChannel", `{"arns":"CH"}`, invalid, "arns must not be a JSON string"},
	{"BatchGetChannel", `{"arns":[1]}`, invalid, "arns must not be a JSON number"},
	{"BatchGetStreamKey", `{"arns":["CH"]}`, invalid, "each item of arns"},
	{"BatchGetStreamKey", `{"arns":` + list(51, "KEY") + `}`, invalid, "arns must have 1 to 50 items"},

	// lists
	{"ListChannels", `{"maxResults":1}`, "", ""},
	{"ListChannels", `{"maxResults":100}`, "", ""},
	{"ListChannels", `{"maxResults":0}`, invalid, "maxResults must be between 1 and 100, not 0"},
	{"ListChannels", `{"maxResults":101}`, invalid, "maxResults must be between 1 and 100"},
	{"ListChannels", `{"maxResults":-1}`, invalid, "maxResults"},
	{"ListChannels", `{"maxResults":1.5}`, invalid, "maxResults must not be"},
	{"ListChannels", `{"maxResults":1e99}`, invalid, "maxResults must not be"},
	{"ListChannels", `{"maxResults":"1"}`, invalid, "maxResults must not be a JSON string"},
	{"ListChannels", `{"nextToken":""}`, "", ""},
	{"ListChannels", `{"nextToken":"AAAA"}`, invalid, "nextToken"},
	{"ListChannels", `{"nextToken":"` + strings.Repeat("A", 1025) + `"}`, invalid, "nextToken must be at most 1024"},
	{"ListChannels", `{"filterByName":"x"}`, "", ""},
	{"ListChannels", `{"filterByName":"a b"}`, invalid, "filterByName"},
	{"ListChannels", `{"filterByName":"","filterByRecordingConfigurationArn":"` + rec + `"}`, "", ""},
	{"ListChannels", `{"filterByName":"x","filterByRecordingConfigurationArn":"` + rec + `"}`, conflict, "one filter"},
	{"ListChannels", `{"filterByPlaybackRestrictionPolicyArn":"` + policy + `","filterByAdConfigurationArn":"` + ad + `"}`, conflict, "one filter"},
	{"ListChannels", `{"filterByAdConfigurationArn":"` + policy + `"}`, invalid, "filterByAdConfigurationArn"},
	{"ListStreamKeys", `{"channelArn":"CH","maxResults":50}`, "", ""},
	{"ListStreamKeys", `{"channelArn":"CH","maxResults":51}`, invalid, "maxResults must be between 1 and 50"},
	{"ListStreamKeys", `{"channelArn":"CHx"}`, missing, "Resource: arn:"},
	{"ListStreams", `{}`, "", ""},
	{"ListStreams", `{"filterBy":{}}`, "", ""},
	{"ListStreams", `{"filterBy":{"health":"STARVING"},"maxResults":100}`, "", ""},
	{"ListStreams", `{"filterBy":{"health":"SICK"}}`, invalid, "filterBy.health must be one of"},
	{"ListStreams", `{"filterBy":"HEALTHY"}`, invalid, "filterBy must not be a JSON string"},
	{"ListStreams", `{"maxResults":101}`, invalid, "maxResults"},
	{"ListStreamSessions", `{"channelArn":"CH"}`, "", ""},
	{"ListStreamSessions", `{"channelArn":"CHx"}`, missing, "Resource: arn:"},
	{"ListStreamSessions", `{"channelArn":"CH","maxResults":101}`, invalid, "maxResults"},

	// streams
	{"GetStream", `{}`, invalid, ".channelArn is a required attribute"},
	{"GetStream", `{"channelArn":"CH"}`, offline, "is not currently online"},
	{"GetStream", `{"channelArn":"CHx"}`, missing, "Resource: arn:"},
	{"StopStream", `{"channelArn":"CH"}`, offline, "is not currently online"},
	{"StopStream", `{"channelArn":"CHx"}`, missing, "Resource: arn:"},
	{"GetStreamSession", `{"channelArn":"CH"}`, missing, "no stream sessions"},
	{"GetStreamSession", `{"channelArn":"CH","streamId":"st-1DSbG4eprEcMwcr3DJ7l35C"}`, missing, "st-1DSbG4eprEcMwcr3DJ7l35C"},
	{"GetStreamSession", `{"channelArn":"CH","streamId":"st-1DSbG4eprEcMwcr3DJ7l35"}`, invalid, "streamId must be"},
	{"GetStreamSession", `{"channelArn":"CH","streamId":"st-1DSbG4eprEcMwcr3DJ7l35-"}`, invalid, "streamId must be"},
	{"GetStreamSession", `{"channelArn":"CH","streamId":""}`, invalid, "streamId must be"},
}

var statusOf = map[string]int{"ValidationException": 400, "ResourceNotFoundException": 404, "ConflictException": 409,
	"ServiceQuotaExceededException": 402, "ChannelNotBroadcasting": 404}

// The constraints that many operations share hold in each of them: at the
// limit, beyond it, empty, absent, of a wrong type. absent is no member at all.
func TestSharedConstraints(t *testing.T) {
	type absent struct{}
	const policy = "arn:aws:ivs:us-west-2:123456789012:playback-restriction-policy/a"
	n128 := strings.Repeat("n", 128)
	long := "arn:aws:ivs:us-west-2:1:channel/" + strings.Repeat("x", 97) // 129 characters
	name := map[bool][]any{true: {absent{}, nil, "", n128, "aZ09-_"}, false: {n128 + "n", "a b", "ü", 5, true, []string{}}}
	required := map[bool][]any{false: {absent{}, nil, "", "nope", long, 5, []string{}, "arn:aws:ivs:us-west-2:123456789012:stage/a", "arn:aws:s3:::bucket"}}
	reference := map[bool][]any{true: {absent{}, nil, ""}, false: {"none", long, 5, "arn:aws:ivs:us-west-2:123456789012:channel/a"}}
	rules := map[string]map[bool][]any{ // the values that are valid, and those that are not
		"name":                                 name,
		"filterByName":                         name,
		"arn":                                  required,
		"channelArn":                           required,
		"recordingConfigurationArn":            reference,
		"playbackRestrictionPolicyArn":         reference,
		"adConfigurationArn":                   reference,
		"filterByRecordingConfigurationArn":    reference,
		"filterByPlaybackRestrictionPolicyArn": {true: {absent{}, nil, "", policy}, false: reference[false]},
		"filterByAdConfigurationArn":           reference,
		"tags":                                 {true: {absent{}, nil, json.RawMessage(`{}`), json.RawMessage(tags(50))}, false: {json.RawMessage(tags(51)), "x", []string{"k"}, map[string]string{"": "v"}, map[string]string{"AWS:k": "v"}, map[string]int{"k": 1}}},
		"maxResults":                           {true: {absent{}, nil, 1, 50}, false: {0, -1, 101, 1.5, "1"}},
		"nextToken":                            {true: {absent{}, nil, ""}, false: {"AAAA", "#", strings.Repeat("A", 1025), 5}},
		"arns":                                 {false: {absent{}, nil, []string{}, "x", []int{1}, []string{policy}, json.RawMessage(list(51, "x"))}},
	}
	s := newErrorScene(t, engine(t))
	tried := 0
	for operation, shapes := range sdkOperations() {
		if tagRoute[operation] != "" {
			continue
		}
		for f := range shapes[0].Fields() {
			member := onWire(f.Name)
			for valid, values := range rules[member] {
				for _, v := range values {
					body := map[string]any{}
					must(t, json.Unmarshal([]byte(s.valid[operation]), &body))
					if _, none := v.(absent); none {
						delete(body, member)
					} else {
						body[member] = v
					}
					text, err := json.Marshal(body)
					must(t, err)
					a := s.post(t, operation, string(text))
					if invalid := a.code(t) == "ValidationException"; invalid == valid || invalid && !strings.Contains(string(a.body), member) {
						t.Errorf("%s with %s %.40v = %d %s", operation, member, v, a.status, a.body)
					}
					tried++
				}
			}
		}
	}
	if tried < 500 {
		t.Errorf("only %d values were tried", tried)
	}
}

// Absent means unchanged, false and "" are values.
func TestUpdateIsPartial(t *testing.T) {
	w := newOpenWorld(t)
	arn, _ := w.create(t, `{"name":"n","authorized":true,"insecureIngest":true,"latencyMode":"NORMAL","containerFormat":"FRAGMENTED_MP4",
		"multitrackInputConfiguration":{"enabled":true,"policy":"REQUIRE","maximumResolution":"SD"},"tags":{"k":"v"}}`)
	channel := func(a answer) map[string]any {
		t.Helper()
		var out struct{ Channel map[string]any }
		if err := json.Unmarshal(a.body, &out); err != nil || a.status != 200 {
			t.Fatalf("%d %s, %v", a.status, a.body, err)
		}
		return out.Channel
	}
	before := channel(w.post(t, "GetChannel", `{"arn":"`+arn+`"}`))
	for _, tt := range []struct {
		body string
		want map[string]any // what changes
	}{
		{``, nil},
		{`,"name":null`, nil},
		{`,"name":""`, map[string]any{"name": ""}},
		{`,"authorized":false`, map[string]any{"authorized": false}},
		{`,"insecureIngest":false`, map[string]any{"insecureIngest": false}},
		{`,"recordingConfigurationArn":""`, nil},
		{`,"latencyMode":"LOW"`, map[string]any{"latencyMode": "LOW"}},
		{`,"multitrackInputConfiguration":{}`, map[string]any{"multitrackInputConfiguration": map[string]any{"enabled": false, "policy": "ALLOW", "maximumResolution": "FULL_HD"}}},
		{`,"containerFormat":"TS"`, map[string]any{"containerFormat": "TS"}},
		{`,"type":"ADVANCED_HD"`, map[string]any{"type": "ADVANCED_HD", "preset": "HIGHER_BANDWIDTH_DELIVERY"}},
		{`,"preset":"CONSTRAINED_BANDWIDTH_DELIVERY"`, map[string]any{"preset": "CONSTRAINED_BANDWIDTH_DELIVERY"}},
		{`,"type":"ADVANCED_SD"`, map[string]any{"type": "ADVANCED_SD"}}, // keeps its preset
		{`,"type":"BASIC"`, map[string]any{"type": "BASIC", "preset": ""}},
	} {
		got := channel(w.post(t, "UpdateChannel", `{"arn":"`+arn+`"`+tt.body+`}`))
		want := maps.Clone(before)
		maps.Copy(want, tt.want)
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			t.Errorf("UpdateChannel(%s) =\n%s, want\n%s", tt.body, g, w)
		}
		before = got
	}
	// With multitrack on, neither type nor container may leave it behind.
	on, _ := w.create(t, `{"containerFormat":"FRAGMENTED_MP4","multitrackInputConfiguration":{"enabled":true,"policy":"ALLOW","maximumResolution":"HD"}}`)
	for _, body := range []string{`"type":"BASIC"`, `"containerFormat":"TS"`} {
		if a := w.post(t, "UpdateChannel", `{"arn":"`+on+`",`+body+`}`); a.code(t) != "ValidationException" {
			t.Errorf("UpdateChannel(%s) with multitrack = %d %s", body, a.status, a.body)
		}
	}
}

// A page size that is not given is the model's.
func TestDefaultPageSizes(t *testing.T) {
	w := newOpenWorld(t)
	for range 101 {
		arn, _ := w.create(t, `{}`)
		w.goLive(t, arn, time.Now())
	}
	for _, operation := range []string{"ListChannels", "ListStreams"} {
		var out map[string]any
		must(t, json.Unmarshal(w.post(t, operation, `{}`).body, &out))
		list, _ := out["channels"].([]any)
		if operation == "ListStreams" {
			list, _ = out["streams"].([]any)
		}
		if len(list) != 100 || out["nextToken"] == nil {
			t.Errorf("%s lists %d, nextToken %v", operation, len(list), out["nextToken"])
		}
	}
}

// The JSON of a channel has every member, the empty ones too.
func TestShapes(t *testing.T) {
	w := newOpenWorld(t)
	arn, key := w.create(t, `{}`)
	id := w.goLive(t, arn, t0)
	_, short, _ := strings.Cut(arn, "/")
	play := "https://live.example.com/api/video/v1/us-west-2.123456789012.channel." + short + ".m3u8"
	for _, tt := range []struct{ operation, body, want string }{
		{"ListChannels", `{}`, `{"channels":[{"arn":"` + arn + `","name":"","latencyMode":"LOW","authorized":false,"recordingConfigurationArn":"",` +
			`"tags":{},"insecureIngest":false,"type":"STANDARD","preset":"","playbackRestrictionPolicyArn":"","adConfigurationArn":""}]}`},
		{"ListChannels", `{"filterByName":"none"}`, `{"channels":[]}`},
		{"ListStreamKeys", `{"channelArn":"` + arn + `"}`, `{"streamKeys":[{"arn":"` + key + `","channelArn":"` + arn + `","tags":{}}]}`},
		{"GetStream", `{"channelArn":"` + arn + `"}`, `{"stream":{"channelArn":"` + arn + `","streamId":"` + id + `","playbackUrl":"` + play +
			`","startTime":"2026-05-01T09:03:12Z","state":"LIVE","health":"UNKNOWN","viewerCount":0}}`},
		{"ListStreams", `{}`, `{"streams":[{"channelArn":"` + arn + `","streamId":"` + id +
			`","state":"LIVE","health":"UNKNOWN","viewerCount":0,"startTime":"2026-05-01T09:03:12Z"}]}`},
		{"ListStreamSessions", `{"channelArn":"` + arn + `"}`, `{"streamSessions":[{"streamId":"` + id + `","startTime":"2026-05-01T09:03:12Z","hasErrorEvent":false}]}`},
		{"BatchGetChannel", `{"arns":["` + arn + `x"]}`, `{"channels":[],"errors":[{"arn":"` + arn + `x","code":"404","message":"resource not found"}]}`},
		{"StopStream", `{"channelArn":"` + arn + `"}`, `{}`},
	} {
		if a := w.post(t, tt.operation, tt.body); a.status != 200 || string(a.body) != tt.want || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s = %d\n%s, want\n%s", tt.operation, a.status, a.body, tt.want)
		}
	}
	var ch struct{ Channel ivs.Channel }
	must(t, json.Unmarshal(w.post(t, "GetChannel", `{"arn":"`+arn+`"}`).body, &ch))
	want := `{"channel":{"arn":"` + arn + `","name":"","latencyMode":"LOW","type":"STANDARD","recordingConfigurationArn":"","ingestEndpoint":"live.example.com",` +
		`"playbackUrl":"` + play + `","authorized":false,"insecureIngest":false,"preset":"","playbackRestrictionPolicyArn":"","adConfigurationArn":"",` +
		`"containerFormat":"TS","multitrackInputConfiguration":{"enabled":false,"policy":"ALLOW","maximumResolution":"FULL_HD"},"srt":{"endpoint":"live.example.com","passphrase":"` + ch.Channel.SRT.Passphrase + `"},"tags":{}}}`
	if a := w.post(t, "GetChannel", `{"arn":"`+arn+`"}`); string(a.body) != want {
		t.Errorf("GetChannel =\n%s, want\n%s", a.body, want)
	}
	for _, tt := range []struct{ operation, arn string }{{"DeleteStreamKey", key}, {"DeleteChannel", arn}} {
		if a := w.post(t, tt.operation, `{"arn":"`+tt.arn+`"}`); a.status != 204 || len(a.body) != 0 {
			t.Errorf("%s = %d %q, want 204 and nothing", tt.operation, a.status, a.body)
		}
	}
}

// Whatever a body holds, the answer is one of the API's, and never a 500.
func FuzzBodies(f *testing.F) {
	w := newOpenWorld(f)
	for _, operation := range []string{"CreateChannel", "UpdateChannel", "ListChannels", "GetStreamSession", "BatchGetStreamKey", "ListStreams"} {
		f.Add(operation, `{"arn":"arn:aws:ivs:us-west-2:123456789012:channel/abcdefghijkl","name":"x","tags":{"k":"v"},"maxResults":5}`)
		f.Add(operation, `{"channelArn":"arn:aws:ivs:us-west-2:123456789012:channel/a","arns":["x"],"filterBy":{"health":null},"nextToken":"AA=="}`)
	}
	f.Fuzz(func(t *testing.T, operation, body string) {
		if strings.Trim(operation, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || operation == "" {
			return
		}
		if a := w.post(t, operation, body); a.status >= 500 {
			t.Errorf("%s(%q) = %d %s\n%s", operation, body, a.status, a.body, w.log)
		}
	})
}
