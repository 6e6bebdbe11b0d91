package certify_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
)

// TestVerifyModels: what has many inputs and is no chain is decided by the search for counterexamples, by bounds, and
// by splitting signs: what CROWN-IBP proves is verified, and what is left says why.
func TestVerifyModels(t *testing.T) {
	i := slices.IndexFunc(testModels, func(m testModel) bool { return m.name == "strided-cnn" })
	m := testModels[i]
	c := m.classifier(t, backends(t)["go"])
	e := m.examples(t, c, 2)
	counts := map[advlib.Status]int{}
	for _, ball := range []advlib.Ball{advlib.Linf.Ball(0.002), advlib.Linf.Ball(0.15)} {
		v, err := certify.Verify(t.Context(), c, e, ball, certify.Options{Timeout: -1, Method: certify.CROWNIBP, Starts: 4, Steps: 2, Cells: 10})
		if err != nil {
			t.Fatal(err)
		}
		margins, err := certify.Margins(t.Context(), c, e, ball, certify.CROWNIBP)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(v)
		for i, row := range margins {
			verdict := v.Decisions[i]
			counts[verdict.Status]++
			if slices.Min(row) > 0 && verdict.Status != advlib.Verified {
				t.Errorf("%v, example %d: CROWN-IBP proves it, and it is %v", ball, i, verdict)
			}
			if verdict.Status == advlib.Unknown && (verdict.Bound < slices.Min(row)-1e-6 || verdict.Bound > 0 ||
				!strings.Contains(verdict.Reason, "branches were bounded")) {
				t.Errorf("%v, example %d: %v, CROWN-IBP has %g", ball, i, verdict, slices.Min(row))
			}
		}
	}
	if counts[advlib.Verified] == 0 || counts[advlib.Unknown] == 0 {
		t.Errorf("%v", counts)
	}
}

// TestVerifyCNN: examples of the reference CNN that bounds leave open are decided by splitting signs.
func TestVerifyCNN(t *testing.T) {
	if !full {
		t.Skip("it takes minutes: set ADVLAB_FULL=1")
	}
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	r := load(t, "cnn-mnist-adv", b)
	open := []int{0, 3, 4} // at Linf 0.1, by CROWN and by α-CROWN; example 2 is not decided within minutes
	v, err := certify.Verify(t.Context(), r.Classifier, r.Examples.Select(open), advlib.Linf.Ball(0.1),
		certify.Options{Timeout: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for i, verdict := range v.Decisions {
		t.Logf("example %d: %v", open[i], verdict)
		if verdict.Status != advlib.Verified || verdict.Method != "branch and bound" {
			t.Errorf("example %d: %v", open[i], verdict)
		}
	}
}
