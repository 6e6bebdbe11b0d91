package detect

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// KNN is the detector of Chen, Carlini and Wagner (2019), "Stateful detection of black-box adversarial attacks",
// arXiv:1907.05587: a query is flagged if its mean distance to the K nearest earlier ones is below a threshold, and the
// client's queries are then forgotten. An attack is seen after K queries at the earliest.
//
// [KNN.Fit] finds the threshold from data. Comparing costs Remember distances for each query: about 3 ms for 10,000
// images of 784 values.
type KNN struct {
	// K is the number of neighbours; 0 means the paper's 50.
	K int
	// Threshold is the least mean distance of a query that is not flagged. It must be above 0; [KNN.Fit] sets it.
	Threshold float64
	// Encode maps an input, flat, to where L2 distances are taken, as the paper's encoder does, which is trained to map
	// changed copies of an image to nearly the same place. Nil takes the inputs themselves. It must not change x.
	Encode func(x []float32) []float32
	// Remember is the number of queries that are kept, of all clients together; 0 means 10,000.
	Remember int
}

// String names the detector with what it is set to.
func (d KNN) String() string {
	return fmt.Sprintf("mean distance to the %d nearest below %.4g", d.k(), d.Threshold)
}

func (d KNN) k() int {
	if d.K == 0 {
		return 50
	}
	return d.K
}

// Start implements [Detector].
func (d KNN) Start(advlib.Signature) (Memory, error) {
	switch {
	case d.K < 0 || d.Remember < 0:
		return nil, fmt.Errorf("detect: KNN: K %d, Remember %d: neither is below 0", d.K, d.Remember)
	case !(d.Threshold > 0) || math.IsInf(d.Threshold, 1):
		return nil, fmt.Errorf("detect: KNN: a threshold of %g: it must be above 0; one is found from data by Fit", d.Threshold)
	}
	d.K = d.k()
	if d.Remember == 0 {
		d.Remember = remember
	}
	if d.Remember < d.K {
		return nil, fmt.Errorf("detect: KNN: of %d queries that are remembered %d cannot be the nearest: raise Remember", d.Remember, d.K)
	}
	return &neighbours{KNN: d}, nil
}

// mostFitted is how many examples Fit compares with each other, at most.
const mostFitted = 2000

// Fit returns the detector with the threshold below which the share q of the examples has its mean distance to the K
// nearest others: the paper has q = 0.001. With q = 0 no example is below. Of more than 2,000 examples the first are
// taken.
func (d KNN) Fit(e *advlib.Examples, q float64) (KNN, error) {
	if !(q >= 0 && q < 1) {
		return d, fmt.Errorf("detect: KNN: Fit: the share of examples below the threshold is %g: give one from 0 to 1", q)
	}
	e = e.First(min(e.Len(), mostFitted))
	if e.Len() <= d.k() {
		return d, fmt.Errorf("detect: KNN: Fit: %d examples have no %d others: give more", e.Len(), d.k())
	}
	flat := tensors.MustCopyFlatData[float32](e.X)
	size := len(flat) / e.Len()
	var at [][]float32
	for x := range slices.Chunk(flat, size) {
		at = append(at, d.encoded(x))
	}
	means := make([]float64, len(at))
	for i, x := range at {
		near := nearest{k: d.k()}
		for j, y := range at {
			if j != i {
				near.meet(x, y)
			}
		}
		means[i] = near.mean()
	}
	slices.Sort(means)
	if d.Threshold = means[int(q*float64(len(means)))]; d.Threshold == 0 {
		return d, errors.New("detect: KNN: Fit: so many examples are equal that the threshold is 0: give examples that differ")
	}
	return d, nil
}

func (d KNN) encoded(x []float32) []float32 {
	if d.Encode == nil {
		return x
	}
	return d.Encode(x)
}

// neighbours is the memory of a KNN: a ring of points.
type neighbours struct {
	KNN
	points [][]float32
	of     []int32 // clients; −1 for a point that is forgotten
	next   int
}

// See implements [Memory].
func (m *neighbours) See(client int32, x []float32) bool {
	y := m.encoded(x)
	near := nearest{k: m.K}
	for i, p := range m.points {
		if m.of[i] == client {
			near.meet(y, p)
		}
	}
	if len(near.squares) == m.K && near.mean() < m.Threshold {
		for i := range m.of {
			if m.of[i] == client {
				m.of[i] = -1
			}
		}
		return true
	}
	if len(m.points) < m.Remember {
		m.points, m.of = append(m.points, nil), append(m.of, 0)
	}
	m.points[m.next], m.of[m.next] = append(m.points[m.next][:0], y...), client
	m.next = (m.next + 1) % m.Remember
	return false
}

// nearest holds the k smallest squares of distances, in order.
type nearest struct {
	k       int
	squares []float64
}

// meet takes the distance of two points into account.
func (n *nearest) meet(x, y []float32) {
	most := math.Inf(1)
	if len(n.squares) == n.k {
		most = n.squares[n.k-1]
	}
	var sum float64
	for lo := 0; lo < len(x); lo += 64 { // a point that is too far is given up early
		for i := lo; i < min(lo+64, len(x)); i++ {
			d := float64(x[i] - y[i])
			sum += d * d
		}
		if sum >= most {
			return
		}
	}
	at, _ := slices.BinarySearch(n.squares, sum)
	if len(n.squares) == n.k {
		n.squares = n.squares[:n.k-1]
	}
	n.squares = slices.Insert(n.squares, at, sum)
}

// mean is that of the distances.
func (n *nearest) mean() float64 {
	var sum float64
	for _, s := range n.squares {
		sum += math.Sqrt(s)
	}
	return sum / float64(len(n.squares))
}
