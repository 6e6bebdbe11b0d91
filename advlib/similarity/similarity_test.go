package similarity_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"advlab/advlib/similarity"
)

// Both measures are scikit-image's to 1e-6, of gray and of colour, in either window and either layout.
func TestSimilarityIsThatOfSkimage(t *testing.T) {
	text, err := os.ReadFile("testdata/skimage.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Shape      []int
		Span       float64
		A, B       []float64
		SSIM, PSNR float64
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	var worst float64
	for _, c := range cases {
		a, b := make([]float32, len(c.A)), make([]float32, len(c.B))
		for i := range a {
			a[i], b[i] = float32(c.A[i]*c.Span/512), float32(c.B[i]*c.Span/512)
		}
		ssim, window, err := similarity.SSIM(a, b, c.Shape, c.Span)
		if err != nil {
			t.Fatal(err)
		}
		psnr := similarity.PSNR(a, b, c.Span)
		worst = max(worst, math.Abs(ssim-c.SSIM), math.Abs(psnr-c.PSNR))
		if math.Abs(ssim-c.SSIM) > 1e-6 || math.Abs(psnr-c.PSNR) > 1e-6 {
			t.Errorf("%v in a span of %g: SSIM %.9f and PSNR %.9f, scikit-image has %.9f and %.9f", c.Shape, c.Span, ssim, psnr, c.SSIM, c.PSNR)
		}
		if want := min(c.Shape[0], c.Shape[1]) < 11; want != (window == similarity.Uniform) {
			t.Errorf("%v: the window is %s", c.Shape, window)
		}
		// Channels first.
		h, w, n := c.Shape[0], c.Shape[1], c.Shape[2]
		first := func(x []float32) []float32 {
			out := make([]float32, len(x))
			for i := range h * w {
				for k := range n {
					out[k*h*w+i] = x[i*n+k]
				}
			}
			return out
		}
		if other, _, err := similarity.SSIM(first(a), first(b), []int{n, h, w}, c.Span); err != nil || math.Abs(other-ssim) > 1e-12 {
			t.Errorf("%v with its channels first: %.12f, %v", c.Shape, other, err)
		}
		if same, _, err := similarity.SSIM(a, a, c.Shape, c.Span); err != nil || same != 1 || !math.IsInf(similarity.PSNR(a, a, c.Span), 1) {
			t.Errorf("%v: of equal images SSIM is %g", c.Shape, same)
		}
	}
	t.Logf("%d pairs, the furthest is %.2g off", len(cases), worst)
}

func TestSSIMRefuses(t *testing.T) {
	for _, shape := range [][]int{{6, 9, 1}, {54}, {3, 3, 6}, {9, 6}, {2, 3, 3, 3}, {8, 8}} {
		if _, _, err := similarity.SSIM(make([]float32, 54), make([]float32, 54), shape, 1); err == nil {
			t.Errorf("54 values of shape %v have an SSIM", shape)
		}
	}
	if l, ok := similarity.LayoutOf([]int{3, 32, 32}); !ok || l != (similarity.Layout{Height: 32, Width: 32, Channels: 3, First: true}) {
		t.Errorf("%+v, %v", l, ok)
	}
}
