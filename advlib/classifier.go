package advlib

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
	"advlab/advlib/internal/option"
)

// LogitsFn builds a model's graph: from a batch of inputs x, float32 [n, d...], to logits, float32 [n, K]. Logits are
// what goes into the softmax, not what comes out of it. Preprocessing such as normalisation belongs inside. Row i of
// the result must depend on row i of x alone, as in inference; variables live in the scope's store.
//
// Certificates build the model a second time, with x and the scope's variables in float64. So a constant should take
// the type of x, as in AddScalar(x, 1), Scalar(g, x.DType(), 0.5) or ConstAsDType(g, x.DType(), values).
type LogitsFn func(scope *model.Scope, x *graph.Node) *graph.Node

// Spec describes a classifier to [NewClassifier].
type Spec struct {
	// Name is shown in reports.
	Name string
	// Logits builds the model.
	Logits LogitsFn
	// Store holds the model's variables, all with values. Nil is an empty store, for a model without variables. A model
	// that is built on another classifier, by its LogitsGraph, has that one's store.
	Store *model.Store
	// Input is the shape of one input, without the batch axis: 28, 28, 1 for a gray image, channels last.
	Input []int
	// Box is the range of the inputs. With a Domain it may be left out.
	Box Box
	// Domain describes each feature of the inputs, if there is more to say than the Box: ranges of their own, features
	// that an attacker cannot change, whole numbers, categories, and units. Nil means that every coordinate may take any
	// value in the box.
	Domain Domain
	// Classes are the names of the classes; nil names them by their numbers.
	Classes []string
	// Backend is where the model runs; nil means backend.Open().
	Backend compute.Backend
	// Random says that Logits draws random numbers from the scope (scope.RandomNormal and the like), so that the same
	// input has other logits each time. Attack such a classifier through attack.EOT; it is judged by fresh draws,
	// see [Settings.Draws].
	Random bool
	// Returns says what Logits returns if that is not logits, but probabilities or the one logit of a binary model.
	Returns Returns
	// Normalisation, if it is set, is done to the inputs before Logits sees them.
	Normalisation *Normalisation
	// Notes are sentences on what the classifier is made of, such as how the axes of the data were taken, and Warnings are
	// sentences on what looks wrong with it. Reports show both.
	Notes, Warnings []string

	space *space // of encoded inputs
}

// Classifier is a model with the domain of its inputs, checked once: it returns logits of shape [n, K], K ≥ 2, finite
// for some inputs, each row depends on its own input, and none of its variables is without a value.
//
// Its compiled graphs are kept for as long as it lives, so attack the same Classifier again rather than a new one. Its
// methods may be called concurrently as long as nobody changes the variables.
type Classifier struct {
	spec    Spec
	space   *space
	classes int
	logP    bool // its logits are those of Probabilities
	cost    int  // passes through the model that one of the classifier's own stands for; see Derive

	mu       *sync.Mutex // guards programs, derived, and the building of graphs: GoMLX registers variables while it builds
	programs map[any]*program
	derived  map[any]*Classifier

	wide   *wide // shared with all of the same store
	memoMu sync.Mutex
	memo   map[any]any
}

// NewClassifier checks the model described by spec and returns it as a classifier.
//
// It is an error if a variable has no value, or if the logits do not have shape [n, K] with K ≥ 2, are not float32 or
// nowhere finite, look like probabilities, do not depend on x in the graph, or depend on the other rows of the batch.
func NewClassifier(spec Spec) (*Classifier, error) {
	c, err := newClassifier(spec)
	if err != nil {
		return nil, fmt.Errorf("advlib: classifier %q: %w", spec.Name, err)
	}
	return c, nil
}

// MustClassifier is [NewClassifier] for notebooks, examples and tests: it panics on an error.
func MustClassifier(spec Spec) *Classifier { return must(NewClassifier(spec)) }

// String describes the classifier in a line.
func (c *Classifier) String() string {
	return fmt.Sprintf("%s: inputs %v in %v, %d classes, %d parameters, backend %s", c.Name(), c.Input(), c.Box(), c.Classes(),
		c.spec.Store.NumParameters(), backend.InfoOf(c.Backend()).Name)
}

