package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/internal/npz"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// attacked is an attack on a model, with the budget as the other side needs it.
type attacked struct {
	Attack  string  // ours, with its hyper-parameters
	Model   string  // madry or small: the architecture
	Norm    string  // of the ball
	Epsilon float64 // its radius; 0 for an attack of minimal norm
	Step    float64 // step size
	Steps   int     // for C&W, in each search
	Rounds  int     // searches of C&W; 1 else
	Abort   bool    // whether C&W gives up searches that no longer get anywhere
	Queries int     // of each example, between the first answer and the last; 0 for attacks by gradients

	attack advlib.Attack
}

// hardened is the ball that the small network is trained against, and attacked in: about 0.9 of the examples stay
// robust.
var hardened = advlib.Linf.Ball(0.2)

var attacks = map[string]attacked{
	// As in Madry et al. (2018), on MNIST; every example makes all steps.
	"pgd": {Model: "madry", Norm: "Linf", Epsilon: 0.3, Step: 0.01, Steps: 40, Rounds: 1,
		attack: attack.PGD{Ball: advlib.Linf.Ball(0.3), Steps: 40, StepSize: 0.01, KeepGoing: true}},
	"autoattack":   {Model: "small", Norm: "Linf", Epsilon: hardened.Radius, Rounds: 1, attack: attack.AutoAttack{Ball: hardened}},
	"cw":           {Model: "small", Step: 0.01, Steps: 1000, Rounds: 9, Abort: true, attack: attack.CarliniWagner{}},
	"cw-all-steps": {Model: "small", Step: 0.01, Steps: 1000, Rounds: 9, attack: attack.CarliniWagner{NoAbort: true}},
	"square":       squareIn(hardened),
	"square-l2":    squareIn(advlib.L2.Ball(2)),
	"hopskipjump":  {Model: "small", Rounds: 1, Queries: 2000, attack: attack.HopSkipJump{Norm: advlib.L2, Queries: 2000}},
	"surfree":      {Model: "small", Rounds: 1, Queries: 2000, attack: attack.SurFree{Queries: 2000}},
}

// squareIn is Square with 1000 queries. The authors count neither the answer on the original nor that on the
// adversarial example.
func squareIn(b advlib.Ball) attacked {
	return attacked{Model: "small", Norm: b.Norm.String(), Epsilon: b.Radius, Rounds: 1, Queries: 1000,
		attack: attack.Square{Ball: b, Queries: 1002}}
}

// attackOn makes the workload of an attack. It attacks the first images that its model was not trained on, and gets
// right.
func attackOn(name string) func(ctx context.Context, s sources) (workload, error) {
	return func(ctx context.Context, s sources) (workload, error) {
		a := attacks[name]
		a.Attack = a.attack.String()
		train, test, err := dataset.MNISTSmall(ctx)
		if err != nil {
			return workload{}, err
		}
		c, err := trained(ctx, s.folder, a.Model, train)
		if err != nil {
			return workload{}, err
		}
		e, err := right(c, test, s.examples)
		if err != nil {
			return workload{}, err
		}
		ask := func() (map[string]*tensors.Tensor, any) {
			arrays := map[string]*tensors.Tensor{"x": e.X, "y": tensors.FromFlatDataAndDimensions(e.Y, e.Len())}
			for v := range c.Store().IterVariables() {
				arrays["weights"+v.Path()] = v.MustValue()
			}
			return arrays, a
		}
		do := func(ctx context.Context) (answer, error) {
			res, err := advlib.Run(ctx, c, e, a.attack)
			if err != nil {
				return answer{}, err
			}
			n := float64(e.Len())
			return answer{Forward: float64(res.Stats.Forward) / n, Backward: float64(res.Stats.Backward) / n, left: res.Adversarial}, nil
		}
		return workload{name: name, ask: ask, turns: []turn{{"ours", do}}}, nil
	}
}

