package show

import (
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// madeResult is a result by hand on n images of rings: examples 0 and 4 are successes, 1 fails, 2 was misclassified
// before, 3 was left out, and so on. Perturbations are of size ε, signs by a fixed rule.
func madeResult(t *testing.T, n int, shape []int, box advlib.Box, ε float64) *advlib.Result {
	t.Helper()
	size := 1
	for _, d := range shape {
		size *= d
	}
	h, w := shape[0], 1
	if len(shape) > 1 {
		w = shape[1]
	}
	channels := size / (h * w)
	x, adv := make([]float32, n*size), make([]float32, n*size)
	res := &advlib.Result{Attack: fmt.Sprintf("PGD-40 Linf ≤ %g", ε), Threat: advlib.Threat{Norm: advlib.Linf, Radius: ε}, Box: box}
	y := make([]int32, n)
	for i := range n {
		y[i] = int32(i % 3)
		for j := range size {
			r, c, k := j/(w*channels), j/channels%w, j%channels
			d := math.Hypot(float64(r)-float64(h-1)/2, float64(c)-float64(w-1)/2) / float64(h) * 2
			v := math.Exp(-8 * math.Pow(d-0.4-0.1*float64(i%4), 2))
			if k > 0 {
				v *= 0.3 * float64(k)
			}
			x[i*size+j] = float32(box.Lo + box.Width()*(0.2+0.6*v))
		}
		kind := i % 4
		res.Attempted = append(res.Attempted, kind != 3)
		res.Success = append(res.Success, kind == 0 || kind == 2)
		res.Clean = append(res.Clean, advlib.Prediction{Class: y[i], Confidence: 0.9 + 0.01*float64(i%10)})
		res.Final = append(res.Final, res.Clean[i])
		switch kind {
		case 0:
			res.Distance = append(res.Distance, ε)
			res.Final[i] = advlib.Prediction{Class: (y[i] + 1) % 3, Confidence: 0.6}
		case 2:
			res.Distance = append(res.Distance, 0)
			res.Clean[i].Class = (y[i] + 2) % 3
			res.Final[i] = res.Clean[i]
		default:
			res.Distance = append(res.Distance, math.Inf(1))
		}
		for j := range size {
			adv[i*size+j] = x[i*size+j]
			if kind == 0 {
				adv[i*size+j] += float32(ε * float64((j*5/3+i)%3-1))
			}
		}
	}
	e, err := advlib.NewExamples("rings/test", x, shape, y)
	if err != nil {
		t.Fatal(err)
	}
	e.Classes = []string{"<b>", "a & b", `"long" name of a class`}
	res.Examples = e
	res.Adversarial = tensors.FromFlatDataAndDimensions(adv, append([]int{n}, shape...)...)
	return res
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestGrid(t *testing.T) {
	for _, test := range []struct {
		name   string
		shape  []int
		box    advlib.Box
		ε      float64
		layout Layout
	}{
		{"grid-gray", []int{8, 8, 1}, advlib.UnitBox, 0.1, Layout{N: 5}},
		{"grid-colour", []int{12, 16, 3}, advlib.Box{Lo: 0, Hi: 255}, 8, Layout{Rows: []int{0, 1, 2, 3}, Columns: 3}},
		{"grid-flat", []int{64}, advlib.Box{Lo: -1, Hi: 1}, 0.25, Layout{N: 3, Height: 8, Width: 8}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := must[Picture](t)(test.layout.Grid(madeResult(t, 9, test.shape, test.box, test.ε)))
			goldenPicture(t, test.name, p)
			goldenText(t, test.name+".txt", p.String())
			noNetwork(t, p.SVG())
			noNetwork(t, p.HTML())
			wellFormed(t, p.SVG())
			for _, bad := range []string{"<b>", "a & b"} {
				if strings.Contains(p.SVG(), bad) || strings.Contains(p.HTML(), bad) {
					t.Errorf("the label %q is not escaped", bad)
				}
			}
		})
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Originals, perturbations and adversarial examples come in this order in the SVG, so its images are the pixels that
// a reader sees: the largest perturbation is an extreme gray, 0 is the middle, and original + perturbation/scale is
// the adversarial example.
func TestGridPixels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		box := advlib.Box{Lo: float64(r.IntN(5) - 2)}
		box.Hi = box.Lo + math.Exp2(float64(r.IntN(12)-3))
		ε := box.Width() * (0.001 + 0.19*r.Float64())
		res := madeResult(t, 5, []int{8, 8, 1}, box, ε)
		p := must[Picture](t)(Layout{Rows: []int{0, 4}}.Grid(res))
		scale := scaleFor(largestChange(res, 0, 4), box)
		if want := fmt.Sprintf("×%.3g", scale); !strings.Contains(p.String(), want) || !strings.Contains(p.SVG(), want+", gray = 0") {
			t.Errorf("the picture does not say the scale %s: %s", want, p.String())
		}
		var said float64
		if _, after, ok := strings.Cut(p.String(), "×"); !ok {
			t.Fatal("no scale")
		} else if _, err := fmt.Sscanf(after, "%g", &said); err != nil {
			t.Fatal(err)
		}
		for k, row := range []int{0, 4} {
			images := embedded(t, p.SVG())[3*k : 3*k+3]
			lo, hi := uint8(255), uint8(0)
			factor := images[0].Bounds().Dx() / 8
			for j := range 64 {
				at := func(i int) float64 {
					return float64(images[i].(*image.Gray).GrayAt(j%8*factor, j/8*factor).Y)
				}
				gray := uint8(at(1))
				lo, hi = min(lo, gray), max(hi, gray)
				// What the caption promises, by the number it prints.
				δ := (at(1) - 127.5) / 255 * box.Width() / said
				x, adv := value(res, false, row, j), value(res, true, row, j)
				if math.Abs(δ-(adv-x)) > box.Width()/said/255+0.006*ε {
					t.Errorf("box %v ε %g pixel %d: shown δ = %g, true %g", box, ε, j, δ, adv-x)
				}
				if got := box.Lo + at(0)/255*box.Width(); math.Abs(got-x) > box.Width()/255 {
					t.Errorf("box %v pixel %d: shown x = %g, true %g", box, j, got, x)
				}
				if got := box.Lo + at(2)/255*box.Width(); math.Abs(got-adv) > box.Width()/255 {
					t.Errorf("box %v pixel %d: shown x+δ = %g, true %g", box, j, got, adv)
				}
			}
			if lo > 2 || hi < 253 {
				t.Errorf("box %v ε %g: perturbations are shown as %d..%d, want 0..255", box, ε, lo, hi)
			}
		}
	}
}

func value(res *advlib.Result, adversarial bool, row, j int) float64 {
	from := res.Examples.X
	if adversarial {
		from = res.Adversarial
	}
	size := from.Shape().Size() / from.Shape().Dimensions[0]
	return float64(tensors.MustCopyFlatData[float32](from)[row*size+j])
}

func largestChange(res *advlib.Result, rows ...int) float64 {
	var d float64
	for _, row := range rows {
		for j := range res.Examples.X.Shape().Size() / res.Examples.Len() {
			d = max(d, math.Abs(value(res, true, row, j)-value(res, false, row, j)))
		}
	}
	return d
}

// The scale is what %.3g prints of it, and never shows a change beyond black or white.
func TestScaleFor(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 10000 {
		box := advlib.Box{Lo: -1, Hi: -1 + math.Exp2(20*r.Float64()-10)}
		d := box.Width() * math.Pow(10, -6*r.Float64())
		s := scaleFor(d, box)
		var printed float64
		fmt.Sscanf(fmt.Sprintf("%.3g", s), "%g", &printed)
		if math.Abs(printed-s) > 1e-12*s {
			t.Fatalf("scale %v is printed as %v", s, printed)
		}
		if full := box.Width() / 2; s*d > full*(1+1e-6) || s*d < full*0.99 {
			t.Fatalf("scale %v × %v = %v, want at most %v and near it", s, d, s*d, full)
		}
	}
	if s := scaleFor(0, advlib.UnitBox); s != 1 {
		t.Errorf("no perturbation: scale %v, want 1", s)
	}
}

func TestGridChooses(t *testing.T) {
	res := madeResult(t, 12, []int{4, 4}, advlib.UnitBox, 0.1)
	for _, test := range []struct {
		n    int
		want []int
	}{
		{2, []int{0, 4}},
		{5, []int{0, 4, 8, 1, 5}},
		{100, []int{0, 4, 8, 1, 5, 9, 2, 6, 10}}, // 3, 7 and 11 were left out
	} {
		if got := choose(res, test.n); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%d examples: %v, want %v", test.n, got, test.want)
		}
	}
}

