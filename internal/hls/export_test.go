package hls

// Waiting is how many requests wait.
func Waiting(s *Stream) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits.total
}
