package advlib_test

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/craft"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/dataset"
	"advlab/advlib/smooth"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// The examples below are the ten shortest programs. They run on the Go backend, so that they print the same everywhere;
// leave Backend out to compute on XLA.

// brighterPixel is a classifier of one's own: two pixels, and which of them is brighter. Its logits are any function of
// a graph of GoMLX.
func brighterPixel() *advlib.Classifier {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		panic(err)
	}
	return advlib.MustClassifier(advlib.Spec{
		Name: "brighter", Input: []int{2}, Box: advlib.UnitBox, Classes: []string{"left", "right"}, Backend: b,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node { return graph.MulScalar(x, 10) },
	})
}

// threePairs are three inputs of brighterPixel, with their labels.
func threePairs() *advlib.Examples {
	e, err := advlib.NewExamples("pairs", []float32{0.6, 0.4, 0.75, 0.25, 0.1, 0.9}, []int{2}, []int32{0, 0, 1})
	if err != nil {
		panic(err)
	}
	return e
}

// quietly is a model that is trained on the Go backend, without a progress bar.
func quietly(m training.Model) training.Model {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		panic(err)
	}
	m.Backend = b
	return m
}

// Attack a model of your own. To make the darker pixel the brighter one, both must move by half of their difference:
// 0.1, 0.25 and 0.4.
func Example() {
	result := advlib.MustRun(context.Background(), brighterPixel(), threePairs(), attack.PGD{Ball: advlib.Linf.Ball(0.3)})
	fmt.Println(result)
	fmt.Printf("distances %.2f\n", result.Distance)
	// Output:
	// PGD-40 Linf ≤ 0.3 (Linf ≤ 0.3, untargeted) on pairs: success 66.7 % of 3, median distance 0.3
	// distances [0.20 0.30 +Inf]
}

// Five attacks, compared: each on all examples, and the worst case over them.
func Example_fiveAttacks() {
	ball := advlib.L2.Ball(0.4)
	settings := advlib.Settings{Alone: true}
	report, err := settings.Evaluate(context.Background(), brighterPixel(), threePairs(), []advlib.Attack{
		attack.FGM{Ball: ball}, attack.PGD{Ball: ball}, attack.APGD{Ball: ball},
		attack.CarliniWagner{Steps: 200}, attack.DeepFool{Norm: advlib.L2},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(report)
	// Output:
	// brighter on pairs: 3 examples, box [0, 1], seed 0, backend go
	//                              share  95 % interval  median ‖δ‖  attacked  passes each, fwd / bwd  compiled / loaded
	//   clean                    100.0 %  [43.9, 100.0]
	// L2 ≤ 0.4: robust accuracy under each attack alone
	//   FGM L2 ≤ 0.4              33.3 %    [6.1, 79.2]                     3                   1 / 1              1 / 0
	//   PGD-40 L2 ≤ 0.4           33.3 %    [6.1, 79.2]                     3           24.67 / 24.33              2 / 0
	//   APGD-100 L2 ≤ 0.4         33.3 %    [6.1, 79.2]                     3                 35 / 35              2 / 0
	//   C&W 9×200 L2 minimal      33.3 %    [6.1, 79.2]
	//   DeepFool-50 L2 minimal    33.3 %    [6.1, 79.2]
	//   worst case over attacks   33.3 %    [6.1, 79.2]
	// minimal norm: success at any distance, and the distance
	//   C&W 9×200 L2 minimal     100.0 %  [43.9, 100.0]      0.3536         3           922.3 / 922.3              1 / 0
	//   DeepFool-50 L2 minimal   100.0 %  [43.9, 100.0]      0.3607         3                   3 / 2              1 / 0
	// what changed where an attack succeeded, medians
	//   attack                  found  L0      L1      L2    Linf  PSNR  SSIM  features
	//   FGM L2 ≤ 0.4                2   2  0.5657     0.4  0.2828   n/a   n/a       n/a
	//   PGD-40 L2 ≤ 0.4             2   2   0.502     0.4  0.3688   n/a   n/a       n/a
	//   APGD-100 L2 ≤ 0.4           2   2  0.4972     0.4  0.3577   n/a   n/a       n/a
	//   C&W 9×200 L2 minimal        3   2     0.5  0.3536    0.25   n/a   n/a       n/a
	//   DeepFool-50 L2 minimal      3   2  0.5101  0.3607  0.2551   n/a   n/a       n/a
	// sanity: zero gradients on 0.0 % of 3 examples, unbounded ball breaks 100.0 %: no zero gradients, and an unbounded ball breaks every example
}

// ownSigns is an attack of one's own: steps along the sign of the slope. Package craft does the rest: batches, the best
// point met, smaller batches for what is left, targets, ball, box and domain.
type ownSigns struct {
	Ball  advlib.Ball
	Goal  advlib.Goal
	Steps int // 0 means 20
}

func (a *ownSigns) Describe(d *craft.Description) {
	d.Gradients()
	d.Ball(&a.Ball, advlib.Linf)
	d.Goal(&a.Goal)
	d.Count(&a.Steps, 20)
	d.Name("signs-%d", a.Steps)
}
func (a ownSigns) String() string                                { return craft.Name(a) }
func (a ownSigns) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }
func (a ownSigns) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	ε := a.Ball.Radius
	return craft.Ascent{Step: signStep{}, Loss: advlib.Margin, Steps: a.Steps, In: []float64{ε, ε / 8}}.Perturb(ctx, v, b)
}