func TestGridRefuses(t *testing.T) {
	good := func() *advlib.Result { return madeResult(t, 4, []int{8, 8, 1}, advlib.UnitBox, 0.1) }
	left := good()
	for i := range left.Attempted {
		left.Attempted[i], left.Success[i] = false, false
	}
	boxless := good()
	boxless.Box = advlib.Box{}
	for _, test := range []struct {
		name   string
		layout Layout
		res    *advlib.Result
		want   string
	}{
		{"nil", Layout{}, nil, "empty"},
		{"vector", Layout{}, madeResult(t, 4, []int{64}, advlib.UnitBox, 0.1), "Layout{Height: 8, Width: 8}"},
		{"vector that is no square", Layout{}, madeResult(t, 4, []int{60}, advlib.UnitBox, 0.1), "[h, w, 1] or [h, w, 3]"},
		{"wrong size", Layout{Height: 7, Width: 8}, good(), "64 values, not 7 × 8 gray pixels (56)"},
		{"half a size", Layout{Height: 8}, good(), "give both"},
		{"two channels", Layout{}, madeResult(t, 4, []int{8, 8, 2}, advlib.UnitBox, 0.1), "[8 8 2] are no images"},
		{"row out of range", Layout{Rows: []int{4}}, good(), "row 4 is not in 0..3"},
		{"negative", Layout{N: -1}, good(), "N -1"},
		{"no box", Layout{}, boxless, "box [0, 0] is empty"},
		{"nothing attempted", Layout{}, left, "attempted no example"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.layout.Grid(test.res); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
		})
	}
	if _, err := Grid(good(), 0); err == nil {
		t.Error("0 examples were drawn")
	}
}