// Name returns the classifier's name.
func (c *Classifier) Name() string { return c.spec.Name }

// Classes returns K, the number of classes.
func (c *Classifier) Classes() int { return c.classes }

// ClassName returns the name of class k, which is its number if it has none.
func (c *Classifier) ClassName(k int) string { return c.Signature().ClassName(k) }

// Box returns the range of the inputs: the box around all ranges of a Domain.
func (c *Classifier) Box() Box { return c.spec.Box }

// Domain returns the features of the inputs, with their defaults filled in; nil if there is nothing but the box.
func (c *Classifier) Domain() Domain { return c.spec.Domain }

// Distance returns how far a flat input y is from x, as a norm measures it: with a [Domain], by features and in their
// scales.
func (c *Classifier) Distance(norm Norm, y, x []float32) float64 {
	return c.space.distance(norm, y, x)
}

// Limits returns how far an attack may take each coordinate of an input.
func (c *Classifier) Limits() Limits { return c.space.limits }

// ranges are the limits of the inputs if an attacker could change all features in both directions.
func (c *Classifier) ranges() Limits {
	l := c.space.limits
	l.change, l.raw = nil, nil
	return l
}

// Enclosing returns a ball of unit scales, by coordinates as if there were no [Domain], that holds all perturbations
// which the ball allows as the domain measures it. What is proven for it, such as a certificate, holds in the domain.
// Without a domain it is the ball itself.
func (c *Classifier) Enclosing(ball Ball) Ball {
	reach := c.Reach(ball.Norm)
	if reach == nil {
		return ball
	}
	ball.Radius *= slices.Max(reach)
	return ball
}

// Reach returns how far each coordinate moves at most for a perturbation of norm 1 as the [Domain] measures it: the
// feature's scale, 0 for fixed features, and for categories what lets the sum or the root over both coordinates that
// change be no more than Reach itself. It is nil without a domain.
func (c *Classifier) Reach(norm Norm) []float64 {
	if c.space.layout == nil {
		return nil
	}
	category := norm.Length([]float64{1, 1})
	var reach []float64
	for _, f := range c.space.layout.features {
		for range f.coordinates() {
			switch {
			case f.Change == Fixed:
				reach = append(reach, 0)
			case f.OneHot > 0:
				reach = append(reach, f.Scale*category)
			default:
				reach = append(reach, f.Scale)
			}
		}
	}
	return reach
}

// Round moves a flat input that is inside of the ranges to an admissible one: with a [Domain], steps to the nearest,
// and of a category's coordinates the largest to 1 and the others to 0.
func (c *Classifier) Round(x []float32) {
	if c.space.layout != nil {
		c.space.layout.round(x)
	}
}

// Input returns the shape of one input, without the batch axis.
func (c *Classifier) Input() []int { return c.spec.Input }

// Notes returns sentences on what the classifier is made of: a normalisation inside of it, and what its [Spec] says.
func (c *Classifier) Notes() []string { return slices.Clone(c.spec.Notes) }

// Random tells whether the logits are random: see [Spec].
func (c *Classifier) Random() bool { return c.spec.Random }

// Signature implements [Victim].
func (c *Classifier) Signature() Signature {
	return Signature{
		Input: c.spec.Input, Box: c.spec.Box, Domain: c.spec.Domain, Classes: c.classes, ClassNames: c.spec.Classes, Returns: Logits,
		Random: c.spec.Random, Notes: c.Notes(), Warnings: c.spec.Warnings,
		space: c.space,
	}
}

// Query implements [Victim]: its answers are [Logits].
func (c *Classifier) Query(ctx context.Context, x *tensors.Tensor) ([]Answer, error) {
	return Count(c).Query(ctx, x)
}

// Store returns the model's variables.
func (c *Classifier) Store() *model.Store { return c.spec.Store }

// Backend returns where the classifier runs.
func (c *Classifier) Backend() compute.Backend { return c.spec.Backend }