type signStep struct{} // its fields determine the graph, and there is nothing to say

func (signStep) Next(p *craft.Point, x, L *graph.Node, in []*graph.Node) *graph.Node {
	ε, α := in[0], in[1]
	x = graph.Add(x, graph.Mul(α, graph.Sign(p.Gradient(L, x))))
	return p.Project(advlib.Linf, x, ε)
}

// An attack of your own is a table of its fields, and a step.
func Example_ownAttack() {
	result := advlib.MustRun(context.Background(), brighterPixel(), threePairs(), ownSigns{Ball: advlib.Linf.Ball(0.3)})
	fmt.Println(result.Attack, result.Success)
	// Output:
	// signs-20 Linf ≤ 0.3 [true true false]
}

// Robust accuracy against ε. An attack of minimal norm answers for all radii at once.
func Example_sweep() {
	settings := advlib.Settings{Balls: []advlib.Ball{advlib.Linf.Ball(0.05), advlib.Linf.Ball(0.15), advlib.Linf.Ball(0.3)}}
	report, err := settings.Evaluate(context.Background(), brighterPixel(), threePairs(), []advlib.Attack{attack.FMN{Norm: advlib.Linf}})
	if err != nil {
		panic(err)
	}
	for _, ball := range settings.Balls {
		fmt.Println(ball, report.Robust(ball))
	}
	// Output:
	// Linf ≤ 0.05 100.0 %
	// Linf ≤ 0.15 66.7 %
	// Linf ≤ 0.3 33.3 %
}

// cornerNetwork is a small network, to prove something about.
func cornerNetwork() *advlib.Classifier {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		panic(err)
	}
	return advlib.MustClassifier(advlib.Spec{
		Name: "corner", Input: []int{2}, Box: advlib.UnitBox, Backend: b,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			W := graph.ConstAsDType(x.Graph(), x.DType(), [][]float32{{1, -2, 2}, {1, 2, -2}})
			V := graph.ConstAsDType(x.Graph(), x.DType(), [][]float32{{1, -1}, {-1, 1}, {-1, 1}})
			h := activation.Relu(graph.AddScalar(graph.Dot(x, W).Product(), -0.25))
			return graph.Dot(h, V).Product()
		},
	})
}

func threePoints() *advlib.Examples {
	e, err := advlib.NewExamples("points", []float32{0.9, 0.9, 0.15, 0.8, 0.3, 0.35}, []int{2}, []int32{0, 1, 0})
	if err != nil {
		panic(err)
	}
	return e
}

// Certify: which inputs keep their class, whatever happens within ε? No attack is needed for that, and one beside it
// gives the other bound.
func Example_certify() {
	ball := advlib.Linf.Ball(0.1)
	settings := advlib.Settings{Balls: []advlib.Ball{ball}}
	report, err := settings.Evaluate(context.Background(), cornerNetwork(), threePoints(), nil, certify.IBP, certify.CROWN)
	if err != nil {
		panic(err)
	}
	certified, _ := report.Certified(ball)
	fmt.Println(report.Clean(), "right,", certified, "certified for", ball)
	// Output:
	// 100.0 % right, 66.7 % certified for Linf ≤ 0.1
}

