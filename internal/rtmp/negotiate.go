package rtmp

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"strings"

	"github.com/millrace/millrace/internal/amf0"
	"github.com/millrace/millrace/internal/media"
)

const (
	publishStream = 1    // the message stream that createStream gives out, each time
	maxName       = 1024 // bytes of application, stream key and the like

	serverChunkSize = 4096
	limitDynamic    = 2 // the kind of peer bandwidth limit that other servers send
)

// negotiate answers commands until one asks to publish, and fills p. A
// *refusal is the error for what is asked and cannot be given.
func (p *Publisher) negotiate(app string) error {
	for {
		m, err := p.c.readMessage()
		if err != nil {
			return fmt.Errorf("before publish: %w", media.Truncated(err))
		}
		if m.kind != kindCommand && m.kind != kindCommandAMF3 {
			continue
		}
		cmd, err := parseCommand(m)
		if err != nil {
			return err
		}
		switch {
		case cmd.name == "connect":
			p.c.connected, err = true, p.connect(cmd, app)
		case !p.c.connected:
			err = fmt.Errorf("%w: %.32q before connect", errProtocol, cmd.name)
		case cmd.name == "publish":
			return p.publish(cmd)
		case cmd.name == "play" || cmd.name == "play2":
			err = &refusal{"NetStream.Play.Failed", "playback is by HLS, not by RTMP"}
		default:
			p.c.reply(cmd)
		}
		if err != nil {
			return err
		}
	}
}

// connect answers the first command (7.2.1.1).
func (p *Publisher) connect(cmd command, app string) error {
	text := func(key string) string {
		s, _ := amf0.Get(cmd.arg(0), key).(amf0.String)
		return string(s[:min(len(s), maxName)])
	}
	p.FlashVer = text("flashVer")
	p.App, p.Query = splitQuery(text("app"))
	p.App = strings.Trim(p.App, "/")
	if caps, ok := amf0.Get(cmd.arg(0), "capsEx").(amf0.Number); ok {
		p.reconnects = caps >= 0 && caps <= math.MaxUint32 && uint32(caps)&capsReconnect != 0
	}
	if app != "" {
		p.App, p.appKey, _ = strings.Cut(p.App, "/")
	}
	if app != "" && p.App != app {
		r := &refusal{CodeInvalidApp, fmt.Sprintf("there is no application %q: publish to %q", masked(p.App), app)}
		p.c.sendCommand(0, amf0.String("_error"), cmd.transaction, amf0.Null{}, status("error", r.code, r.description))
		return r
	}
	p.c.sendUint32(kindWindowSize, defaultWindow)
	p.c.sendUint32(kindPeerBandwidth, defaultWindow, limitDynamic)
	p.c.setChunkSize(serverChunkSize)
	p.c.sendCommand(0, amf0.String("_result"), cmd.transaction, capabilities(cmd.arg(0)),
		status("status", "NetConnection.Connect.Success", "Connected", amf0.Property{Key: "objectEncoding", Value: amf0.Number(0)}))
	return nil
}

// masked is the name of an application as logs and answers may show it: a stream
// key that was pasted in its place is a secret.
func masked(app string) string {
	const longest = 16 // characters of any name in use
	if len(app) > longest || strings.HasPrefix(app, keyPrefix) {
		return app[:min(len(app), len(keyPrefix))] + "…"
	}
	return app
}

// keyPrefix begins each stream key.
const keyPrefix = "sk_"

// Bits of Enhanced RTMP v2's FourCcInfoMask and CapsExMask.
const (
	fourCCForward = 4
	capsReconnect = 1
	capsModEx     = 4
	capsNano      = 8
)

// codeReconnect asks a client to connect again (Enhanced RTMP v2).
const codeReconnect = "NetConnection.Connect.ReconnectRequest"

// capabilities are the properties that answer connect. An encoder that speaks
// Enhanced RTMP learns what it may send in that form.
func capabilities(client amf0.Value) amf0.Object {
	o := amf0.Object{
		{Key: "fmsVer", Value: amf0.String("FMS/3,5,3,888")}, // encoders look for the name
		{Key: "capabilities", Value: amf0.Number(31)},
	}
	for _, key := range []string{"fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"} {
		if amf0.Get(client, key) != nil {
			return append(o, enhancedCapabilities()...)
		}
	}
	return o
}

func enhancedCapabilities() amf0.Object {
	var video, audio amf0.Object
	for c := range media.Codecs() {
		info := &audio
		if c.IsVideo() {
			info = &video
		}
		*info = append(*info, amf0.Property{Key: c.FourCC(), Value: amf0.Number(fourCCForward)})
	}
	return amf0.Object{
		{Key: "fourCcList", Value: fourCCs()},
		{Key: "videoFourCcInfoMap", Value: video},
		{Key: "audioFourCcInfoMap", Value: audio},
		{Key: "capsEx", Value: amf0.Number(capsReconnect | capsModEx | capsNano)},
	}
}

// fourCCs are the codecs that are carried.
func fourCCs() (list amf0.StrictArray) {
	for c := range media.Codecs() {
		list = append(list, amf0.String(c.FourCC()))
	}
	return list
}

// publish takes the stream key (7.2.2.6). Whether it publishes "live", "record" or
// "append" is ignored: the channel decides what is recorded. A key that was pasted into
// the field for the server is in the application, one behind a whole address is its last
// element.
func (p *Publisher) publish(cmd command) error {
	name := cmd.str(1)
	if len(name) > maxName {
		return &refusal{CodeBadName, fmt.Sprintf("stream key of %d bytes", len(name))}
	}
	key, query := splitQuery(name)
	key = strings.Trim(key, "/")
	key = key[strings.LastIndexByte(key, '/')+1:]
	if key == "" || strings.HasPrefix(p.appKey, keyPrefix) && !strings.HasPrefix(key, keyPrefix) {
		key = p.appKey
	}
	if key == "" {
		return &refusal{CodeBadName, "there is no stream key"}
	}
	p.StreamKey = key
	maps.Copy(p.Query, query)
	return nil
}

// splitQuery takes the query off a name. Escapes in the name stay as they are.
func splitQuery(s string) (name string, query url.Values) {
	name, raw, _ := strings.Cut(s, "?")
	query, _ = url.ParseQuery(raw) // the error is about the pairs that it leaves out
	return name, query
}