// LogitsGraph builds the model in the graph of x [n, d...] and returns its logits [n, K]. It may be called several
// times in one graph. What measures an attack must go through a [Model] instead, which counts.
//
// For x of type float64 it builds the model on the float64 variables of [Classifier.Wide]: a model with a constant of
// another type then panics.
func (c *Classifier) LogitsGraph(x *graph.Node) *graph.Node {
	store := c.spec.Store
	if x.DType() == dtypes.Float64 {
		wide, err := c.wide.made(store)
		if err != nil {
			panic(fmt.Errorf("advlib: classifier %q: %w", c.Name(), err))
		}
		store = wide.Store()
	}
	// A fresh root scope, because a scope refuses to be entered twice in one graph.
	return c.spec.Logits(store.RootScope(), x)
}

// Logits returns the logits of inputs x [n, d...] as [n, K] rows.
func (c *Classifier) Logits(x *tensors.Tensor) ([][]float32, error) {
	return Count(c).Logits(context.Background(), x)
}

func newClassifier(spec Spec) (*Classifier, error) {
	if spec.Logits == nil {
		return nil, fmt.Errorf("its Logits are nil: give the function that builds the model's graph")
	}
	takes, err := Signature{Input: spec.Input, Box: spec.Box, Domain: spec.Domain}.resolved()
	if err != nil {
		return nil, err
	}
	spec.Domain, spec.Box = takes.Domain, takes.Box
	if spec.space == nil {
		spec.space = takes.space
	}
	logP := spec.Returns == Probabilities
	if err := spec.unfold(); err != nil {
		return nil, err
	}
	if spec.Store == nil {
		spec.Store = model.NewStore()
	}
	if spec.Backend == nil {
		b, err := backend.Open()
		if err != nil {
			return nil, err
		}
		spec.Backend = b
	}
	c := &Classifier{spec: spec, space: spec.space, cost: 1, logP: logP, mu: new(sync.Mutex), programs: map[any]*program{},
		derived: map[any]*Classifier{}, wide: wideOf(spec.Store), memo: map[any]any{}}
	if err := c.probe(); err != nil {
		return nil, err
	}
	if n := len(spec.Classes); n != 0 && n != c.classes {
		return nil, fmt.Errorf("it has %d class names for %d logits", n, c.classes)
	}
	return c, nil
}

// randomName is what to do with a model that draws random numbers.
const randomName = option.Name("if they are meant to be random, set Spec.Random")

