package detect_test

import (
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/certify"
	"advlab/advlib/detect"
	"advlab/advlib/transform"
)

// oneBit bounds what feature squeezing with 1 bit among its squeezers can be made to accept in an Linf ball, whatever
// the attack. Only pixels within ε of a half can get another bit. Let q be the probabilities that the classifier gives
// the image of bits, and p those that it gives the input. An input is misclassified where p_k ≥ p_y for a class k ≠ y,
// and the nearest such p to q, in L1, is q_y − q_k away. So where for all bits that can be had
//
//	q_y − max_{k≠y} q_k > threshold
//
// every misclassified input of the ball is flagged. With lower bounds l_k of the margins z_y − z_k over a box of bits,
//
//	q_y − q_k ≥ (1 − exp(−l_k)) / (1 + Σ_j exp(−l_j))
//
// which is proven by bounds over the box, split at a pixel where they are too loose, until both halves are proven.
type oneBit struct {
	of        *advlib.Classifier
	net       *certify.Network
	ball      advlib.Ball
	threshold float64
	most      int // how many boxes are tried for an example
}

// proven tells of each example whether no input of its ball is accepted and misclassified, and how many of its pixels
// are free.
func (o oneBit) proven(t *testing.T, e *advlib.Examples) (proven []bool, free []int) {
	t.Helper()
	flat := tensors.MustCopyFlatData[float32](e.X)
	size := len(flat) / e.Len()
	proven = make([]bool, e.Len())
	for i := range e.Len() {
		lower, upper := make([]float64, size), make([]float64, size)
		n := 0
		for j, v := range flat[i*size : (i+1)*size] {
			switch {
			case math.Abs(float64(v)-0.5) <= o.ball.Radius+1e-6:
				upper[j] = 1
				n++
			case v > 0.5:
				lower[j], upper[j] = 1, 1
			}
		}
		free = append(free, n)
		proven[i] = o.always(t, lower, upper, int(e.Y[i]))
	}
	return proven, free
}

// always tells whether class y is proven to lead by more than the threshold for all bits in a box.
func (o oneBit) always(t *testing.T, lower, upper []float64, y int) bool {
	t.Helper()
	type box struct{ lower, upper []float64 }
	open, rows := []box{{lower, upper}}, certify.MarginRows(y, o.of.Classes())
	for tried := 0; len(open) > 0; {
		var some []box
		for len(open) > 0 && len(some) < 32 { // the newest, which are the smallest
			some, open = append(some, open[len(open)-1]), open[:len(open)-1]
		}
		if tried += len(some); tried > o.most {
			return false
		}
		var r certify.Regions
		for _, b := range some {
			r.Lower, r.Upper = append(r.Lower, b.lower), append(r.Upper, b.upper)
		}
		a, err := o.net.Bound(t.Context(), certify.Query{Regions: r, Rows: [][][]float64{rows}, Slopes: true}, certify.CROWN)
		if err != nil {
			t.Fatal(err)
		}
		var corners []float32 // where the bounds are least: images of bits that may decide it
		for i, b := range some {
			if lead(a.Lower[i]) > o.threshold+1e-4 {
				continue
			}
			at, weight, worst := -1, 0., slices.Index(a.Lower[i], slices.Min(a.Lower[i]))
			for j := range b.lower {
				w := 0.
				for k, slopes := range a.Slopes[i] {
					w += math.Exp(-math.Min(50, math.Max(-50, a.Lower[i][k]))) * math.Abs(slopes[j])
				}
				if b.upper[j] > b.lower[j] && (at < 0 || w > weight) {
					at, weight = j, w
				}
				bit := b.lower[j]
				if a.Slopes[i][worst][j] < 0 {
					bit = b.upper[j]
				}
				corners = append(corners, float32(bit))
			}
			if at < 0 {
				return false // one image, and it does not lead by enough
			}
			for _, bit := range []float64{0, 1} {
				half := box{slices.Clone(b.lower), slices.Clone(b.upper)}
				half.lower[at], half.upper[at] = bit, bit
				open = append(open, half)
			}
		}
		if len(corners) > 0 && slices.Min(o.leads(t, corners, y)) <= o.threshold {
			return false
		}
	}
	return true
}

// leads computes those of class y on images.
func (o oneBit) leads(t *testing.T, points []float32, y int) (all []float64) {
	t.Helper()
	shape := o.of.Input()
	size := 1
	for _, d := range shape {
		size *= d
	}
	z, err := o.of.Logits(tensors.FromFlatDataAndDimensions(points, append([]int{len(points) / size}, shape...)...))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range z {
		var margins []float64
		for k, v := range row {
			if k != y {
				margins = append(margins, float64(row[y]-v))
			}
		}
		all = append(all, lead(margins))
	}
	return all
}

