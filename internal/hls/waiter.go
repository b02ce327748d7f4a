package hls

import "net/netip"

const (
	// maxSessionWaiting is how many requests of one viewer session may wait: a
	// playlist and a part for each of two renditions, and as many again while it
	// changes from one to another.
	maxSessionWaiting = 8

	// fewWaiting is the number of requests of one network that may always wait, however
	// many others do.
	fewWaiting = 8
)

// A waiter is the client of a request that waits.
type waiter struct {
	session uint64     // of the viewer; 0 where it is unknown
	network netip.Addr // that it comes from
}

// waits are the requests of a Stream that wait. They are guarded by its lock.
type waits struct {
	total    int
	sessions map[uint64]int
	networks map[netip.Addr]int
}

// add admits a request, if it may wait. A network with more than a few requests must
// leave as much room as it takes, and a tenth of all, to other networks: so no network
// can shut the others out.
func (w *waits) add(a waiter, most int) bool {
	free, n := most-w.total, w.networks[a.network]
	switch {
	case free <= 0:
		return false
	case a.session != 0 && w.sessions[a.session] >= maxSessionWaiting:
		return false
	case n >= fewWaiting && n >= free-most/10:
		return false
	}
	if w.sessions == nil {
		w.sessions, w.networks = map[uint64]int{}, map[netip.Addr]int{}
	}
	w.total++
	w.sessions[a.session]++
	w.networks[a.network]++
	return true
}

func (w *waits) remove(a waiter) {
	w.total--
	if w.sessions[a.session]--; w.sessions[a.session] == 0 {
		delete(w.sessions, a.session)
	}
	if w.networks[a.network]--; w.networks[a.network] == 0 {
		delete(w.networks, a.network)
	}
}
