package certify

import (
	"testing"

	"advlab/advlib"

	"advlab/advlib/certify/internal/search"

	"github.com/gomlx/compute/dtypes"
)

// A network that is a chain is decided the same way, whether it is taken as one or as any graph; and where the search
// may not look at counterexamples, nothing is closed that has one.
func TestSplittingOfGraphs(t *testing.T) {
	c, e, x := wide(t, 12)
	ball := advlib.Linf.Ball(0.12)
	chain, err := Verify(t.Context(), c, e, ball, Options{Cells: 2000, Starts: -1})
	if err != nil {
		t.Fatal(err)
	}
	n, err := Of(c)
	if err != nil {
		t.Fatal(err)
	}
	d := &deployed{input: c.Input(), size: 20, dtype: dtypes.Float32, run: onTarget{advlib.Count(c)}}
	counts := map[advlib.Status]int{}
	for i, v := range chain.Decisions {
		around, err := Around(c, e, ball, false)
		if err != nil {
			t.Fatal(err)
		}
		p := aroundExample(c, x[20*i:20*i+20], e.Y[i], ball, around.Select([]int{i}))
		out, err := Options{Method: CROWN}.settle(t.Context(), n, &search.Search{Problem: p, Outputs: d.outputs, Cells: 1000})
		if err != nil {
			t.Fatal(err)
		}
		status := advlib.Verified
		if out.X != nil {
			status = advlib.Falsified
		} else if out.Reason != "" {
			status = advlib.Unknown
		}
		counts[status]++
		if status != v.Status {
			t.Errorf("example %d: %v, as a chain %v", i, status, v)
		}
		if status != advlib.Falsified || counts[advlib.Falsified] > 2 {
			continue
		}
		p.IsUnsafe = func([]float64) bool { return false }
		blind, err := Options{Method: CROWN}.settle(t.Context(), n, &search.Search{Problem: p, Outputs: d.outputs, Cells: 100})
		if err != nil || blind.Reason == "" {
			t.Errorf("example %d has a counterexample, and was closed: %+v, %v", i, blind, err)
		}
	}
	if counts[advlib.Verified] < 2 || counts[advlib.Falsified] < 2 {
		t.Errorf("%v: too few to tell", counts)
	}
}
