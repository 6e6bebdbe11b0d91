package show_test

import (
	"context"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/show"
)

// Four points, attacked and certified in two balls. The picture goes into a notebook, or a file; what it shows is also
// text.
func ExampleSandwich() {
	goBackend, err := backend.OpenNamed(backend.Go)
	if err != nil {
		panic(err)
	}
	diamond := advlib.MustClassifier(advlib.Spec{ // class 1 where |x − ½| + |y − ½| > 0.3
		Name: "diamond", Input: []int{2}, Box: advlib.UnitBox, Backend: goBackend,
		Logits: func(_ *model.Scope, x *Node) *Node {
			W := ConstAsDType(x.Graph(), x.DType(), [][]float32{{1, -1, 0, 0}, {0, 0, 1, -1}})
			V := ConstAsDType(x.Graph(), x.DType(), [][]float32{{-1, 1}, {-1, 1}, {-1, 1}, {-1, 1}})
			h := activation.Relu(Dot(AddScalar(x, -0.5), W).Product())
			return Add(Dot(h, V).Product(), ConstAsDType(x.Graph(), x.DType(), [][]float32{{0.3, -0.3}}))
		},
	})
	points, err := advlib.NewExamples("points", []float32{0.5, 0.5, 0.6, 0.5, 0.6, 0.55, 1, 0.1}, []int{2}, []int32{0, 0, 0, 1})
	if err != nil {
		panic(err)
	}
	small, large := advlib.Linf.Ball(0.08), advlib.Linf.Ball(0.12)
	attacks := []advlib.Attack{attack.PGD{Ball: small}, attack.PGD{Ball: large}}
	report := advlib.MustEvaluate(context.Background(), diamond, points, attacks, certify.IBP, certify.CROWN)
	picture, err := show.Sandwich(report)
	if err != nil {
		panic(err) // an attack succeeded where a certificate says that none can
	}
	fmt.Println(picture)
	fmt.Println(show.Verdicts(report, large))
	// Output:
	// Certified ≤ robust ≤ clean accuracy against ε: diamond on points, 4 examples
	// classifier  norm     ε    clean  robust  95 % interval     IBP   CROWN  certified by any  95 % interval  unknown
	// ──────────  ────  ────  ───────  ──────  ─────────────  ──────  ──────  ────────────────  ─────────────  ───────
	// diamond     Linf  0.08  100.0 %  75.0 %  [30.1, 95.4]   25.0 %  75.0 %            75.0 %  [30.1, 95.4]     0.0 %
	// diamond     Linf  0.12  100.0 %  50.0 %  [15.0, 85.0]   25.0 %  50.0 %            50.0 %  [15.0, 85.0]     0.0 %
	// diamond on points, Linf ≤ 0.12: 4 examples, 2 verified, 2 falsified, 0 unknown
	// example  label  predicted  verdict    margin ≥  method  broken by           at distance
	// ───────  ─────  ─────────  ─────────  ────────  ──────  ──────────────────  ───────────
	//       0      0          0  verified       0.12  CROWN
	//       1      0          0  falsified     -0.08  CROWN   PGD-40 Linf ≤ 0.12       0.1133
	//       2      0          0  falsified     -0.18  CROWN   PGD-40 Linf ≤ 0.08         0.08
	//       3      1          1  verified       0.72  IBP
}
