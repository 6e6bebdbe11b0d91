package advlib_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
)

// What looks wrong with data: the model says the largest of four numbers, so the right labels are known.
func TestSuspectData(t *testing.T) {
	opened, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	largest := func(box advlib.Box) *advlib.Classifier {
		return advlib.MustClassifier(advlib.Spec{Name: "largest", Input: []int{4}, Box: box, Backend: opened,
			Classes: []string{"a", "b", "c", "d"},
			Logits:  func(_ *model.Scope, x *Node) *Node { return MulScalar(x, 3) }})
	}
	bytes := advlib.Box{Lo: 0, Hi: 255}
	r := rand.New(rand.NewPCG(1, 2))
	const n = 60
	x, right := make([]float32, 4*n), make([]int32, n)
	for i := range n {
		for k := range 4 {
			x[4*i+k] = r.Float32()
			if x[4*i+k] > x[4*i+int(right[i])] {
				right[i] = int32(k)
			}
		}
	}
	for _, c := range []struct {
		name  string
		box   advlib.Box
		label func(i int, y int32) int32
		want  string // "" for no warning
	}{
		{"right", advlib.UnitBox, func(_ int, y int32) int32 { return y }, ""},
		{"fractions in a box of bytes", bytes, func(_ int, y int32) int32 { return y }, "fill 0.0039 of the width of the box [0, 255]"},
		{"half of them right", advlib.UnitBox, func(i int, y int32) int32 { return (y + int32(i%2)*int32(1+i/2%3)) % 4 }, ""},
		{"random", advlib.UnitBox, func(int, int32) int32 { return int32(r.IntN(4)) }, ""},
		{"counted from 1, without the last class", advlib.UnitBox, func(_ int, y int32) int32 { return min(y+1, 3) },
			"as if they were counted from 1: with y − 1"},
		{"another order", advlib.UnitBox, func(_ int, y int32) int32 { return []int32{2, 0, 3, 1}[y] },
			"another order than the model's: with the labels c → a, a → b, d → c, b → d the clean accuracy is 100.0 % instead of 0.0 %"},
		{"two exchanged", advlib.UnitBox, func(_ int, y int32) int32 { return []int32{0, 1, 3, 2}[y] }, "d → c, c → d"},
	} {
		y := make([]int32, n)
		for i := range y {
			y[i] = c.label(i, right[i])
		}
		e, err := advlib.NewExamples("numbers", x, []int{4}, y)
		if err != nil {
			t.Fatal(err)
		}
		clf, fgm := largest(c.box), attack.FGM{Ball: advlib.Linf.Ball(0.01)}
		report, err := advlib.Evaluate(t.Context(), clf, e, []advlib.Attack{fgm})
		if err != nil {
			t.Fatal(err)
		}
		res, err := advlib.Run(t.Context(), clf, e, fgm)
		if err != nil {
			t.Fatal(err)
		}
		for where, warnings := range map[string][]string{"report": report.Warnings, "result": res.Warnings} {
			if all := strings.Join(warnings, "\n"); c.want == "" && all != "" || !strings.Contains(all, c.want) {
				t.Errorf("%s, %s: warnings %q, want %q", c.name, where, warnings, c.want)
			}
		}
	}
	e, err := advlib.NewExamples("from 1", x, []int{4}, func() (y []int32) {
		for _, k := range right {
			y = append(y, k+1)
		}
		return y
	}())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := advlib.Run(t.Context(), largest(advlib.UnitBox), e, attack.FGM{Ball: advlib.Linf.Ball(0.01)}); err == nil ||
		!strings.Contains(err.Error(), "counted from 1: save y - 1") {
		t.Errorf("labels 1..4: %v", err)
	}
}
