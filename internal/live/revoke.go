package live

// EndViewer stops counting the viewer sessions of a viewer of a channel up to a version,
// on this node. Package access refuses their requests.
func (h *Hub) EndViewer(channelARN, viewerID string, version int64) {
	for _, s := range h.sessions.all() {
		if s.Channel.ARN != channelARN {
			continue
		}
		if n := s.Viewers.End(viewerID, version); n > 0 {
			s.log.Info("viewer sessions revoked", "viewer", viewerID, "version", version, "sessions", n)
		}
	}
}
