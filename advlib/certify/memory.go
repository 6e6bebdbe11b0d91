package certify

import (
	"fmt"

	"advlab/advlib"
	"advlab/advlib/certify/internal/propagate"
	"advlab/advlib/internal/option"
)

// memory is what the tensors of one computation may take, in bytes, unless [Network.LimitMemory] says otherwise.
var memory = 1 << 30

// rowMemory is the same for a backward pass. It is less, because many small ones are faster than a few large ones:
// their tensors stay in the processor's caches, and the system need not find memory for each anew. XLA takes what a
// call needs beside its results in one piece, and the C library gives pieces above 32 MiB back each time: a third of
// the processors' time went into finding their pages.
const rowMemory = 64 << 20

// Copies of every node of the model that are taken to be alive at once, in float64, for one region of a pass forward,
// for one row of a pass back, and for one of a pass that tunes slopes.
const (
	copiesForward = 8
	copiesBack    = 6
	copiesTuned   = 12
)

// Footprint is what bounds are estimated to take in memory, in bytes, from the number of neurons: before anything is
// compiled.
type Footprint struct {
	// Region is for one region, Row for one row, of which CROWN has two for each neuron whose sign is open.
	Region, Row int64
	// Limit is what the tensors of one computation may take. Regions and rows are bounded in as many pieces as that needs.
	Limit int64
}

// String returns for example "region 1.5 MiB, row 1.1 MiB, limit 1.0 GiB".
func (f Footprint) String() string {
	return fmt.Sprintf("region %s, row %s, limit %s", bytesOf(f.Region), bytesOf(f.Row), bytesOf(f.Limit))
}

// Footprint returns the estimate for the network.
func (n *Network) Footprint() Footprint {
	return Footprint{Region: int64(8 * copiesForward * n.numbers), Row: int64(8 * copiesBack * n.numbers), Limit: int64(n.allowed())}
}

// LimitMemory sets how many bytes the tensors of one computation may take from now on, as far as that can be estimated;
// 0 means 1 GiB. It is an error, and changes nothing, if not even one region, or one row, fits.
func (n *Network) LimitMemory(bytes int64) error {
	if bytes < 0 {
		return fmt.Errorf("certify: model %q: a limit of %d bytes: give a number above 0, or 0 for %s", n.model.Name, bytes,
			bytesOf(int64(memory)))
	}
	if bytes == 0 {
		n.limit.Store(0)
	}
	if err := n.within(bytes); err != nil {
		return fmt.Errorf("certify: model %q: %w", n.model.Name, err)
	}
	return nil
}

// within sets a limit, unless it is 0, and refuses what does not fit.
func (n *Network) within(bytes int64) error {
	if bytes == 0 {
		return n.fits(false)
	}
	old := n.limit.Swap(bytes)
	if err := n.fits(false); err != nil {
		n.limit.Store(old)
		return err
	}
	return nil
}

func (n *Network) allowed() int {
	if l := n.limit.Load(); l > 0 {
		return int(l)
	}
	return memory
}

// fits refuses what does not fit even in pieces. With tuned, slopes are to be tuned, which takes more.
func (n *Network) fits(tuned bool) error {
	f := n.Footprint()
	most, what := max(f.Region, f.Row), "one region alone"
	if t := int64(8 * copiesTuned * n.numbers); tuned && t > most {
		most, what = t, "one row whose slopes are tuned"
	}
	if most > f.Limit {
		return fmt.Errorf("%s would take about %s (%d neurons), and %s are allowed for one computation: %v, or bound a smaller model", what,
			bytesOf(most), n.numbers, bytesOf(f.Limit), option.Name("allow more, with Network.LimitMemory or Options.Memory of Verify"))
	}
	return nil
}

// batch returns how many examples, padded, go through a forward pass.
func (n *Network) batch(examples int, m Method) int {
	size := advlib.Bucket(examples)
	for size > 8 && 8*copiesForward*n.numbers*size > n.allowed() {
		size /= 4 // the next smaller bucket
	}
	if 8*copiesForward*n.numbers*size > n.allowed() {
		size = 1
	}
	return size
}

// rowBatch returns how many rows, padded, go through a backward pass, on patches if places are not nil.
func (n *Network) rowBatch(rows int, p *propagate.Places) int {
	numbers := n.numbers
	if p != nil {
		numbers = p.Numbers
	}
	size := 128 // fewer do not pay for another compilation, unless the model is large
	if numbers > 2000 {
		size = 16
	}
	for size < rows && size < 1<<13 {
		size *= 8
	}
	limit := min(n.allowed(), rowMemory)
	for size > 16 && 8*copiesBack*numbers*size > limit {
		size /= 8
	}
	if 8*copiesBack*numbers*size > n.allowed() {
		size = 1
	}
	return size
}

// ascentBatch returns how many rows, padded, go through a step.
func (n *Network) ascentBatch(rows int, p *propagate.Places) int {
	numbers := n.numbers
	if p != nil {
		numbers = p.Numbers
	}
	size := n.rowBatch(rows, p)
	for size > 16 && 8*copiesTuned*numbers*size > n.allowed() {
		size /= 8
	}
	if 8*copiesTuned*numbers*size > n.allowed() {
		size = 1
	}
	return size
}

func bytesOf(n int64) string {
	v, unit := float64(n), "bytes"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, next
	}
	if unit == "bytes" {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
