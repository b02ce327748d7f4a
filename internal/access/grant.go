package access

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// resolutions are the values of MaxResolution, by their number in the encoding.
var resolutions = []string{"", "SD", "HD", "FULL_HD"}

// Encode returns g as the name of a viewer session contains it: a byte of flags (the
// number of the resolution, and 4 for strict origin enforcement), the viewer's
// version, the length of the viewer's id, the id, and the origins, separated by commas.
func (g *Grant) Encode() []byte {
	flags := byte(max(slices.Index(resolutions, g.MaxResolution), 0))
	if g.StrictOrigin {
		flags |= 4
	}
	b := binary.AppendVarint([]byte{flags}, g.Version)
	b = binary.AppendUvarint(b, uint64(len(g.ViewerID)))
	b = append(b, g.ViewerID...)
	return append(b, strings.Join(g.Origins, ",")...)
}

// DecodeGrant is the inverse of Encode.
func DecodeGrant(b []byte) (*Grant, error) {
	errShort := errors.New("a grant ends too early")
	if len(b) == 0 || b[0] > 7 {
		return nil, errShort
	}
	g := &Grant{MaxResolution: resolutions[b[0]&3], StrictOrigin: b[0]&4 != 0}
	b = b[1:]
	version, n := binary.Varint(b)
	if n <= 0 {
		return nil, errShort
	}
	g.Version, b = version, b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, errShort
	}
	g.ViewerID, b = string(b[n:n+int(size)]), b[n+int(size):]
	if len(b) > 0 {
		g.Origins = strings.Split(string(b), ",")
	}
	return g, nil
}
