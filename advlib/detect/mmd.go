package detect

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// MMD is the two-sample test by the maximum mean discrepancy of Gretton et al. (2012), JMLR 13, with which Grosse et
// al. (2017), arXiv:1702.06280, ask of a set of inputs whether it is drawn as clean inputs are. It says
// nothing of a single input. The statistic is the unbiased estimate,
//
//	MMD² = mean_{i≠j} k(xᵢ, xⱼ) + mean_{i≠j} k(yᵢ, yⱼ) − 2 mean_{i,j} k(xᵢ, yⱼ),   k(x, y) = exp(−‖x − y‖² / 2σ²)
//
// and the p-value is its rank among those of random divisions of all points: exact, whatever the distribution.
type MMD struct {
	// Bandwidth is σ; 0 means the median distance of two different points of both sets.
	Bandwidth float64
	// Permutations is how many divisions are drawn; 0 means 1000. The p-value is at least 1/(Permutations + 1).
	Permutations int
	// Seed keys the draws.
	Seed uint64
}

// Discrepancy is what an [MMD] finds.
type Discrepancy struct {
	// Squared is the estimate of MMD², which may be below 0.
	Squared float64
	// P is the chance of one as high where both sets are drawn alike.
	P float64
	// Bandwidth is σ.
	Bandwidth float64
}

// Test compares two sets of inputs, x [n, d...] and y [m, d...], of at least two each.
func (t MMD) Test(x, y *tensors.Tensor) (Discrepancy, error) {
	fail := func(format string, args ...any) (Discrepancy, error) {
		return Discrepancy{}, fmt.Errorf("detect: MMD: "+format, args...)
	}
	if x == nil || y == nil || x.Rank() < 1 || y.Rank() < 1 {
		return fail("one of the sets is nil or has no rows: give inputs [n, d...]")
	}
	a, b := x.Shape().Dimensions, y.Shape().Dimensions
	switch {
	case !slices.Equal(a[1:], b[1:]):
		return fail("inputs of shape %v and %v cannot be compared: give both the same shape", a[1:], b[1:])
	case a[0] < 2 || b[0] < 2:
		return fail("sets of %d and %d inputs: it takes at least 2 of each", a[0], b[0])
	case t.Permutations < 0 || !(t.Bandwidth >= 0) || math.IsInf(t.Bandwidth, 0):
		return fail("Permutations = %d and Bandwidth = %g: both must be finite and at least 0", t.Permutations, t.Bandwidth)
	}
	flat := append(tensors.MustCopyFlatData[float32](x), tensors.MustCopyFlatData[float32](y)...)
	n, all := a[0], a[0]+b[0]
	size := len(flat) / all
	k := make([][]float64, all) // squared distances, then kernels
	var distances []float64
	for i := range k {
		k[i] = make([]float64, all)
		for j := range i {
			d := advlib.L2.Distance(flat[i*size:(i+1)*size], flat[j*size:(j+1)*size])
			k[i][j], k[j][i] = d*d, d*d
			distances = append(distances, d)
		}
	}
	σ := t.Bandwidth
	if σ == 0 {
		slices.Sort(distances)
		if σ = distances[len(distances)/2]; σ == 0 || math.IsNaN(σ) {
			return fail("the median distance of two inputs is %g: give the Bandwidth", σ)
		}
	}
	total := 0.
	for i := range k {
		for j := range k[i] {
			k[i][j] = math.Exp(-k[i][j] / (2 * σ * σ))
		}
		k[i][i] = 0
		for _, v := range k[i] {
			total += v
		}
	}
	order := make([]int, all)
	for i := range order {
		order[i] = i
	}
	d := Discrepancy{Bandwidth: σ, Squared: discrepancy(k, order, n, total)}
	random, permutations := rand.New(rand.NewPCG(t.Seed, 3)), cmp.Or(t.Permutations, 1000)
	higher := 1
	for range permutations {
		random.Shuffle(all, func(i, j int) { order[i], order[j] = order[j], order[i] })
		if discrepancy(k, order, n, total) >= d.Squared-1e-12 {
			higher++
		}
	}
	d.P = float64(higher) / float64(permutations+1)
	return d, nil
}

// discrepancy is MMD² of the first n points of an order and the others. Kernels have 0 on the diagonal, and the given
// total.
func discrepancy(k [][]float64, order []int, n int, total float64) float64 {
	first, across := 0., 0. // sums over ordered pairs within the first set, and from it to the other
	for _, i := range order[:n] {
		row := k[i]
		for _, j := range order[:n] {
			first += row[j]
		}
		for _, j := range order[n:] {
			across += row[j]
		}
	}
	m := len(order) - n
	second := total - first - 2*across
	return first/float64(n*(n-1)) + second/float64(m*(m-1)) - 2*across/float64(n*m)
}
