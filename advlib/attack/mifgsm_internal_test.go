package attack

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
)

// A whole-size copy is the image itself; half of the size at (1, 2) is the mean of four pixels each, and Lo around.
func TestShrunk(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	const n, h, w, c, lo = 2, 4, 6, 2, -1
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n*h*w*c)
	for i := range x {
		x[i] = 2*r.Float32() - 1
	}
	out, err := graph.CallOnce(b, func(in []*graph.Node) *graph.Node {
		return shrunk(in[0], in[1], in[2], in[3], in[4], lo)
	}, tensors.FromFlatDataAndDimensions(x, n, h, w, c), []float32{h, h / 2}, []float32{w, w / 2}, []float32{0, 1}, []float32{0, 2})
	if err != nil {
		t.Fatal(err)
	}
	got := tensors.MustCopyFlatData[float32](out)
	at := func(v []float32, i, y, x, k int) float64 { return float64(v[((i*h+y)*w+x)*c+k]) }
	for y := range h {
		for xx := range w {
			for k := range c {
				if want := at(x, 0, y, xx, k); math.Abs(at(got, 0, y, xx, k)-want) > 1e-6 {
					t.Errorf("whole size: (%d, %d, %d) is %g, was %g", y, xx, k, at(got, 0, y, xx, k), want)
				}
				want := float64(lo)
				if sy, sx := 2*(y-1), 2*(xx-2); sy >= 0 && sy < h && sx >= 0 && sx < w {
					want = (at(x, 1, sy, sx, k) + at(x, 1, sy+1, sx, k) + at(x, 1, sy, sx+1, k) + at(x, 1, sy+1, sx+1, k)) / 4
				}
				if math.Abs(at(got, 1, y, xx, k)-want) > 1e-6 {
					t.Errorf("half size: (%d, %d, %d) is %g, want %g", y, xx, k, at(got, 1, y, xx, k), want)
				}
			}
		}
	}
}

// smoothed against the sum written out: Dong et al. (2019), equation 8 and section 3.3, with the standard deviation of
// a third of the half width.
func TestSmoothed(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	const h, w, width, half = 5, 7, 5, 2
	r := rand.New(rand.NewPCG(3, 4))
	g := make([]float32, h*w)
	for i := range g {
		g[i] = float32(r.NormFloat64())
	}
	out, err := graph.CallOnce(b, func(g *graph.Node) *graph.Node { return smoothed(g, width) }, tensors.FromFlatDataAndDimensions(g, 1, h, w))
	if err != nil {
		t.Fatal(err)
	}
	got := tensors.MustCopyFlatData[float32](out)
	σ := half / 3.
	weight := func(i, j int) float64 { return math.Exp(-float64(i*i+j*j) / (2 * σ * σ)) }
	sum := 0.
	for i := -half; i <= half; i++ {
		for j := -half; j <= half; j++ {
			sum += weight(i, j)
		}
	}
	for y := range h {
		for x := range w {
			want := 0.
			for i := -half; i <= half; i++ {
				for j := -half; j <= half; j++ {
					if y+i >= 0 && y+i < h && x+j >= 0 && x+j < w {
						want += weight(i, j) / sum * float64(g[(y+i)*w+x+j])
					}
				}
			}
			if math.Abs(float64(got[y*w+x])-want) > 1e-5 {
				t.Errorf("(%d, %d) is %g, want %g", y, x, got[y*w+x], want)
			}
		}
	}
}
