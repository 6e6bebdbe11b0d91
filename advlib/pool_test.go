package advlib_test

import (
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
)

// Of equal elements of a window the first takes the gradient, row by row, as in PyTorch: torch.nn.functional.max_pool2d
// on the same numbers gives the same. Values are few, so that most windows have ties.
func TestMaxPoolGradientGoesToTheFirst(t *testing.T) {
	const n, h, w = 2, 7, 9
	x := make([]float32, n*h*w)
	for i := range x {
		x[i] = float32(i * 7 % 5 % 3)
	}
	for _, name := range []string{backend.Go, ""} {
		b, err := backend.Open()
		if name != "" {
			b, err = backend.OpenNamed(name)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ window, stride, pad int }{{2, 2, 0}, {3, 3, 0}, {3, 2, 1}, {2, 1, 0}, {3, 1, 1}, {2, 3, 0}} {
			oh, ow := (h+2*c.pad-c.window)/c.stride+1, (w+2*c.pad-c.window)/c.stride+1
			v := make([]float32, n*oh*ow)
			for i := range v {
				v[i] = float32(i + 1)
			}
			got, err := ExecOnce(b, func(x, v *Node) *Node {
				y := MaxPool(x).Window(c.window).Strides(c.stride).PaddingPerDim([][2]int{{c.pad, c.pad}, {c.pad, c.pad}}).Done()
				return Gradient(ReduceAllSum(Mul(y, v)), x)[0]
			}, tensors.FromFlatDataAndDimensions(x, n, h, w, 1), tensors.FromFlatDataAndDimensions(v, n, oh, ow, 1))
			if err != nil {
				t.Fatal(err)
			}
			want := make([]float64, len(x))
			for e := range n {
				for i := range oh {
					for j := range ow {
						best := -1
						for p := max(0, i*c.stride-c.pad); p < min(h, i*c.stride-c.pad+c.window); p++ {
							for q := max(0, j*c.stride-c.pad); q < min(w, j*c.stride-c.pad+c.window); q++ {
								if at := (e*h+p)*w + q; best < 0 || x[at] > x[best] {
									best = at
								}
							}
						}
						want[best] += float64(v[(e*oh+i)*ow+j])
					}
				}
			}
			near(t, b.Name(), tensors.MustCopyFlatData[float32](got), want)
		}
	}
}
