package smooth

import (
	"context"
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Streams of an example.
const (
	chooseStream = iota
	estimateStream
	predictStream
	surrogateStream
)

// key returns the two words that key the noise of a stream of the example with that [advlib.Examples.Key].
func (s Gaussian) key(example, stream uint64) (k0, k1 uint32) {
	bits := advlib.Batch{Key: []uint64{example}, Seed: s.Seed}.Rand(0, stream).Uint64()
	return uint32(bits >> 32), uint32(bits)
}

// countKey is what the compiled counting depends on, besides the shapes of its inputs.
type countKey struct {
	step  float64 // of the grid
	draws int
}

// graph adds the classes of some noisy copies of one input to counts: SampleUnderNoise of Cohen et al. (2019), section
// 3.2. in is the input x [1, d...], σ, the two words of the key, the number of the first draw, how many draws there are
// in all, and the counts, int32 [K+1]. Draws beyond the last are not counted. The last count is of copies whose logits
// are not finite: they count for no class.
func (k countKey) graph(m *advlib.Model, in []*Node) []*Node {
	x, σ, k0, k1, first, total, counts := in[0], in[1], in[2], in[3], in[4], in[5], in[6]
	dims := x.Shape().Dimensions
	η := normals(k0, k1, first, k.draws, x.Shape().Size())
	noisy := Add(onGrid(Reshape(x, 1, -1), k.step), onGrid(Mul(η, σ), k.step)) // exact: see Gaussian.grid
	z := m.Logits(Reshape(noisy, append([]int{k.draws}, dims[1:]...)...))
	K := z.Shape().Dimensions[1]
	class := ArgMax(z, 1, dtypes.Int32)
	finite := ReduceLogicalAnd(IsFinite(z), 1)
	class = Where(finite, class, MulScalar(OnesLike(class), K))
	draw := Add(Iota(x.Graph(), shapes.Make(dtypes.Uint32, k.draws), 0), first)
	votes := Mul(OneHot(class, K+1, dtypes.Int32), ExpandAxes(ConvertDType(LessThan(draw, total), dtypes.Int32), -1))
	return []*Node{Add(counts, ReduceSum(votes, 0))}
}

// numbers bounds the coordinates of the noisy copies of a call.
const numbers = 1 << 20

// perCall returns how many copies of an input of d coordinates are classified in one call, when n are wanted.
func perCall(n, d int) int {
	size := 1024
	if n < size {
		size = advlib.Bucket(n)
	}
	for size > 8 && size*d > numbers {
		size /= 2
	}
	return size
}

// counts returns how often each class was the base classifier's answer to n noisy copies of an example's input, and
// behind them how often the answer was none.
func (s Gaussian) counts(ctx context.Context, t *advlib.Counted, e *advlib.Examples, row int, stream uint64, n int) ([]int, error) {
	x := advlib.TakeRows(e.X, []int{row}, 1)
	defer func() { advlib.Free(x) }()
	key := countKey{step: s.grid(), draws: perCall(n, x.Shape().Size())}
	step := t.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, in) })
	k0, k1 := s.key(e.Key(row), stream)
	counts := tensors.FromFlatDataAndDimensions(make([]int32, s.Base.Classes()+1), s.Base.Classes()+1)
	defer func() { advlib.Free(counts) }()
	for first := 0; first < n; first += key.draws {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out, err := step.Run(min(key.draws, n-first), x, float32(s.Sigma), k0, k1, uint32(first), uint32(n), counts)
		if err != nil {
			return nil, fmt.Errorf("classifying %d noisy copies of example %d: %w", key.draws, row, err)
		}
		advlib.Free(counts)
		counts = out[0]
	}
	got := make([]int, s.Base.Classes()+1)
	for k, c := range tensors.MustCopyFlatData[int32](counts) {
		got[k] = int(c)
	}
	return got, nil
}
