package detect

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	random "math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Blacklight is the detector of Li et al. (2022), arXiv:2006.14042: the values of a query are rounded to cells, each
// window of so many of them is hashed, the largest hashes are its fingerprint, and it is flagged if it shares too many
// with one earlier query. An attack is seen from its second query on.
//
// Four things differ from the authors' code, which rounds (255·x + salt) mod 255 to multiples of 50, with a salt for
// each value from a fixed seed, and flags 25 hashes of 50:
//
//   - Nothing wraps around. mod 255 takes black and white for the same, and mod 256 makes them neighbours, which a cell
//     of 50 levels nearly always holds both of: binary images all look alike then. Here the salt moves the borders of
//     the cells by less than one cell.
//   - The salt is secret, drawn anew for each memory: who knows it stays between two borders of a cell, or crosses one
//     in each window.
//   - Windows whose values are all at one end of the box say nothing and are left out, the background of digits.
//   - A share of the hashes counts instead of 25, since small inputs have fewer windows: 45 for 8×8.
type Blacklight struct {
	// Window is the number of values in a window, and Step how far the next one is; 0 means the paper's 20 and 1. Large
	// images take more: OARS gives ImageNet 50 and 25.
	Window, Step int
	// Cell is the width of a cell in 255ths of the box; 0 means the paper's 50.
	Cell float64
	// Keep is the number of hashes in a fingerprint; 0 means the paper's 50.
	Keep int
	// Share of the hashes of the larger of two fingerprints that are in both, from which on the later query is flagged; 0
	// means 0.5, which is the paper's 25 of 50.
	Share float64
	// Salt is the secret; nil draws one for each memory. Give one only to repeat a measurement.
	Salt []byte
	// Remember is the number of queries that are kept, of all clients together; 0 means 10,000, of about 4 kB each.
	Remember int
}

// String names the detector with what it is set to.
func (d Blacklight) String() string {
	d = d.defaults()
	return fmt.Sprintf("Blacklight, %.3g %% of %d hashes of %d values", 100*d.Share, d.Keep, d.Window)
}

func (d Blacklight) defaults() Blacklight {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&d.Window, 20)
	set(&d.Step, 1)
	set(&d.Keep, 50)
	set(&d.Remember, remember)
	if d.Cell == 0 {
		d.Cell = 50
	}
	if d.Share == 0 {
		d.Share = 0.5
	}
	return d
}

// Fit returns the detector with its Share raised, where it must be, so that no more than the fraction q of the examples
// reach it, each with one before it. What is alike by nature needs it: of 300 binary digits of 64 pixels 14 have half
// of their hashes in common with another, since some differ in one pixel. It is an error if any Share flags more, as
// where examples are equal.
func (d Blacklight) Fit(e *advlib.Examples, q float64) (Blacklight, error) {
	if !(q >= 0 && q < 1) || e.Len() == 0 {
		return d, fmt.Errorf("detect: Blacklight: Fit: %d examples, of which the fraction %g may be flagged: give some, and one from 0 "+
			"to 1", e.Len(), q)
	}
	flat := tensors.MustCopyFlatData[float32](e.X)
	box := advlib.Box{Lo: float64(slices.Min(flat)), Hi: float64(slices.Max(flat))}
	d.Remember = max(d.Remember, e.Len())
	memory, err := d.Start(advlib.Signature{Input: e.Shape(), Box: box})
	if err != nil {
		return d, err
	}
	m := memory.(*fingerprints)
	var shares []float64
	for x := range slices.Chunk(flat, len(flat)/e.Len()) {
		own := m.of(0, x)
		shares = append(shares, m.likest(own))
		m.keep(own)
	}
	slices.Sort(shares)
	most := shares[len(shares)-1-int(q*float64(len(shares)))]
	if d.Share = max(m.Share, most+0.5/float64(m.Keep)); d.Share > 1 {
		return d, fmt.Errorf("detect: Blacklight: Fit: more than the fraction %g of the examples have %.3g of their hashes in common with "+
			"one before them: no Share tells them from an attack", q, most)
	}
	return d, nil
}

