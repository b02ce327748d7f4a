package audience

import (
	"runtime"
	"testing"
	"time"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func TestViewers(t *testing.T) {
	const ms = time.Millisecond
	var v Viewers
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	want := func(d time.Duration, n int) {
		t.Helper()
		if got := v.Count(at(d)); got != n {
			t.Errorf("after %v: %d viewers, want %d", d, got, n)
		}
	}
	want(0, 0)
	for d := time.Duration(0); d < 20*time.Second; d += 300 * ms { // one player, several requests at a time
		v.Seen(1, 100, at(d))
		v.Seen(1, 100, at(d))
	}
	want(20*time.Second, 1)
	v.Seen(2, 200, at(20*time.Second))
	want(20*time.Second+500*ms, 2)
	want(31*time.Second, 2)
	want(32*time.Second, 1) // session 1 is gone 12 s after its last request
	want(33*time.Second, 0)
}

// A stream may last for longer than the times of its sessions count.
func TestLongStream(t *testing.T) {
	var v Viewers
	v.Seen(1, 100, noon)
	v.Count(noon.Add(time.Minute))                // as is done every second
	for _, days := range []int{49, 50, 99, 100} { // they wrap after 49.7 and 99.4
		for second := range 60 {
			now := noon.Add(time.Duration(days)*24*time.Hour + time.Duration(second)*time.Second)
			v.Seen(2, 200, now)
			if n := v.Count(now); n != 1 {
				t.Fatalf("%d viewers after %d days and %d s, want 1", n, days, second)
			}
		}
		v.Count(noon.Add(time.Duration(days)*24*time.Hour + 2*time.Minute))
	}
	wrap := noon.Add((1<<32 - 5000) * time.Millisecond)
	for second := range 30 {
		now := wrap.Add(time.Duration(second) * time.Second)
		v.Seen(3, 300, now)
		if n := v.Count(now); n != 1 {
			t.Fatalf("%d viewers %d s around the wrap, want 1", n, second-5)
		}
		if l, _ := v.List(now, 10); len(l) != 1 || now.Sub(l[0].Since) != time.Duration(second)*time.Second {
			t.Fatalf("%d s around the wrap the list is %+v", second-5, l)
		}
	}
}

// Reloads of a page are one viewer; two viewers behind one address are two.
func TestReloads(t *testing.T) {
	var v Viewers
	most := 0
	for i := range 30 { // one reload every second
		for j := range 4 {
			now := noon.Add(time.Duration(i)*time.Second + time.Duration(j)*250*time.Millisecond)
			v.Seen(uint64(i), 7, now)
			most = max(most, v.Count(now))
		}
	}
	if most > 3 {
		t.Errorf("%d viewers counted of one that reloads every second", most)
	}
	later := noon.Add(time.Minute)
	for i := range 100 {
		now := later.Add(time.Duration(i) * 300 * time.Millisecond)
		v.Seen(1000, 8, now)
		v.Seen(1001, 8, now)
	}
	if n := v.Count(later.Add(30 * time.Second)); n != 2 {
		t.Errorf("%d viewers counted of two that share an address", n)
	}
}

// Three viewers behind one address, whose players ask once in six seconds, are
// three: one that has just come may be taken for a reload until it asks again.
func TestSharedAddress(t *testing.T) {
	var v Viewers
	for second := range 120 {
		now := noon.Add(time.Duration(second) * time.Second)
		for i, offset := range []int{0, 2, 5} {
			if first := 9 * i; second >= first && (second-first+offset)%6 == 0 || second == first {
				v.Seen(uint64(i), 7, now)
			}
		}
		n := v.Count(now.Add(900 * time.Millisecond))
		if want := min(1+second/9, 3); second > 24 && n != want || n > want {
			t.Errorf("after %d s %d viewers are counted, want %d", second, n, want)
		}
	}
	if n := v.Count(noon.Add(3 * time.Minute)); n != 0 || v.inactive != 0 || len(v.sessions) != 0 || len(v.newest) != 0 {
		t.Errorf("when all have gone, %d are counted, %d inactive, %d known", n, v.inactive, len(v.sessions))
	}
}

// A million viewer sessions are counted, in less than 200 bytes each, and more
// cost nothing.
func TestMillionViewers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of a processor")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var v Viewers
	for i := range uint64(maxSessions) {
		v.Seen(i*0x9e3779b97f4a7c15, Client(i*0xbf58476d1ce4e5b9), noon)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (after.HeapAlloc - before.HeapAlloc) / maxSessions; each >= 200 {
		t.Errorf("a viewer session takes %d bytes", each)
	} else {
		t.Logf("a viewer session takes %d bytes", each)
	}
	for i := range uint64(1000) {
		v.Seen(1+i*0x9e3779b97f4a7c15, Client(i), noon)
	}
	if n := v.Count(noon.Add(time.Second)); n != maxSessions {
		t.Errorf("%d viewers", n)
	}
	if n := v.Count(noon.Add(time.Minute)); n != 0 || len(v.newest) != 0 {
		t.Errorf("%d viewers after a minute, %d clients remembered", n, len(v.newest))
	}
}

func BenchmarkSeen(b *testing.B) {
	b.ReportAllocs()
	var v Viewers
	for i := uint64(0); b.Loop(); i++ {
		v.Seen(i%1000, Client(i%1000), noon)
	}
}

// The whole million is looked through twice a second.
func BenchmarkCountMillion(b *testing.B) {
	b.ReportAllocs()
	var v Viewers
	for i := range uint64(maxSessions) {
		v.Seen(i, Client(i), noon)
	}
	for i := 0; b.Loop(); i++ {
		v.Count(noon.Add(time.Duration(i%10) * time.Second))
	}
}
