package transform

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
)

// guo is the objective of Guo et al. (2018), equation 2, of one image, computed in Go.
func guo(z []float32, x []float64, kept string, shape []int, weight float64) float64 {
	h, w, c := shape[0], shape[1], shape[2]
	total := 0.
	for k := range c {
		at := func(i, j int) int { return (i*w+j)*c + k }
		d := 0.
		for i := range h {
			for j := range w {
				if p := at(i, j); kept[p] == '1' {
					d += (float64(z[p]) - x[p]) * (float64(z[p]) - x[p])
				}
			}
		}
		total += math.Sqrt(d)
		for i := 1; i < h; i++ {
			d := 0.
			for j := range w {
				d += math.Pow(float64(z[at(i, j)])-float64(z[at(i-1, j)]), 2)
			}
			total += weight * math.Sqrt(d)
		}
		for j := 1; j < w; j++ {
			d := 0.
			for i := range h {
				d += math.Pow(float64(z[at(i, j)])-float64(z[at(i, j-1)]), 2)
			}
			total += weight * math.Sqrt(d)
		}
	}
	return total
}

// TestTotalVarianceObjective: the objective is no worse than what SciPy's L-BFGS-B reaches, by testdata/filters.py.
func TestTotalVarianceObjective(t *testing.T) {
	text, err := os.ReadFile("testdata/filters.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Pictures []struct{ Shape, Bytes []int }
		Minima   []struct {
			Kept                            string
			Weight, Ten, Hundreds, Smoothed float64
		} `json:"totalVariance"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Minima) < 20 {
		t.Fatalf("%d minima compare too little", len(all.Minima))
	}
	b, err := backend.OpenNamed("go")
	if err != nil {
		t.Fatal(err)
	}
	better, moved := 0, 0
	for n, want := range all.Minima {
		p := all.Pictures[n]
		x, x32, kept := make([]float64, len(p.Bytes)), make([]float32, len(p.Bytes)), make([]float32, len(p.Bytes))
		for i, v := range p.Bytes {
			x[i], x32[i] = float64(v)/255, float32(v)/255
			if want.Kept[i] == '1' {
				kept[i] = 1
			}
		}
		dims := append([]int{1}, p.Shape...)
		reached := func(of TotalVariance) float64 {
			exec := MustNewExec(b, func(x, kept *Node) *Node { return of.minimum(x, kept) })
			out := exec.MustCall(tensors.FromFlatDataAndDimensions(x32, dims...), tensors.FromFlatDataAndDimensions(kept, dims...))
			return guo(tensors.MustCopyFlatData[float32](out[0]), x, want.Kept, p.Shape, want.Weight)
		}
		usual, long := reached(TotalVariance{Weight: want.Weight}), reached(TotalVariance{Weight: want.Weight, Iterations: 1000})
		if usual > want.Ten {
			t.Errorf("picture %d, %v, weight %g: %g after 200 iterations, L-BFGS-B has %g after 10", n, p.Shape, want.Weight, usual, want.Ten)
		}
		if limit := min(want.Hundreds, want.Smoothed); long > limit*(1+1e-6) {
			t.Errorf("picture %d, %v, weight %g: %g after 1000 iterations, L-BFGS-B has %g after 300", n, p.Shape, want.Weight, long, limit)
		}
		if usual <= want.Hundreds {
			better++
		}
		if guo(x32, x, want.Kept, p.Shape, want.Weight) > want.Hundreds*1.000001 {
			moved++
		}
	}
	t.Logf("after 200 iterations no worse than L-BFGS-B's 300 in %d of %d pictures; L-BFGS-B moves away from z = x in %d", better,
		len(all.Minima), moved)
}
