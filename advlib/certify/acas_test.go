package certify_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/certify"
	"advlab/advlib/onnx"
)

// acas opens network 1_1 of ACAS Xu (Julian et al.), from data that is not part of the repository.
func acas(t testing.TB) *onnx.Network {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", "vnnlib", "ACASXU_run2a_1_1_batch_2000.onnx")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("there is no network of ACAS Xu: %v", err)
	}
	n, err := onnx.Open(path, onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func bounded(t testing.TB, n *onnx.Network, b compute.Backend) *certify.Network {
	t.Helper()
	net, err := certify.New(certify.Source{Name: n.Name(), Graph: n.Graph, Store: n.Store(), Input: n.Input(), Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// CROWN's margins on property 3 (the vertical speed command "clear of conflict" is not minimal) equal those of
// auto_LiRPA to ten digits. The box is that of prop_3.vnnlib, the margins are of output 0 over the others.
func TestACASProperty3(t *testing.T) {
	net := bounded(t, acas(t), backends(t)["Go Backend"])
	box := certify.Boxes([][]float64{{-0.303531156, -0.009549297, 0.493380324, 0.3, 0.3}},
		[][]float64{{-0.298552812, 0.009549297, 0.5, 0.5, 0.5}})
	rows := certify.MarginRows(0, 5)
	a, err := net.Bound(t.Context(), certify.Query{Regions: box, Rows: [][][]float64{rows}, Slopes: true},
		certify.CROWN.In(certify.RealArithmetic))
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{-0.50385931656, -0.56915920449, -0.89764233411, -0.96617528651}
	for i, v := range a.Lower[0] {
		if !(math.Abs(v-want[i]) < 1e-9) {
			t.Errorf("margin %d is %.11f, auto_LiRPA's %.11f", i, v, want[i])
		}
	}
	sound, err := net.Bound(t.Context(), certify.Query{Regions: box, Rows: [][][]float64{rows}}, certify.CROWN)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range sound.Lower[0] {
		if !(v < a.Lower[0][i] && v > a.Lower[0][i]-0.01) {
			t.Errorf("with rounding, margin %d is %g, in real arithmetic %g", i, v, a.Lower[0][i])
		}
	}
	t.Logf("with rounding %.8f, last pass's slack %.2g", sound.Lower[0], sound.Slack[0])
}

// Bounds over boxes of width 0 to 2e-3 hold the backend's own float32 outputs at their corners: 64000 outputs for each
// width. In real arithmetic they do not: rounding is not a detail.
func TestDegenerateBoxes(t *testing.T) {
	const boxes, corners = 64, 200 // 5 outputs each: 64000
	for name, b := range backends(t) {
		n := acas(t) // a tensor belongs to one backend
		net := bounded(t, n, b)
		forward := model.MustNewExec(b, n.Store(), func(scope *model.Scope, x *Node) *Node { return n.Graph(scope, x) })
		r := rand.New(rand.NewPCG(11, 13))
		for _, ε := range []float64{0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3} {
			lower, upper := make([][]float64, boxes), make([][]float64, boxes)
			flat := make([]float32, 0, boxes*corners*5)
			for i := range boxes {
				lower[i], upper[i] = make([]float64, 5), make([]float64, 5)
				for j := range 5 {
					x := float64(float32(r.Float64() - 0.5))
					lower[i][j], upper[i][j] = x-ε, x+ε
				}
				for range corners {
					for j := range 5 {
						end := lower[i][j]
						if r.IntN(2) == 1 {
							end = upper[i][j]
						}
						flat = append(flat, float32(end))
					}
				}
			}
			dims := append([]int{boxes * corners}, n.Input()...)
			y := tensors.MustCopyFlatData[float32](forward.MustCall(tensors.FromFlatDataAndDimensions(flat, dims...))[0])
			violations := func(m certify.Method) (count int, slack float64) {
				a, err := net.Bound(t.Context(), certify.Query{Regions: certify.Boxes(lower, upper), Rows: [][][]float64{certify.EachOutput(5)}}, m)
				if err != nil {
					t.Fatal(err)
				}
				for i := range boxes {
					for c := range corners {
						for k := range 5 {
							v := float64(y[(i*corners+c)*5+k])
							if !(a.Lower[i][k] <= v && v <= -a.Lower[i][5+k]) {
								count++
							}
						}
					}
					for _, s := range a.Slack[i] {
						slack += s / boxes / 10
					}
				}
				return count, slack
			}
			for _, m := range []certify.Method{certify.IBP, certify.CROWNIBP, certify.CROWN, certify.CROWN.ByGraphs()} {
				count, slack := violations(m)
				if count > 0 {
					t.Errorf("%s: ε %g: %v: %d of 64000 outputs are outside of their bounds", name, ε, m, count)
				}
				t.Logf("%s: ε %g: %v: 0 of 64000 outside, mean slack of the last pass %.2g", name, ε, m, slack)
			}
			naive, _ := violations(certify.CROWNIBP.In(certify.RealArithmetic))
			t.Logf("%s: ε %g: in real arithmetic %d of 64000 outside", name, ε, naive)
			if naive == 0 && ε <= 1e-6 {
				t.Errorf("%s: ε %g: in real arithmetic no output is outside: this test would not find a missing rounding error", name, ε)
			}
		}
	}
}
