package detect

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
)

// combined is a score made of several, such as one for each hidden layer: Σ wᵢ·sᵢ + b.
type combined struct {
	parts   func(m *advlib.Model, x, z *Node) *Node // [n, parts]
	weights []float64
	bias    float64
}

// Graph implements [Score].
func (c *combined) Graph(m *advlib.Model, x, z *Node) *Node {
	s := c.parts(m, x, z)
	sum := AddScalar(ZerosLike(graph.SliceAxis(s, 1, AxisElem(0))), c.bias)
	for i, w := range c.weights {
		sum = Add(sum, MulScalar(graph.SliceAxis(s, 1, AxisElem(i)), w))
	}
	return Reshape(sum, s.Shape().Dimensions[0])
}

// combine finds the weights of scores. With an attack they are those of a logistic regression that tells adversarial
// inputs from clean and from noisy ones, all made of the same examples, as in the code of LID and of the Mahalanobis
// score. Without one each score is standardised on Data.Clean, and they are added.
func combine(
	ctx context.Context, c *advlib.Classifier, d Data, parts func(m *advlib.Model, x, z *Node) *Node,
) (*combined, error) {
	on := func(x *tensors.Tensor) ([][]float64, error) {
		v, err := values(ctx, c, x, parts)
		all := make([][]float64, len(v))
		for i, row := range v {
			all[i] = make([]float64, len(row))
			for j, s := range row {
				if all[i][j] = float64(s); math.IsNaN(all[i][j]) || math.IsInf(all[i][j], 0) {
					return nil, fmt.Errorf("score %d of example %d is %g", j, i, s)
				}
			}
		}
		return all, err
	}
	f := &combined{parts: parts}
	if !d.teaches() {
		clean, err := on(d.Clean.X)
		if err != nil {
			return nil, err
		}
		mean, deviation := moments(clean)
		for i := range mean {
			f.weights = append(f.weights, 1/deviation[i])
			f.bias -= mean[i] / deviation[i]
		}
		return f, nil
	}
	set, err := d.adversarial(ctx, c)
	if err != nil {
		return nil, err
	}
	var all [][]float64
	var y []float64
	for label, x := range map[float64][]*tensors.Tensor{0: {set.clean, set.noisy}, 1: {set.adversarial}} {
		for _, part := range x {
			s, err := on(part)
			if err != nil {
				return nil, err
			}
			for _, row := range s {
				all, y = append(all, row), append(y, label)
			}
		}
	}
	f.weights, f.bias, err = logistic(all, y)
	return f, err
}

// moments returns mean and standard deviation of each column; a column that does not vary has the deviation 1.
func moments(rows [][]float64) (mean, deviation []float64) {
	for j := range rows[0] {
		column := make([]float64, len(rows))
		for i := range rows {
			column[i] = rows[i][j]
		}
		m, s := stat.MeanStdDev(column, nil)
		if !(s > 0) {
			s = 1
		}
		mean, deviation = append(mean, m), append(deviation, s)
	}
	return mean, deviation
}

