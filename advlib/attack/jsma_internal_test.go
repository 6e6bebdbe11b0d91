package attack

import "testing"

// salient finds the pair of largest −α·β, of different coordinates, with α > 0 > β, and no more new ones than there is
// room for.
func TestSalient(t *testing.T) {
	moves := []move{
		{at: 0, α: 5, β: 4, new: true}, {at: 1, α: -1, β: -9, new: true}, {at: 2, α: 1, β: -1, new: true}, {at: 2, α: 9, β: -9}, {at: 3, α: 2, β: -2, new: true},
	}
	for _, c := range []struct {
		moves []move
		room  int
		p, q  int
		ok    bool
	}{
		{moves[:3], 2, 0, 1, true},  // (5−1)·(9−4); the other sums have the wrong sign
		{moves[:3], 1, 0, 0, false}, // all are new
		{moves, 2, 1, 2, true},      // (9−1)·(9+9), not coordinate 2 twice
		{moves, 0, 0, 0, false},     // one of them is new
		{moves[:1], 2, 0, 0, false},
	} {
		p, q, ok := salient(c.moves, c.room)
		if ok != c.ok || ok && (p.at != c.p || q.at != c.q) {
			t.Errorf("room %d among %v: %v and %v, %v", c.room, c.moves, p, q, ok)
		}
	}
}
