package dataset

import (
	"fmt"
	"math"
	"testing"

	"advlab/advlib"
)

// Of groups whose examples are all right or all wrong, the interval is as wide as that of so many groups, not of so
// many examples; of groups of one it is that of independent answers.
func TestGroupedInterval(t *testing.T) {
	const groups, size = 100, 25
	for _, each := range []int{1, size} {
		n := groups * each
		e, err := advlib.NewExamples("groups", make([]float32, n), []int{1}, make([]int32, n))
		if err != nil {
			t.Fatal(err)
		}
		g, is := &Grouped{Examples: e}, make([]bool, n)
		for i := range n {
			g.Group = append(g.Group, fmt.Sprint(i/each))
			is[i] = i/each%5 != 0 // four groups of five
		}
		low, high, err := g.Interval(is)
		if err != nil {
			t.Fatal(err)
		}
		half := 1.96 * math.Sqrt(0.8*0.2/groups)
		if math.Abs(low-0.8+half) > 0.015 || math.Abs(high-0.8-half) > 0.015 {
			t.Errorf("groups of %d: %g to %g, want %g ± %g", each, low, high, 0.8, half)
		}
	}
	if _, _, err := (&Grouped{Examples: &advlib.Examples{Name: "none"}}).Interval([]bool{true}); err == nil {
		t.Error("an answer to no example is taken")
	}
}
