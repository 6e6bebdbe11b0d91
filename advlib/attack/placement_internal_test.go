package attack

import (
	"math"
	"math/rand/v2"
	"testing"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
	"advlab/advlib/backend"
)

// canvas is a linear classifier of two classes on images of the given shape, with weights v for the second: the margin
// of class 1 over class 0 is v·x − 0.1.
func canvas(t *testing.T, v []float32, shape ...int) *advlib.Classifier {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	c, err := advlib.NewClassifier(advlib.Spec{
		Name: "canvas", Input: shape, Box: advlib.UnitBox, Backend: b,
		Logits: func(_ *model.Scope, x *Node) *Node {
			w := ConstTensor(x.Graph(), tensors.FromFlatDataAndDimensions(v, len(v), 1))
			z := AddScalar(Dot(Reshape(x, x.Shape().Dimensions[0], -1), w).Product(), -0.1)
			return Concatenate([]*Node{ZerosLike(z), z}, 1)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func noise(seed uint64, n int, lo, hi float64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(lo + (hi-lo)*r.Float64())
	}
	return v
}

// An upright patch that covers whole pixels is copied; one twice as large as its pixels is interpolated by the weights
// worked out by hand; a quarter turn moves its corners.
func TestPasteByHand(t *testing.T) {
	on, patch := plane{4, 4, 1}, []float32{0.1, 0.2, 0.3, 0.4}
	limits := canvas(t, make([]float32, 16), 4, 4).Limits()
	for _, c := range []struct {
		at   placement
		want []float32 // of the middle 2 × 2 pixels
	}{
		{placement{shape: PatchSquare, side: 2, row: 2, column: 2}, patch},
		{placement{shape: PatchSquare, side: 2, row: 2, column: 2, light: 0.25}, []float32{0.35, 0.45, 0.55, 0.65}},
		{placement{shape: PatchSquare, side: 2, row: 2, column: 2, light: 0.7}, []float32{0.8, 0.9, 1, 1}},
		{placement{shape: PatchSquare, side: 2, row: 2, column: 2, angle: math.Pi / 2}, []float32{0.2, 0.4, 0.1, 0.3}},
		// At u = ±1/8 of the side, a pixel is at 1/4 and 3/4 between the two of the patch.
		{placement{shape: PatchSquare, side: 4, row: 2, column: 2}, []float32{0.175, 0.225, 0.275, 0.325}},
	} {
		x := make([]float32, 16)
		n := c.at.paste(x, patch, on, 2, limits)
		if want := int(c.at.side * c.at.side); n != want {
			t.Errorf("%+v covers %d pixels, want %d", c.at, n, want)
		}
		for k, want := range c.want {
			if got := x[(1+k/2)*4+1+k%2]; math.Abs(float64(got-want)) > 1e-6 {
				t.Errorf("%+v: pixel %d of the middle is %g, want %g", c.at, k, got, want)
			}
		}
	}
}

// Nothing changes outside of a placement, and what is inside fits the bound that the threat model states; placements
// lie inside the image, and within their ranges.
func TestPlacementsStayInside(t *testing.T) {
	on := plane{12, 9, 2}
	limits := canvas(t, make([]float32, 12*9*2), 12, 9, 2).Limits()
	patch := noise(1, 5*5*2, 0, 1)
	for _, shape := range []PatchShape{PatchCircle, PatchSquare} {
		p := Placements{Smallest: 0.2, Largest: 0.6, Rotation: 180}
		most := on.most(shape, 0.6*9)
		r := rand.New(rand.NewPCG(3, uint64(shape)))
		for range 500 {
			at := p.draw(r, on, shape, limits.Box())
			if at.side < 0.2*9 || at.side > 0.6*9 || math.Abs(at.angle) > math.Pi || math.Abs(at.light) > 0.1 {
				t.Fatalf("%+v is out of range", at)
			}
			before := noise(2, 12*9*2, 0, 1)
			after := append([]float32(nil), before...)
			n := at.paste(after, patch, on, 5, limits)
			if n > most {
				t.Errorf("%+v covers %d pixels, more than the bound %d", at, n, most)
			}
			changed := 0
			for i := range on.height * on.width {
				dy, dx := float64(i/on.width)+0.5-at.row, float64(i%on.width)+0.5-at.column
				inside := math.Hypot(dy, dx) <= at.side/2*(1+1e-9)
				if shape == PatchSquare {
					sin, cos := math.Sincos(at.angle)
					inside = max(math.Abs(cos*dy+sin*dx), math.Abs(cos*dx-sin*dy)) <= at.side/2*(1+1e-9)
				}
				differs := before[2*i] != after[2*i] || before[2*i+1] != after[2*i+1]
				if differs && !inside {
					t.Errorf("%+v changes pixel %d, outside of it", at, i)
				}
				if differs {
					changed++
				}
			}
			if changed < n-2 {
				t.Errorf("%+v covers %d pixels and changes %d", at, n, changed)
			}
			// All four ends of the outline are in the image.
			reach := at.side / 2
			if shape == PatchSquare {
				reach *= math.Abs(math.Sin(at.angle)) + math.Abs(math.Cos(at.angle))
			}
			if at.row-reach < -1e-9 || at.row+reach > 12+1e-9 || at.column-reach < -1e-9 || at.column+reach > 9+1e-9 {
				t.Errorf("%+v leaves the image", at)
			}
		}
	}
}

// The graph puts patches where the host does, and its gradient is the mean over examples and placements of the single
// ones.
func TestPatchStep(t *testing.T) {
	const h, w, channels, size, n = 7, 6, 2, 4, 5
	on := plane{h, w, channels}
	c := canvas(t, noise(4, h*w*channels, -1, 1), h, w, channels)
	limits := c.Limits()
	patch, x := noise(5, size*size*channels, 0.2, 0.8), noise(6, n*h*w*channels, 0, 1)
	r := rand.New(rand.NewPCG(7, 8))
	var at []placement
	for range n {
		at = append(at, Placements{Rotation: 90, Brightness: 0.3}.draw(r, on, PatchCircle, advlib.UnitBox))
	}
	target := advlib.Count(c)
	placed := target.Compile("placed", func(_ *advlib.Model, in []*Node) []*Node {
		return []*Node{place(in[0], in[1], in[2:], limits)}
	})
	key := patchStep{loss: advlib.Margin}
	step := craft.Compile(target, advlib.Batch{}, key, key.graph)
	tensor := func(flat []float32, dims ...int) *tensors.Tensor {
		return tensors.FromFlatDataAndDimensions(flat, dims...)
	}
	p := tensor(patch, size*size, channels)
	gradient := func(x []float32, at []placement) []float32 {
		n := len(at)
		in := []any{tensor(x, n, h, w, channels), tensors.FromFlatDataAndDimensions(make([]int32, n), n)}
		in = append(in, gridsOf(at, n, on, size).inputs()...)
		out, err := step.Run(n, append(in, tensor(shares(n, n), n), p, tensors.FromShape(p.Shape()), tensors.FromShape(p.Shape()),
			float32(0.1))...)
		if err != nil {
			t.Fatal(err)
		}
		return tensors.MustCopyFlatData[float32](out[3])
	}
	out, err := placed.Run(n, append([]any{tensor(x, n, h, w, channels), p}, gridsOf(at, n, on, size).inputs()...)...)
	if err != nil {
		t.Fatal(err)
	}
	got := tensors.MustCopyFlatData[float32](out[0])
	row := h * w * channels
	mean := make([]float32, len(patch))
	for i := range n {
		want := append([]float32(nil), x[i*row:(i+1)*row]...)
		at[i].paste(want, patch, on, size, limits)
		for j := range want {
			if math.Abs(float64(got[i*row+j]-want[j])) > 1e-6 {
				t.Errorf("image %d: the graph puts %g at %d, the host %g", i, got[i*row+j], j, want[j])
			}
		}
		for j, g := range gradient(x[i*row:(i+1)*row], at[i:i+1]) {
			mean[j] += g / n
		}
	}
	largest := 0.
	for j, g := range gradient(x, at) {
		largest = max(largest, math.Abs(float64(g)))
		if math.Abs(float64(g-mean[j])) > 1e-5 {
			t.Errorf("gradient %d of the patch is %g, the mean of the single ones %g", j, g, mean[j])
		}
	}
	if largest < 0.01 {
		t.Errorf("the largest gradient is %g: this tests nothing", largest)
	}
}
