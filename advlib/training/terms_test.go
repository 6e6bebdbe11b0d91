package training_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train/loss"

	"advlab/advlib"
	"advlab/advlib/certify"
	"advlab/advlib/lab"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// bounded adds to the cross-entropy that of the worst logits which interval bounds of the model allow for in an Linf
// ball: Gowal et al. (2018), arXiv:1810.12715, equation 12. The radius grows, and the second term with it.
type bounded struct{ ε float64 }

func (b bounded) String() string                 { return fmt.Sprintf("interval bounds, Linf ≤ %g", b.ε) }
func (b bounded) Check(*advlib.Classifier) error { return nil }

func (b bounded) Loss(s *training.Step) *Node {
	crossEntropy := func(z *Node) *Node {
		return loss.SparseCategoricalCrossEntropyLogits([]*Node{InsertAxes(s.Y, -1)}, []*Node{z})
	}
	natural := crossEntropy(s.Logits(s.X))
	part := MinScalar(MulScalar(s.Progress, 2), 1)
	ε := Mul(MulScalar(part, b.ε), OnesLike(s.X))
	lo, hi := Max(Sub(s.X, ε), ZerosLike(s.X)), Min(Add(s.X, ε), OnesLike(s.X))
	n := s.X.Shape().Dimensions[0]
	lo, hi = Reshape(lo, n, -1), Reshape(hi, n, -1)
	layers := denseLayers(s)
	for k, l := range layers {
		w, bias := l[0], l[1]
		centre, radius := MulScalar(Add(lo, hi), 0.5), MulScalar(Sub(hi, lo), 0.5)
		centre, radius = Add(DotProduct(centre, w), InsertAxes(bias, 0)), DotProduct(radius, Abs(w))
		lo, hi = Sub(centre, radius), Add(centre, radius)
		if k < len(layers)-1 {
			lo, hi = MaxScalar(lo, 0), MaxScalar(hi, 0)
		}
	}
	label := OneHot(s.Y, s.Classes, hi.DType())
	worst := crossEntropy(Where(GreaterThan(label, ZerosLike(label)), lo, hi))
	share := MulScalar(part, 0.5)
	return Add(Mul(OneMinus(share), natural), Mul(share, worst))
}

// denseLayers returns weights and biases of the trained model's layers, of which only the last has K outputs.
func denseLayers(s *training.Step) (layers [][2]*Node) {
	var weights, biases []*model.Variable
	for _, v := range s.Weights() {
		if v.Shape().Rank() == 2 {
			weights = append(weights, v)
		} else {
			biases = append(biases, v)
		}
	}
	byPath := func(a, b *model.Variable) int { return strings.Compare(a.Path(), b.Path()) }
	slices.SortFunc(weights, byPath)
	slices.SortFunc(biases, byPath)
	for i, w := range weights {
		layers = append(layers, [2]*Node{w.NodeValue(s.X), biases[i].NodeValue(s.X)})
	}
	return layers
}

// Bounds of the model are a term of the loss: a certifier that knows nothing of it proves more of what comes out.
func TestBoundsAsATerm(t *testing.T) {
	train, test := digits(t)
	ball := advlib.Linf.Ball(0.1)
	m := zoo.MLP(30)
	m.Epochs = 60
	certified := func(m training.Model) (proved, right int) {
		c := m.MustFit(lab.Fresh(t.Context()), train)
		all, err := certify.IBP.Certify(t.Context(), c, test, ball)
		if err != nil {
			t.Fatal(err)
		}
		z, err := c.Logits(test.X)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range z {
			if slices.Index(row, slices.Max(row)) == int(test.Y[i]) {
				right++
				if all[i] {
					proved++
				}
			}
		}
		return proved, right
	}
	before, _ := certified(m)
	m.Objective = bounded{ball.Radius}
	after, right := certified(m)
	t.Logf("of %d: certified %d by the cross-entropy alone, %d with bounds, which leave %d right", test.Len(), before, after, right)
	if after < before+test.Len()/4 || right < test.Len()*7/10 {
		t.Errorf("of %d, %d are certified without bounds in the loss, and %d with them, of %d right", test.Len(), before, after, right)
	}
}

// proxies wants an embedding near the proxy of its class, and far from the others: Movshovitz-Attias et al. (2017),
// arXiv:1703.07464, equation 6. The proxies are trained beside the model, which gets them for its last layer.
type proxies struct{}

func (proxies) String() string                 { return "proxies" }
func (proxies) Check(*advlib.Classifier) error { return nil }

func (proxies) Loss(s *training.Step) *Node {
	v := s.Outputs(s.X)[1]
	p := s.Scope().VariableWithShape("proxies", shapeOf(v, v.Shape().Dimensions[1], s.Classes)).NodeValue(v)
	return loss.SparseCategoricalCrossEntropyLogits([]*Node{InsertAxes(s.Y, -1)}, []*Node{MulScalar(DotProduct(v, p), 4)})
}

func (proxies) Update(*training.Step) {} // the optimizer changes them, as it does the weights

func (proxies) Kept(path string) string {
	if path == "/head/w" {
		return "/objective/proxies"
	}
	return path
}

// What an objective trains beside the model is state of its own, of which the trained model gets what is kept.
func TestProxies(t *testing.T) {
	train, test := digits(t)
	m := training.Model{Name: "proxies", Epochs: 40, Objective: proxies{}, Outputs: embedding}
	c := m.MustFit(t.Context(), train)
	z, err := c.Logits(test.X)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i, row := range z {
		if slices.Index(row, slices.Max(row)) == int(test.Y[i]) {
			right++
		}
	}
	t.Logf("the nearest proxy of %d of %d is that of the class", right, test.Len())
	if right < test.Len()*8/10 {
		t.Errorf("the nearest proxy of %d of %d is that of the class: the head, which nothing else trains, did not get them", right, test.Len())
	}
	for v := range c.Store().IterVariables() {
		if strings.Contains(v.Path(), "objective") {
			t.Errorf("the trained model has the objective's variable %s", v.Path())
		}
	}
}