// Start implements [Detector].
func (d Blacklight) Start(s advlib.Signature) (Memory, error) {
	d = d.defaults()
	size, limits := sizeOf(s), s.Limits()
	switch {
	case min(d.Window, d.Step, d.Keep, d.Remember) < 1:
		return nil, fmt.Errorf("detect: Blacklight: %+v: none of its numbers is below 0", d)
	case !(d.Cell >= 1 && d.Cell <= 255):
		return nil, fmt.Errorf("detect: Blacklight: a Cell of %g is not in 1..255, in 255ths of the box", d.Cell)
	case !(d.Share > 0 && d.Share <= 1):
		return nil, fmt.Errorf("detect: Blacklight: a share of %g is not in 0..1", d.Share)
	case d.Window > size:
		return nil, fmt.Errorf("detect: Blacklight: inputs of shape %v have %d values: a Window of %d does not fit", s.Input, size, d.Window)
	}
	salt := d.Salt
	if salt == nil {
		salt = make([]byte, 32)
		_, _ = rand.Read(salt) // it never fails
	}
	m := &fingerprints{Blacklight: d, seed: sha256.Sum256(salt), having: map[uint64][]int32{}}
	r := random.New(random.NewChaCha8(m.seed))
	for j := range size {
		m.ranges = append(m.ranges, limits.RangeOf(j))
		m.salt = append(m.salt, r.Float64())
	}
	return m, nil
}

// fingerprints is the memory of a Blacklight.
type fingerprints struct {
	Blacklight
	seed   [32]byte
	ranges []advlib.Box
	salt   []float64 // of each value, in cells

	kept   [][]uint64         // the hashes of each query that is remembered, a ring
	next   int                // the oldest of them
	having map[uint64][]int32 // which of them have a hash
	shared []int32            // with each of them; 0 between calls
}

// See implements [Memory].
func (m *fingerprints) See(client int32, x []float32) bool {
	own := m.of(client, x)
	flagged := m.likest(own) >= m.Share
	m.keep(own)
	return flagged
}

// likest returns the largest share of hashes that a fingerprint has in common with one that is remembered.
func (m *fingerprints) likest(own []uint64) (share float64) {
	var met []int32
	for _, h := range own {
		for _, q := range m.having[h] {
			if m.shared[q] == 0 {
				met = append(met, q)
			}
			m.shared[q]++
		}
	}
	for _, q := range met {
		share = max(share, float64(m.shared[q])/float64(max(len(own), len(m.kept[q]))))
		m.shared[q] = 0
	}
	return share
}

// keep puts a fingerprint in the place of the oldest.
func (m *fingerprints) keep(own []uint64) {
	if len(m.kept) < m.Remember {
		m.kept, m.shared = append(m.kept, nil), append(m.shared, 0)
	}
	at := int32(m.next)
	for _, h := range m.kept[at] {
		rest := slices.DeleteFunc(m.having[h], func(q int32) bool { return q == at })
		if len(rest) == 0 {
			delete(m.having, h)
		} else {
			m.having[h] = rest
		}
	}
	m.kept[at] = own
	for _, h := range own {
		m.having[h] = append(m.having[h], at)
	}
	m.next = (m.next + 1) % m.Remember
}

// of returns the fingerprint of an input: the largest hashes of its windows, each once. A client's hashes are equal to
// nobody else's.
func (m *fingerprints) of(client int32, x []float32) []uint64 {
	cells, end := make([]byte, len(x)), make([]int8, len(x))
	for j, v := range x {
		r := m.ranges[j]
		level := (float64(v) - r.Lo) / max(r.Width(), math.SmallestNonzeroFloat64)
		cells[j] = byte(max(0, min(255, math.Floor(level*255/m.Cell+m.salt[j]))))
		switch {
		case level <= 0:
			end[j] = -1
		case level >= 1:
			end[j] = 1
		}
	}
	var all []uint64
	text := make([]byte, 0, len(m.seed)+8+m.Window)
	for lo := 0; lo+m.Window <= len(x); lo += m.Step {
		if first := end[lo]; first != 0 && !slices.ContainsFunc(end[lo:lo+m.Window], func(e int8) bool { return e != first }) {
			continue
		}
		text = append(text[:0], m.seed[:]...)
		text = binary.LittleEndian.AppendUint32(text, uint32(client))
		text = binary.LittleEndian.AppendUint32(text, uint32(lo))
		text = append(text, cells[lo:lo+m.Window]...)
		sum := sha256.Sum256(text)
		all = append(all, binary.BigEndian.Uint64(sum[:]))
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.Clone(all[max(0, len(all)-m.Keep):])
}
