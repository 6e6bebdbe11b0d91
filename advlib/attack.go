package advlib

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"
)

// Attack proposes adversarial examples. It is a struct whose exported fields are its hyper-parameters; their zero
// values mean the paper's. An attack never measures itself: see [Settings.Run].
type Attack interface {
	// String names the attack with its hyper-parameters, for tables: "PGD-40 Linf ≤ 0.1".
	String() string
	// Threat checks the attack's fields against the victim, before anything is computed, and says what the attack may
	// change and what it wants. An attack that looks into a graph asks [WhiteBox] for it.
	Threat(v Victim) (Threat, error)
	// Perturb returns one candidate for each row of b, in the shape of b.X. For rows where it finds nothing it may
	// return anything inside the threat model; Run puts the original there. When ctx is done it returns the best
	// candidates so far together with ctx.Err().
	Perturb(ctx context.Context, v *Counted, b Batch) (*tensors.Tensor, error)
}

// Threat is what an attack may change, and what it wants.
type Threat struct {
	// Norm measures the perturbation.
	Norm Norm
	// Radius is the budget ε; +Inf for an attack of minimal norm.
	Radius float64
	// Goal is what the classifier should be made to say.
	Goal Goal
}

// Minimal tells attacks of minimal norm from those with a budget.
func (t Threat) Minimal() bool { return math.IsInf(t.Radius, 1) }

// Ball returns the threat's ball.
func (t Threat) Ball() Ball { return Ball{Norm: t.Norm, Radius: t.Radius} }

// String returns for example "Linf ≤ 0.1, untargeted" or "L2 minimal, targeted(3)".
func (t Threat) String() string {
	if t.Minimal() {
		return fmt.Sprintf("%v minimal, %v", t.Norm, t.Goal)
	}
	return fmt.Sprintf("%v, %v", t.Ball(), t.Goal)
}

func (t Threat) check() error {
	if t.Norm != nil && t.Minimal() {
		return checkNorm(t.Norm)
	}
	return t.Ball().Check()
}

// Batch is what an attack perturbs at once: examples which the classifier still gets right (or, for a targeted goal,
// does not yet give the target).
type Batch struct {
	// X are the originals, float32 [n, d...], inside the classifier's box.
	X *tensors.Tensor
	// Y are the n labels.
	Y []int32
	// Target are the n classes to move towards; nil for an untargeted attack. Attacks obey this field, not their own
	// Goal, so that wrappers can choose targets for them.
	Target []int32
	// AnyClass says, with Target, that any class but the label is a success: the target only gives the direction.
	AnyClass bool
	// Index are the examples' numbers in their dataset, for messages. Nil means 0, 1, 2, …
	Index []int64
	// Key is what each row's random streams are keyed by: [Examples.Key] of its example, which stays the same where the
	// attack sees encoded or moved inputs. Nil means that of X.
	Key []uint64
	// Seed is the run's seed.
	Seed uint64
}

// Len returns the number of rows.
func (b Batch) Len() int { return len(b.Y) }

// Number returns the number of a row's example in its dataset.
func (b Batch) Number(row int) int64 { return (&Examples{Index: b.Index}).Number(row) }

// Rand returns the random stream of a row. Streams are numbered, by restart for example; a stream depends on the run's
// seed, the content of the example's input and the stream's number, and on nothing else: not on the row's place in the
// batch, nor on that of the example in its file. Equal inputs have equal streams.
func (b Batch) Rand(row int, stream uint64) *rand.Rand { return rand.New(b.Source(row, stream)) }

// Source returns what [Batch.Rand] draws from: for those who draw many numbers at once.
func (b Batch) Source(row int, stream uint64) *rand.PCG {
	return rowSource(b.Seed, b.keys(row, row+1)[0], stream)
}

// keys returns what the streams of the rows lo..hi-1 are keyed by.
func (b Batch) keys(lo, hi int) []uint64 {
	if b.Key != nil {
		return b.Key[lo:hi]
	}
	return contentKeys(b.X, lo, hi)
}

// Order returns the rows in an order that is their content's, and not that in which they came. What computes in this
// order gives an example the same bits whatever the order of the examples, even where a compiler rounds rows
// differently by their position (XLA on the CPU was not seen to, with a small network).
func (b Batch) Order() []int {
	rows, keys := make([]int, b.Len()), b.keys(0, b.Len())
	for i := range rows {
		rows[i] = i
	}
	slices.SortStableFunc(rows, func(i, j int) int {
		order := cmp.Or(cmp.Compare(keys[i], keys[j]), cmp.Compare(b.Y[i], b.Y[j]))
		if order == 0 && b.Target != nil {
			order = cmp.Compare(b.Target[i], b.Target[j])
		}
		return order
	})
	return rows
}

// Select returns the batch of the given rows, in that order.
func (b Batch) Select(rows []int) Batch {
	s := Batch{X: TakeRows(b.X, rows, len(rows)), Y: pick(b.Y, rows), AnyClass: b.AnyClass, Seed: b.Seed}
	if b.Index != nil {
		s.Index = pick(b.Index, rows)
	}
	if b.Key != nil {
		s.Key = pick(b.Key, rows)
	}
	if b.Target != nil {
		s.Target = pick(b.Target, rows)
	}
	return s
}

// Reached tells whether logits z of a row reach the batch's goal there: the largest logit, the first of equals, is
// the target, or with no target or with AnyClass is not the label. Logits that are not all numbers reach nothing.
func (b Batch) Reached(row int, z []float32) bool {
	for _, v := range z {
		if v != v {
			return false
		}
	}
	k := argmax(z)
	if b.Target != nil && !b.AnyClass {
		return k == b.Target[row]
	}
	return k != b.Y[row]
}

// ReachedBy tells whether an answer about a row reaches the batch's goal: its class is the target, or with no target or
// with AnyClass is some class but the label. A rejection reaches nothing, nor do scores that are not finite.
func (b Batch) ReachedBy(row int, a Answer) bool {
	k := a.Class()
	switch {
	case k < 0:
		return false
	case b.Target != nil && !b.AnyClass:
		return k == b.Target[row]
	}
	return k != b.Y[row]
}

// rowSource mixes seed, key and stream (splitmix64's finaliser, so that near keys give unrelated streams).
func rowSource(seed, key, stream uint64) *rand.PCG {
	mix := func(z uint64) uint64 {
		z += 0x9e3779b97f4a7c15
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb
		return z ^ (z >> 31)
	}
	return rand.NewPCG(mix(seed)^mix(stream<<1|1), mix(key)^mix(mix(seed)+stream))
}

func pick[T any](from []T, rows []int) []T {
	to := make([]T, len(rows))
	for i, r := range rows {
		to[i] = from[r]
	}
	return to
}

// argmax returns the position of the first largest value; NaN never is.
func argmax(z []float32) int32 {
	best := 0
	for k, v := range z {
		if v > z[best] || z[best] != z[best] {
			best = k
		}
	}
	return int32(best)
}
