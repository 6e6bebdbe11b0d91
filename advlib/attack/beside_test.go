package attack_test

import (
	"os"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
)

// Attacks that see the gradients of an honest model never lose to those that only ask by more than 0.2 % of the
// examples: 1000 with ADVLAB_FULL, else 120.
func TestWhiteBoxNeverLoses(t *testing.T) {
	r := digits(t)
	all, _ := dataset.Digits()
	n := 120
	if os.Getenv("ADVLAB_FULL") != "" {
		n = 1000
	}
	x := tensors.MustCopyFlatData[float32](all.X)[:n*64]
	e, err := advlib.NewExamples("digits/train", x, []int{64}, all.Y[:n])
	if err != nil {
		t.Fatal(err)
	}
	linf := advlib.Linf.Ball(radius(advlib.Linf))
	s := advlib.Settings{Alone: true, Balls: []advlib.Ball{advlib.L2.Ball(radius(advlib.L2))}}
	report := s.MustEvaluate(t.Context(), r.Classifier, e, []advlib.Attack{
		attack.APGD{Ball: linf, Loss: advlib.Margin, Steps: 50}, attack.DDN{Steps: 200},
		attack.Square{Ball: linf, Queries: 500}, attack.HopSkipJump{Norm: advlib.L2, Queries: 500},
	})
	if beside := report.Beside(); len(beside) != 2 {
		t.Fatalf("%d comparisons, want one in Linf and one in L2:\n%v", len(beside), report)
	}
	for _, c := range report.Beside() {
		if t.Log(c); c.BlackBoxWins() || c.Broken.Count == 0 || c.Broken.Count == c.Broken.Of {
			t.Errorf("of %d examples: %v", n, c)
		}
	}
}