// Verify one example: a proof, or a counterexample.
func Example_verify() {
	for _, ε := range []float64{0.4, 0.6} {
		v, err := certify.Verify(context.Background(), cornerNetwork(), threePoints().First(1), advlib.Linf.Ball(ε), certify.Options{})
		if err != nil {
			panic(err)
		}
		fmt.Println(ε, v)
	}
	// Output:
	// 0.4 points, Linf ≤ 0.4, 1 examples: 1 verified, 0 falsified, 0 unknown
	// 0.6 points, Linf ≤ 0.6, 1 examples: 0 verified, 1 falsified, 0 unknown
}

// Smoothing certifies another classifier: the model under noise, by sampling.
func Example_smoothing() {
	smoothed := smooth.Gaussian{Base: brighterPixel(), Sigma: 0.25, N: 1000}
	certified, err := smoothed.Certify(context.Background(), threePairs())
	if err != nil {
		panic(err)
	}
	fmt.Println(certified)
	// Output:
	// brighter smoothed, σ = 0.25, on pairs, 3 examples  share    95 % interval
	//   right, and certified for L2 ≤ 0                  100.0 %  [43.9, 100.0]
	//   right, and certified for L2 ≤ 0.25               66.7 %   [20.8, 93.9]
	//   right, and certified for L2 ≤ 0.5                0.0 %    [0.0, 56.1]
	//   abstained                                        0.0 %    [0.0, 56.1]
	//   another class certified                          0.0 %    [0.0, 56.1]
	// of the smoothed classifier, not of brighter;
	// each certificate is wrong with probability at most 0.001;
	// N = 1000, largest possible radius 0.6158
}

// Targeted: towards one class.
func Example_targeted() {
	goal := advlib.Targeted(1)
	result := advlib.MustRun(context.Background(), brighterPixel(), threePairs(), attack.PGD{Ball: advlib.Linf.Ball(0.3), Goal: goal})
	fmt.Println(result)
	fmt.Println("attempted", result.Attempted, "success", result.Success) // the last one has that class already
	// Output:
	// PGD-40 Linf ≤ 0.3, targeted(1) (Linf ≤ 0.3, targeted(1)) on pairs: success 100.0 % of 2, median distance 0.2523
	// attempted [true true false] success [true true false]
}

// A patch: anything in a square, learned on some examples, placed on others.
func Example_patch() {
	train, test := dataset.Digits()
	clf := quietly(zoo.MLP(32)).MustFit(context.Background(), train)
	patch, _, err := attack.AdversarialPatch{Steps: 50}.Fit(context.Background(), clf, train.First(200))
	if err != nil {
		panic(err)
	}
	result := advlib.MustRun(context.Background(), clf, test.First(100), patch)
	fmt.Println(result.SuccessRate())
	// Output:
	// 37.0 %
}

// A domain: what an attacker can really change. Here the first feature is fixed, and the second may only grow.
func Example_domain() {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		panic(err)
	}
	clf := advlib.MustClassifier(advlib.Spec{
		Name: "account", Input: []int{2}, Classes: []string{"refused", "granted"}, Backend: b,
		Domain: advlib.Domain{
			{Name: "age", Lo: 18, Hi: 100, Change: advlib.Fixed},
			{Name: "income", Lo: 0, Hi: 100, Scale: 100, Change: advlib.RiseOnly},
		},
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			w := graph.ConstAsDType(x.Graph(), x.DType(), [][]float32{{0, 1}, {0, 1}})
			return graph.Sub(graph.Dot(x, w).Product(), graph.ConstAsDType(x.Graph(), x.DType(), [][]float32{{60, 120}}))
		},
	})
	applicants, err := advlib.NewExamples("applicants", []float32{30, 20}, []int{2}, []int32{0})
	if err != nil {
		panic(err)
	}
	result := advlib.MustRun(context.Background(), clf, applicants, attack.PGD{Ball: advlib.Linf.Ball(0.5)})
	fmt.Println(result)
	// Output:
	// PGD-40 Linf ≤ 0.5 (Linf ≤ 0.5, untargeted) on applicants: success 100.0 % of 1, median distance 0.125
}
