package audience

// An Identity is the viewer that a playback token names.
type Identity struct {
	ViewerID string // not empty
	Version  int64  // of the viewer session: a revocation ends sessions up to a version
}

// identities are the viewers of sessions whose tokens name one.
type identities struct {
	of       map[uint64]Identity            // by number of the session
	byViewer map[string]map[uint64]struct{} // numbers, by viewer id
}

func (i *identities) add(number uint64, who Identity) {
	if i.of == nil {
		i.of, i.byViewer = map[uint64]Identity{}, map[string]map[uint64]struct{}{}
	}
	i.of[number] = who
	if i.byViewer[who.ViewerID] == nil {
		i.byViewer[who.ViewerID] = map[uint64]struct{}{}
	}
	i.byViewer[who.ViewerID][number] = struct{}{}
}

func (i *identities) remove(number uint64) {
	who, ok := i.of[number]
	if !ok {
		return
	}
	delete(i.of, number)
	delete(i.byViewer[who.ViewerID], number)
	if len(i.byViewer[who.ViewerID]) == 0 {
		delete(i.byViewer, who.ViewerID)
	}
}

// Identify sets the viewer of a known session.
func (v *Viewers) Identify(number uint64, who Identity) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.sessions[number]; known {
		v.identities.add(number, who)
	}
}

// End stops counting the sessions of a viewer up to a version, and returns their number.
// The caller must refuse their requests.
func (v *Viewers) End(viewerID string, version int64) (ended int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for number := range v.identities.byViewer[viewerID] {
		if v.identities.of[number].Version <= version {
			v.forgetLocked(number, v.sessions[number])
			ended++
		}
	}
	return ended
}
