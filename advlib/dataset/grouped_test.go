package dataset

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

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

// Apart keeps classes whole, with their names, and renumbers them; all are in one part.
func TestApart(t *testing.T) {
	faces := Faces(7, 3, 1)
	parts, err := Apart(faces, 1, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	x := tensors.MustCopyFlatData[float32](faces.X)
	size, seen := len(x)/faces.Len(), map[string]bool{}
	for k, want := range []int{2, 3, 2} {
		p := parts[k]
		if len(p.Classes) != want || p.Len() != 3*want {
			t.Errorf("part %d has %d classes and %d examples, want %d and %d", k, len(p.Classes), p.Len(), want, 3*want)
		}
		px := tensors.MustCopyFlatData[float32](p.X)
		for i, y := range p.Y {
			old := int(p.Number(i))
			if !slices.Equal(px[i*size:(i+1)*size], x[old*size:(old+1)*size]) || p.Classes[y] != faces.Classes[faces.Y[old]] {
				t.Errorf("part %d, example %d is not %s's picture %d", k, i, p.Classes[y], old)
			}
		}
		for _, name := range p.Classes {
			if seen[name] {
				t.Errorf("%s is in two parts", name)
			}
			seen[name] = true
		}
	}
	again, err := Apart(faces, 1, 2, 3)
	if err != nil || !slices.Equal(again[1].Classes, parts[1].Classes) {
		t.Errorf("the same seed gives %v, then %v (%v)", parts[1].Classes, again[1].Classes, err)
	}
	if _, err := Apart(faces, 1, 4, 3); err == nil || !strings.Contains(err.Error(), "leave none of its 7") {
		t.Errorf("all classes: %v", err)
	}
	if _, err := Apart(faces, 1, 0); err == nil || !strings.Contains(err.Error(), "a part of 0 classes") {
		t.Errorf("no class: %v", err)
	}
}
