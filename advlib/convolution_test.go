package advlib_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
)

// TestConvolutionGradient compares the gradients of ⟨v, x∗k⟩ with sums written out: convolution is linear in x and in
// k.
func TestConvolutionGradient(t *testing.T) {
	const n, h, w, out = 2, 9, 8, 2
	for name := range map[string]bool{backend.Go: true, "": true} {
		b, err := backend.Open()
		if name != "" {
			b, err = backend.OpenNamed(name)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range [][2]int{{1, 1}, {2, 2}, {3, 3}, {4, 5}, {6, 2}} {
			for _, stride := range []int{1, 2, 3} {
				for _, pad := range [][2]int{{0, 0}, {1, 1}, {0, 1}, {1, 0}} {
					for _, dilation := range []int{1, 2, 3} {
						in := 1 + 4*((stride+pad[0]+dilation)%2) // the gradient of few channels is computed in another way
						if stride > 1 && dilation > 1 {
							continue // a convolution has one of the two
						}
						span := [2]int{(k[0]-1)*dilation + 1, (k[1]-1)*dilation + 1}
						if most := max(pad[0], pad[1]); span[0] <= most || span[1] <= most || span[0] > h+pad[0]+pad[1] || span[1] > w+pad[0]+pad[1] {
							continue
						}
						oh, ow := (h+pad[0]+pad[1]-span[0])/stride+1, (w+pad[0]+pad[1]-span[1])/stride+1
						r := rand.New(rand.NewPCG(1, 2))
						x, kernel, v := normal(r, n*h*w*in), normal(r, k[0]*k[1]*in*out), normal(r, n*oh*ow*out)
						got, err := ExecOnceN(b, func(a []*Node) []*Node {
							z := Convolve(a[0], a[1]).Strides(stride).Dilations(dilation).PaddingPerDim([][2]int{pad, pad}).Done()
							return Gradient(ReduceAllSum(Mul(z, a[2])), a[0], a[1])
						}, tensors.FromFlatDataAndDimensions(x, n, h, w, in),
							tensors.FromFlatDataAndDimensions(kernel, k[0], k[1], in, out), tensors.FromFlatDataAndDimensions(v, n, oh, ow, out))
						if err != nil {
							t.Fatal(err)
						}
						gx, gk := make([]float64, len(x)), make([]float64, len(kernel))
						for e := range n {
							for a := range oh {
								for c := range ow {
									for i := range k[0] {
										for j := range k[1] {
											p, q := a*stride+i*dilation-pad[0], c*stride+j*dilation-pad[0]
											if p < 0 || p >= h || q < 0 || q >= w {
												continue
											}
											for ci := range in {
												for co := range out {
													xi, ki, vi := ((e*h+p)*w+q)*in+ci, ((i*k[1]+j)*in+ci)*out+co, ((e*oh+a)*ow+c)*out+co
													gx[xi] += float64(v[vi]) * float64(kernel[ki])
													gk[ki] += float64(v[vi]) * float64(x[xi])
												}
											}
										}
									}
								}
							}
						}
						what := fmt.Sprintf("%s: kernel %v, stride %d, padding %v, dilation %d", b.Name(), k, stride, pad, dilation)
						near(t, what+": gradient of the input", tensors.MustCopyFlatData[float32](got[0]), gx)
						near(t, what+": gradient of the kernel", tensors.MustCopyFlatData[float32](got[1]), gk)
					}
				}
			}
		}
	}
}

func normal(r *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d values, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if math.Abs(float64(got[i])-want[i]) > 1e-4 {
			t.Errorf("%s is %g at %d, want %g", what, got[i], i, want[i])
			return
		}
	}
}