// logistic fits p(y = 1) = σ(w·x + b) by Newton's method. As in scikit-learn's LogisticRegression, ½‖w‖² is added to
// the sum of the losses; here the columns are standardised first, so that none counts less for its unit.
func logistic(x [][]float64, y []float64) (w []float64, b float64, err error) {
	mean, deviation := moments(x)
	k := len(mean)
	row := func(i int) []float64 {
		v := make([]float64, k+1)
		for j := range mean {
			v[j] = (x[i][j] - mean[j]) / deviation[j]
		}
		v[k] = 1
		return v
	}
	θ := mat.NewVecDense(k+1, nil)
	for range 100 {
		g, h := mat.NewVecDense(k+1, nil), mat.NewSymDense(k+1, nil)
		for j := range k {
			g.SetVec(j, θ.AtVec(j))
			h.SetSym(j, j, 1)
		}
		for i := range x {
			v := mat.NewVecDense(k+1, row(i))
			p := 1 / (1 + math.Exp(-mat.Dot(θ, v)))
			g.AddScaledVec(g, p-y[i], v)
			h.SymRankOne(h, p*(1-p), v)
		}
		h.SetSym(k, k, h.At(k, k)+1e-12) // where all p are 0 or 1
		var chol mat.Cholesky
		step := mat.NewVecDense(k+1, nil)
		if !chol.Factorize(h) || chol.SolveVecTo(step, g) != nil {
			return nil, 0, fmt.Errorf("the logistic regression over %d scores of %d inputs has no solution", k, len(x))
		}
		θ.SubVec(θ, step)
		if mat.Norm(step, 2) <= 1e-12*(1+mat.Norm(θ, 2)) {
			break
		}
	}
	b = θ.AtVec(k)
	for j := range k {
		w = append(w, θ.AtVec(j)/deviation[j])
		b -= w[j] * mean[j]
	}
	return w, b, nil
}

// teaches tells whether there are adversarial examples to learn from.
func (d Data) teaches() bool { return d.Attack != nil || d.Found != nil }

// split returns the examples for statistics and, where adversarial ones are to be learned from, those that these are
// made of: the last quarter, at most 1000. A detector that has seen an example in its statistics finds it, and what is
// near it, more normal than others.
func (d Data) split() (statistics, learning *advlib.Examples) {
	switch {
	case d.Found != nil:
		return d.Train, d.Found.Examples
	case d.Attack == nil:
		return d.Train, nil
	}
	n := d.Train.Len()
	at := n - min(max(1, n/4), 1000)
	return d.Train.Slice(0, at), d.Train.Slice(at, n)
}

// threefold are the same examples three times, row by row: as they are, adversarial, and with noise of the same length.
type threefold struct{ clean, adversarial, noisy *tensors.Tensor }

// fewest is how many adversarial inputs can be learned from.
const fewest = 10

// adversarial runs the attack on the examples to learn from. Noise is Gaussian, scaled to the L2 length of each
// perturbation, and clipped to the box.
func (d Data) adversarial(ctx context.Context, c *advlib.Classifier) (*threefold, error) {
	_, e := d.split()
	r := d.Found
	if r == nil {
		var err error
		if r, err = d.Settings.Run(ctx, c, e, d.Attack); err != nil {
			return nil, err
		}
	}
	if d.learnt != nil {
		d.learnt.from = r
	}
	var found []int
	for i, ok := range r.Success {
		if ok && r.Distance[i] > 0 {
			found = append(found, i)
		}
	}
	if len(found) < fewest {
		return nil, fmt.Errorf("%s found %d adversarial examples among %d, of which at least %d are needed to learn from: give more examples, "+
			"or a stronger attack", r.Attack, len(found), e.Len(), fewest)
	}
	t := &threefold{clean: advlib.TakeRows(e.X, found, len(found)), adversarial: advlib.TakeRows(r.Adversarial, found, len(found))}
	clean, adversarial := tensors.MustCopyFlatData[float32](t.clean), tensors.MustCopyFlatData[float32](t.adversarial)
	size, limits := len(clean)/len(found), c.Limits()
	random := rand.New(rand.NewPCG(d.Settings.Seed, 1))
	noisy := make([]float32, len(clean))
	for i := range found {
		noise, length := make([]float64, size), 0.
		for j := range noise {
			noise[j] = random.NormFloat64()
			length += noise[j] * noise[j]
		}
		at := i * size
		scale := advlib.L2.Distance(adversarial[at:at+size], clean[at:at+size]) / math.Sqrt(length)
		for j := range noise {
			v := clean[at+j]
			noisy[at+j] = limits.Clamp(j, float64(v)+scale*noise[j], v)
		}
	}
	t.noisy = tensors.FromFlatDataAndDimensions(noisy, t.clean.Shape().Dimensions...)
	return t, nil
}