// probe builds the model and runs it on made-up inputs.
func (c *Classifier) probe() error {
	t := Count(c)
	step := t.Compile(logitsKey{}, func(m *Model, in []*graph.Node) []*graph.Node {
		x := in[0]
		z := c.LogitsGraph(x)
		if err := c.checkGraph(x, z); err != nil {
			panic(err)
		}
		m.forward++
		return []*graph.Node{z}
	})
	n := Bucket(1)
	if err := step.compile(shapeOf(float32Type, append([]int{n}, c.spec.Input...)...)); err != nil {
		return fmt.Errorf("its model cannot be built for inputs of shape %v: %w", append([]int{n}, c.spec.Input...), err)
	}
	var missing []string
	for v := range c.spec.Store.IterVariables() {
		if !v.HasValue() {
			missing = append(missing, fmt.Sprintf("%s %v", v.Path(), v.Shape().Dimensions))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("it uses variables without a value: %s: train the model, or load its weights under these names",
			strings.Join(missing, ", "))
	}

	// The same first rows beside two different sets of other rows: one may be where the model has no answer.
	const shared = 2
	x, other := c.probeInput(n, 1), c.probeInput(n, 2)
	size := len(x) / n
	copy(other[:shared*size], x[:shared*size])
	dims := append([]int{n}, c.spec.Input...)
	zs := make([][][]float32, 2)
	for i, flat := range [][]float32{x, other} {
		var err error
		if zs[i], err = t.Logits(context.Background(), tensors.FromFlatDataAndDimensions(flat, dims...)); err != nil {
			return err
		}
	}
	if c.classes = len(zs[0][0]); c.classes < 2 {
		return fmt.Errorf("its logits have shape [n, %d]: a classifier needs at least 2 classes; of a binary model, if it is the "+
			"logit of class 1, give %v, if it is its probability, %v", c.classes, oneLogitName, probabilitiesName)
	}
	probabilities, finite, warning := true, 0, ""
	for i, row := range zs[0] {
		if k := notFinite(row); k >= 0 {
			warning = fmt.Sprintf("logit %d is %g for an input inside of the box %v, a made-up one: check the weights, or narrow the box "+
				"to where the model has an answer", k, row[k], c.spec.Box)
			continue
		}
		finite++
		sum, negative := 0., false
		for _, z := range row {
			sum, negative = sum+float64(z), negative || z < 0
		}
		probabilities = probabilities && !negative && math.Abs(sum-1) < 1e-3
		if c.logP {
			if err := impossible(row); err != nil {
				return err
			}
		}
		if i < shared && !c.spec.Random && notFinite(zs[1][i]) < 0 && !almostEqual(row, zs[1][i]) {
			return fmt.Errorf("its logits for an input change with the other inputs of the batch (%v and %v): rows must not mix; batch "+
				"normalisation must run in inference mode, dropout must be off; %v", row, zs[1][i], randomName)
		}
	}
	if finite == 0 {
		k := notFinite(zs[0][0])
		return fmt.Errorf("its logit %d is %g for an input inside the box %v, and not finite for %d others either: check the "+
			"weights", k, zs[0][0][k], c.spec.Box, n-1)
	}
	if warning != "" {
		c.spec.Warnings = append(c.spec.Warnings[:len(c.spec.Warnings):len(c.spec.Warnings)], warning)
	}
	if probabilities {
		return fmt.Errorf("it returns probabilities (rows ≥ 0 that sum to 1), not logits: leave out the final softmax, or give %v, "+
			"which takes their logarithms; attacks and bounds computed through probabilities themselves are wrong", probabilitiesName)
	}
	return nil
}

// checkGraph checks what can be seen before anything is computed.
func (c *Classifier) checkGraph(x, z *graph.Node) error {
	n := x.Shape().Dimensions[0]
	if z == nil {
		return fmt.Errorf("its Logits function returned nil")
	}
	if z.DType() != float32Type || z.Rank() != 2 || z.Shape().Dimensions[0] != n {
		return fmt.Errorf("its logits are %v for inputs of shape %v: they must be float32 of shape [%d, K]", z.Shape(), x.Shape().Dimensions, n)
	}
	if !dependsOn(z, x) {
		return fmt.Errorf("its logits do not depend on the input x in the graph: build them from x, not from a constant or a copy")
	}
	return nil
}

// probeInput returns n rows in the box: the first is its middle, the others are pseudo-random.
func (c *Classifier) probeInput(n int, seed uint64) []float32 {
	size := 1
	for _, d := range c.spec.Input {
		size *= d
	}
	x := make([]float32, n*size)
	limits := c.Limits()
	for i := range n {
		random := rand.New(rowSource(seed, uint64(i), 0))
		for j := range size {
			u := 0.5
			if i > 0 {
				u = random.Float64()
			}
			r := limits.RangeOf(j)
			x[i*size+j] = float32(r.Lo + u*r.Width())
		}
		if c.space.layout != nil {
			c.space.layout.round(x[i*size : (i+1)*size])
		}
	}
	return x
}

// dependsOn tells whether z is computed from x.
func dependsOn(z, x *graph.Node) bool { return dependents(z, x)[z.Id()] }

// almostEqual allows for the last bits, which may depend on a row's neighbours in a vector register.
func almostEqual(a, b []float32) bool {
	scale := 1e-6
	for i := range a {
		scale = max(scale, math.Abs(float64(a[i])), math.Abs(float64(b[i])))
	}
	for i := range a {
		if math.Abs(float64(a[i])-float64(b[i])) > 1e-4*scale {
			return false
		}
	}
	return true
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