// digit is the shape of MNIST's images.
var digit = []int{28, 28, 1}

// trained trains one of the two networks, or takes it from the folder, where it is left.
func trained(ctx context.Context, folder, name string, train *advlib.Examples) (*advlib.Classifier, error) {
	if name == "madry" {
		m := training.Model{Name: "madry", Epochs: 1, BatchSize: 50, Build: madry}
		return keep(folder, m, digit, 10, func() (*advlib.Classifier, error) { return m.Fit(ctx, train) })
	}
	m := zoo.CNN()
	m.Name, m.Epochs = "small", 20
	return keep(folder, m, digit, 10, func() (*advlib.Classifier, error) {
		return defense.AdversarialTraining{Ball: hardened, WarmUp: 0.5}.Fit(ctx, m, train)
	})
}

// right returns the first n examples that the classifier gets right, so that both sides attack all of them.
func right(c *advlib.Classifier, e *advlib.Examples, n int) (*advlib.Examples, error) {
	z, err := c.Logits(e.X)
	if err != nil {
		return nil, err
	}
	var rows []int
	for i, row := range z {
		if int32(slices.Index(row, slices.Max(row))) == e.Y[i] && len(rows) < n {
			rows = append(rows, i)
		}
	}
	return e.Select(rows), nil
}

// keep returns the classifier whose weights lie in the folder, or trains it and leaves them there, so that both sides,
// and later runs, have the same ones whatever has changed in the training.
func keep(folder string, m training.Model, input []int, classes int, fit func() (*advlib.Classifier, error)) (*advlib.Classifier, error) {
	path := filepath.Join(folder, m.Name+"-weights.npz")
	arrays, err := npz.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		c, err := fit()
		if err != nil {
			return nil, err
		}
		file, err := os.Create(path)
		if err != nil {
			return nil, err
		}
		arrays := map[string]*tensors.Tensor{}
		for v := range c.Store().IterVariables() {
			arrays[v.Path()] = v.MustValue()
		}
		return c, errors.Join(npz.Write(file, arrays), file.Close())
	}
	if err != nil {
		return nil, err
	}
	store := model.NewStore()
	for name, value := range arrays {
		if _, err := store.CreateVariable(name, value); err != nil {
			return nil, err
		}
	}
	return advlib.NewClassifier(advlib.Spec{Name: m.Name, Logits: m.Build(classes), Store: store, Input: input, Box: advlib.UnitBox})
}

// madry is the MNIST network of Madry et al. (2018), section 3: two convolutions of 5×5 with 32 and 64 filters, each
// followed by ReLU and 2×2 max-pooling, and a dense layer of 1024 units; as one writes it in GoMLX.
func madry(classes int) advlib.LogitsFn {
	return func(scope *model.Scope, x *Node) *Node {
		for k, channels := range []int{32, 64} {
			s := scope.In("conv%d", k)
			w := s.VariableWithShape("w", shapes.Make(x.DType(), 5, 5, x.Shape().Dimensions[3], channels)).NodeValue(x)
			b := s.VariableWithShape("b", shapes.Make(x.DType(), channels)).NodeValue(x)
			x = MaxScalar(Add(Convolve(x, w).PadSame().Done(), InsertAxes(b, 0, 0, 0)), 0)
			x = MaxPool(x).Window(2).Done()
		}
		x = Reshape(x, x.Shape().Dimensions[0], -1)
		for k, units := range []int{1024, classes} {
			s := scope.In("dense%d", k+2)
			w := s.VariableWithShape("w", shapes.Make(x.DType(), x.Shape().Dimensions[1], units)).NodeValue(x)
			b := s.VariableWithShape("b", shapes.Make(x.DType(), units)).NodeValue(x)
			if k > 0 {
				x = MaxScalar(x, 0)
			}
			x = Add(Dot(x, w).Product(), InsertAxes(b, 0))
		}
		return x
	}
}
