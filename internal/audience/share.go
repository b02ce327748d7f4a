package audience

import "sync"

// Shares bounds how many viewers one client address may have, over all streams that use
// these Shares, so that one address cannot use up a resource that many share.
type Shares struct {
	PerAddress int // 0 means no bound

	mu      sync.Mutex
	viewers map[uint32]int // guarded by mu; viewer sessions that are known, by address
}

// hasRoom reports whether one more viewer may come from the client's address.
func (s *Shares) hasRoom(c Client) bool {
	if s == nil || s.PerAddress == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.viewers[c.address()] < s.PerAddress
}

// take counts a viewer session, which holds its place until it is forgotten. It
// reports whether there is room.
func (s *Shares) take(c Client) bool {
	if s == nil || s.PerAddress == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.viewers[c.address()] >= s.PerAddress {
		return false
	}
	if s.viewers == nil {
		s.viewers = map[uint32]int{}
	}
	s.viewers[c.address()]++
	return true
}

// release takes a viewer session off the count.
func (s *Shares) release(c Client) {
	if s == nil || s.PerAddress == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.viewers[c.address()]--; s.viewers[c.address()] <= 0 {
		delete(s.viewers, c.address())
	}
}
