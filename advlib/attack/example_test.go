package attack_test

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
)

// brightness is a classifier of two pixels that asks which of them is brighter. On the Go backend, so that it runs
// anywhere.
func brightness() (*advlib.Classifier, *advlib.Examples) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		panic(err)
	}
	c := advlib.MustClassifier(advlib.Spec{
		Name: "brightness", Input: []int{2}, Box: advlib.UnitBox, Classes: []string{"left", "right"}, Backend: b,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node { return graph.MulScalar(x, 10) },
	})
	e, err := advlib.NewExamples("three", []float32{0.6, 0.4, 0.75, 0.25, 0.1, 0.9}, []int{2}, []int32{0, 0, 1})
	if err != nil {
		panic(err)
	}
	return c, e
}

// To make the darker pixel the brighter one, both must move by half of their difference: 0.1, 0.25 and 0.4.
func ExampleFGM() {
	c, e := brightness()
	for _, ε := range []float64{0.05, 0.15, 0.3} {
		res := advlib.MustRun(context.Background(), c, e, attack.FGSM(ε))
		fmt.Println(res.Attack, res.Success)
	}
	// Output:
	// FGM Linf ≤ 0.05 [false false false]
	// FGM Linf ≤ 0.15 [true false false]
	// FGM Linf ≤ 0.3 [true true false]
}

func ExamplePGD() {
	c, e := brightness()
	// In L2 the nearest point with equal pixels is at difference/√2: 0.141, 0.354 and 0.566.
	pgd := attack.PGD{Ball: advlib.L2.Ball(0.4), Loss: advlib.Margin}
	res := advlib.MustRun(context.Background(), c, e, pgd)
	fmt.Println(res.Attack, res.Success)
	// Output:
	// PGD-40 L2 ≤ 0.4, Margin [true true false]
}

// The loss at each step, for a curve.
func ExamplePGD_Iterates() {
	c, e := brightness()
	pgd := attack.PGD{Ball: advlib.Linf.Ball(0.3), Steps: 4, StepSize: 0.1, NoRandomStart: true, Loss: advlib.Margin, KeepGoing: true}
	batch := advlib.Batch{X: e.X, Y: e.Y}
	for it, err := range pgd.Iterates(context.Background(), advlib.Count(c), batch) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("step %d: examples %v, loss %.1f, solved %v\n", it.Step, it.Rows, it.Loss, it.Solved)
	}
	// Output:
	// step 0: examples [0 2 1], loss [-2.0 -8.0 -5.0], solved [false false false]
	// step 1: examples [0 2 1], loss [0.0 -6.0 -3.0], solved [false false false]
	// step 2: examples [0 2 1], loss [2.0 -4.0 -1.0], solved [true false false]
	// step 3: examples [0 2 1], loss [4.0 -2.0 1.0], solved [true false true]
	// step 4: examples [0 2 1], loss [4.0 -2.0 1.0], solved [true false true]
}

func ExampleAllTargets() {
	c, e := brightness()
	all := attack.AllTargets{Attack: attack.PGD{Ball: advlib.Linf.Ball(0.3), Loss: advlib.Margin}}
	res := advlib.MustRun(context.Background(), c, e, all)
	fmt.Println(res.Attack, res.Success)
	// Output:
	// PGD-40 Linf ≤ 0.3, Margin, all targets [true true false]
}

func ExampleCarliniWagner() {
	c, e := brightness()
	res := advlib.MustRun(context.Background(), c, e, attack.CarliniWagner{Steps: 200})
	fmt.Printf("%s %.3f\n", res.Attack, res.Distance)
	// Output:
	// C&W 9×200 L2 minimal [0.141 0.354 0.566]
}

func ExampleStandard() {
	c, e := brightness()
	ball := advlib.L2.Ball(0.4)
	report := advlib.MustEvaluate(context.Background(), c, e, attack.Standard(ball))
	for k, a := range report.Attacks { // each on what those before it left
		fmt.Printf("%s: run on %d, leaves %d\n", a.Name, a.Attacked(), report.RobustAfter(k, ball).Count)
	}
	fmt.Printf("the last one breaks at distance %.3f\n", report.Attacks[3].Distance[2])
	// Output:
	// FGM L2 ≤ 0.4: run on 3, leaves 1
	// PGD-40 L2 ≤ 0.4: run on 1, leaves 1
	// PGD-40 L2 ≤ 0.4, Margin, 9 targets: run on 1, leaves 1
	// C&W 9×1000 L2 minimal: run on 1, leaves 1
	// the last one breaks at distance 0.566
}