// lead is min_k (1 − exp(−l_k)) / (1 + Σ_j exp(−l_j)), of margins l.
func lead(l []float64) float64 {
	sum, largest := 0., 0.
	for _, v := range l {
		sum += math.Exp(-v)
		largest = math.Max(largest, math.Exp(-v))
	}
	if math.IsInf(sum, 1) || math.IsNaN(sum) {
		return math.Inf(-1)
	}
	return (1 - largest) / (1 + sum)
}

// exhaust computes the least lead over all bits that can be had; the number of free pixels must be small.
func (o oneBit) exhaust(t *testing.T, x []float32, y int) float64 {
	t.Helper()
	at := make([]float32, len(x))
	var free []int
	for j, v := range x {
		if math.Abs(float64(v)-0.5) <= o.ball.Radius+1e-6 {
			free = append(free, j)
		} else if v > 0.5 {
			at[j] = 1
		}
	}
	least := math.Inf(1)
	for part := range slices.Chunk(slices.Collect(upTo(1<<len(free))), 4096) {
		var points []float32
		for _, bits := range part {
			for k, j := range free {
				at[j] = float32(bits >> k & 1)
			}
			points = append(points, at...)
		}
		least = min(least, slices.Min(o.leads(t, points, y)))
	}
	return least
}

func upTo(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// TestOneBitInLinf: how many images of feature squeezing no attack in the ball can evade, since too few of their bits
// can be changed. What is proven agrees with all bits tried, and the adaptive attack evades none of it. With
// ADVLAB_FULL=1 on MNIST.
func TestOneBitInLinf(t *testing.T) {
	s, n, most := digitsSubject(t, "go"), 32, 64
	s.squeezing.Squeezers = []transform.Transform{transform.BitDepth{Bits: 1}}
	s.ball = advlib.Linf.Ball(0.1)
	if os.Getenv("ADVLAB_FULL") != "" {
		s, n, most = mnist(t), 100, 7
	}
	d := detect.MustScreen(t.Context(), s.classifier, s.squeezing, s.data)
	if d.Threshold > 1 { // one bit says little of digits, and nothing is proven
		d.Threshold = 0.5
	}
	o, e := newOneBit(t, s, d, most), s.clean.First(n)
	proven, free := o.proven(t, e)
	tried, flat := 0, tensors.MustCopyFlatData[float32](e.X)
	var which []int
	for i, ok := range proven {
		if ok {
			which = append(which, i)
		}
		if free[i] > 12 {
			continue
		}
		tried++
		least := o.exhaust(t, flat[i*len(flat)/n:(i+1)*len(flat)/n], int(e.Y[i]))
		if ok != (least > d.Threshold+1e-4) {
			t.Errorf("example %d, %d free pixels: proven %v, but the least lead over all bits is %.4f at a threshold of %.4f", e.Number(i), free[i],
				ok, least, d.Threshold)
		}
	}
	slices.Sort(free)
	all := advlib.Rate{Count: len(which), Of: n}
	row := fmt.Sprintf("no input of the ball evades: proven of %v %s of %d images; bits that can change: %d in the median, %d at most\n",
		all, all.Interval(), n, free[n/2], free[n-1])
	t.Logf("%sthreshold %.4f; all bits tried of %d", row, d.Threshold, tried)
	if name := fmt.Sprintf("%v in %v", d, s.ball); os.Getenv("ADVLAB_FULL") != "" && *update {
		writeTable(t, map[string]string{name: name + ": " + row})
	}
	if os.Getenv("ADVLAB_FULL") != "" && all.Count == 0 { // 50 bits are too many for so few boxes
		return
	}
	if all.Count == 0 || tried == 0 && os.Getenv("ADVLAB_FULL") == "" {
		t.Fatalf("%d proven, all bits tried of %d: want some of each", all.Count, tried)
	}
	r, err := detect.Inspection{Adaptive: []advlib.Attack{d.Adaptive(s.ball)}}.Run(t.Context(), d, e.Select(which))
	if err != nil {
		t.Fatal(err)
	}
	if evaded := r.Attacks[0].Evaded; evaded.Count > 0 {
		t.Errorf("%v are proven, and %v of these evaded", all, evaded)
	}
}

func newOneBit(t *testing.T, s subject, d *detect.Screened, most int) oneBit {
	t.Helper()
	net, err := certify.Of(s.classifier)
	if err != nil {
		t.Fatal(err)
	}
	return oneBit{of: s.classifier, net: net, ball: s.ball, threshold: d.Threshold, most: most}
}
