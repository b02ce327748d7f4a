package rtmp

import (
	"cmp"
	"fmt"

	"github.com/millrace/millrace/internal/amf0"
)

// A command is a remote procedure call or its answer (RTMP 1.0, 7.1.1).
type command struct {
	name        string
	transaction amf0.Number // 0 wants no answer
	args        []amf0.Value
}

// parseCommand reads AMF0, also inside the AMF3 wrapper: one byte in front.
// ffmpeg's server sends names without a transaction.
func parseCommand(m message) (command, error) {
	body := m.body
	if m.kind == kindCommandAMF3 && len(body) > 0 {
		body = body[1:]
	}
	values, err := amf0.Decode(body)
	if len(values) == 0 {
		return command{}, fmt.Errorf("%w: command of %d bytes: %w", errProtocol, len(m.body), cmp.Or(err, amf0.ErrTruncated))
	}
	name, ok := values[0].(amf0.String)
	if !ok {
		return command{}, fmt.Errorf("%w: command named by %T", errProtocol, values[0])
	}
	cmd := command{name: string(name)}
	if len(values) > 1 {
		cmd.transaction, _ = values[1].(amf0.Number)
		cmd.args = values[2:]
	}
	return cmd, nil
}

// arg returns the i-th value after the transaction id, or nil. The first is the command
// object.
func (c command) arg(i int) amf0.Value {
	if i < len(c.args) {
		return c.args[i]
	}
	return nil
}

// str returns a string argument, or "".
func (c command) str(i int) string {
	s, _ := c.arg(i).(amf0.String)
	return string(s)
}

// status returns the information object of a response: level, code and description, and
// then further properties.
func status(level, code, description string, more ...amf0.Property) amf0.Object {
	return append(amf0.Object{
		{Key: "level", Value: amf0.String(level)},
		{Key: "code", Value: amf0.String(code)},
		{Key: "description", Value: amf0.String(description)},
	}, more...)
}

// parseStatus returns an error for an information object of level "error".
func parseStatus(info amf0.Value) error {
	text := func(key string) string {
		s, _ := amf0.Get(info, key).(amf0.String)
		return string(s[:min(len(s), maxName)])
	}
	if text("level") != "error" {
		return nil
	}
	return &StatusError{Code: text("code"), Description: text("description")}
}

// sendCommand queues a command on a message stream.
func (c *conn) sendCommand(stream uint32, values ...amf0.Value) {
	c.send(chunkCommand, message{kind: kindCommand, stream: stream, body: amf0.Append(nil, values...)})
}

// sendStatus queues an onStatus for what is published (7.2.2).
func (c *conn) sendStatus(level, code, description string) {
	c.sendCommand(publishStream, amf0.String("onStatus"), amf0.Number(0), amf0.Null{}, status(level, code, description))
}

// reply answers the commands that only want an answer. One that is not known
// gets an empty result, as other servers do: to encoders that probe, an error
// is the end.
func (c *conn) reply(cmd command) {
	var result amf0.Value = amf0.Undefined{}
	switch cmd.name {
	case "_result", "_error", "onStatus":
		return
	case "createStream":
		result = amf0.Number(publishStream)
	case "FCPublish":
		c.sendCommand(0, amf0.String("onFCPublish"), amf0.Number(0), amf0.Null{},
			status("status", "NetStream.Publish.Start", "Stream key received"))
	}
	if cmd.transaction != 0 {
		c.sendCommand(0, amf0.String("_result"), cmd.transaction, amf0.Null{}, result)
	}
}
