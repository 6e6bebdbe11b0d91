package transform_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// applied returns what a transform makes of images x [n, d...].
func applied(t *testing.T, of transform.Transform, x *tensors.Tensor, box advlib.Box) []float32 {
	t.Helper()
	return appliedOn(t, backend.Auto, of, x, box)
}

// appliedOn does so on the backend of a name.
func appliedOn(t *testing.T, name string, of transform.Transform, x *tensors.Tensor, box advlib.Box) []float32 {
	t.Helper()
	if err := of.Check(x.Shape().Dimensions[1:]); err != nil {
		t.Fatalf("%v: %v", of, err)
	}
	b, err := backend.OpenNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(3); err != nil {
		t.Fatal(err)
	}
	exec, err := model.NewExec(b, store, func(scope *model.Scope, x *Node) *Node {
		y := of.Graph(scope, x, box)
		if !y.Shape().Equal(x.Shape()) {
			t.Errorf("%v makes %v of %v", of, y.Shape(), x.Shape())
		}
		return y
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Exec(x)
	if err != nil {
		t.Fatalf("%v: %v", of, err)
	}
	return tensors.MustCopyFlatData[float32](out[0])
}

// TestFilters compares with SciPy, by testdata/filters.py.
func TestFilters(t *testing.T) {
	text, err := os.ReadFile("testdata/filters.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Images []struct {
			Shape   []int
			X       []float32
			Filters map[string][]float64
		}
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	filters := map[string]transform.Transform{
		"median 2": transform.Median{Size: 2}, "median 3": transform.Median{Size: 3}, "median 5": transform.Median{Size: 5},
		"gaussian 0.5": transform.Gaussian{Sigma: 0.5}, "gaussian 1": transform.Gaussian{Sigma: 1},
	}
	worst, compared := 0., 0
	for k, image := range all.Images {
		x := tensors.FromFlatDataAndDimensions(image.X, append([]int{1}, image.Shape...)...)
		for name, want := range image.Filters {
			for i, v := range applied(t, filters[name], x, advlib.UnitBox) {
				d := math.Abs(float64(v) - want[i])
				if worst, compared = max(worst, d), compared+1; d > 1e-6 {
					t.Fatalf("%s of image %d: value %d is %g, SciPy's is %g", name, k, i, v, want[i])
				}
			}
		}
	}
	t.Logf("%d values, none farther than %.2g from SciPy's", compared, worst)
	if compared < 10000 {
		t.Errorf("%d values compare too little", compared)
	}
}

func TestBitDepth(t *testing.T) {
	box := advlib.Box{Lo: -1, Hi: 3}
	var x []float32
	for i := range 64 {
		x = append(x, float32(-1+4*float64(i)/63.7))
	}
	for bits := 1; bits <= 8; bits++ {
		steps := math.Pow(2, float64(bits)) - 1
		got := applied(t, transform.BitDepth{Bits: bits}, tensors.FromFlatDataAndDimensions(x, 1, 64), box)
		for i, v := range got {
			want := math.Round((float64(x[i])+1)/4*steps)/steps*4 - 1
			if math.Abs(float64(v)-want) > 1e-6 {
				t.Errorf("%d bits of %g: %g, want %g", bits, x[i], v, want)
			}
		}
	}
}

// TestRandomTransforms: ranges and frequencies of what is drawn.
func TestRandomTransforms(t *testing.T) {
	const n, h, w = 2000, 7, 9
	x := make([]float32, 0, n*h*w)
	for range n {
		for i := range h {
			for j := range w {
				x = append(x, float32(1+i*w+j)/100)
			}
		}
	}
	images := tensors.FromFlatDataAndDimensions(x, n, h, w, 1)
	noise := applied(t, transform.Noise{Sigma: 0.05}, images, advlib.Box{Lo: -9, Hi: 9})
	sum, squares := 0., 0.
	for i, v := range noise {
		d := float64(v - x[i])
		sum, squares = sum+d, squares+d*d
	}
	mean, deviation := sum/float64(len(x)), math.Sqrt(squares/float64(len(x)))
	if math.Abs(mean) > 0.001 || math.Abs(deviation-0.05) > 0.001 {
		t.Errorf("noise of mean %g and deviation %g, want 0 and 0.05", mean, deviation)
	}

	crops := map[float32]int{} // by the first pixel
	cropped := applied(t, transform.Crop{Height: 5, Width: 6}, images, advlib.UnitBox)
	for k := range n {
		crops[cropped[k*h*w]]++
	}
	if len(crops) != 3*4 {
		t.Errorf("%d places of a window, want 12", len(crops))
	}
	for at, count := range crops {
		if count < n/12*7/10 || count > n/12*13/10 {
			t.Errorf("the window begins with %g %d times of %d, want about %d", at, count, n, n/12)
		}
	}

	padded := applied(t, transform.ResizePad{Least: 0.5}, images, advlib.UnitBox)
	heights := map[int]int{}
	for k := range n {
		rows := 0
		for i := range h {
			for j := range w {
				if padded[(k*h+i)*w+j] != 0 {
					rows++
					break
				}
			}
		}
		heights[rows]++
	}
	for rows := range heights {
		if rows < 4 || rows > 7 {
			t.Errorf("an image of height 7 is %d high, want 4 to 7: %v", rows, heights)
		}
	}
	if len(heights) != 4 {
		t.Errorf("heights %v, want 4 to 7", heights)
	}
	whole := applied(t, transform.ResizePad{Least: 1}, images, advlib.UnitBox)
	for i, v := range whole {
		if v != x[i] {
			t.Fatalf("an image that may not shrink changes at %d: %g, was %g", i, v, x[i])
		}
	}
}

func TestTransformsRefuse(t *testing.T) {
	for want, c := range map[string]struct {
		of    transform.Transform
		input []int
	}{
		"Bits = 0 is not in 1..16":         {transform.BitDepth{}, []int{4}},
		"Size = 1 is not in 2..7":          {transform.Median{Size: 1}, []int{8, 8, 1}},
		"[30] are no images":               {transform.Median{Size: 3}, []int{30}},
		"too large for images of 2 × 8":    {transform.Median{Size: 7}, []int{2, 8, 1}},
		"Sigma = 0 is not a finite number": {transform.Gaussian{}, []int{8, 8, 1}},
		"a window that reaches 12 pixels":  {transform.Gaussian{Sigma: 3}, []int{8, 8, 1}},
		"Sigma = -1 is not":                {transform.Noise{Sigma: -1}, []int{4}},
		"9×3 does not fit":                 {transform.Crop{Height: 9, Width: 3}, []int{8, 8, 1}},
		"Least = 2 is not in (0, 1]":       {transform.ResizePad{Least: 2}, []int{8, 8, 1}},
		"SigmaColor = 0 is not":            {transform.Bilateral{SigmaSpatial: 1}, []int{8, 8, 1}},
		"SigmaSpatial = NaN is not":        {transform.Bilateral{SigmaColor: 1, SigmaSpatial: math.NaN()}, []int{8, 8, 1}},
		"a window of 4×4 pixels":           {transform.Bilateral{SigmaColor: 1, SigmaSpatial: 1, Size: 4}, []int{8, 8, 1}},
		"a window of 25×25 pixels":         {transform.Bilateral{SigmaColor: 1, SigmaSpatial: 4}, []int{28, 28, 1}},
		"reaches 3 pixels is too large":    {transform.Bilateral{SigmaColor: 1, SigmaSpatial: 1}, []int{8, 2, 3}},
		"[9] are no images":                {transform.Bilateral{SigmaColor: 1, SigmaSpatial: 1}, []int{9}},
		"PatchSize = 4 is not odd":         {transform.NonLocalMeans{PatchSize: 4, PatchDistance: 2, H: 1}, []int{8, 8, 1}},
		"PatchDistance = 0 is not":         {transform.NonLocalMeans{PatchSize: 3, H: 1}, []int{8, 8, 1}},
		"H = 0 is not":                     {transform.NonLocalMeans{PatchSize: 3, PatchDistance: 2}, []int{8, 8, 1}},
		"Sigma = -2 is not":                {transform.NonLocalMeans{PatchSize: 3, PatchDistance: 2, H: 1, Sigma: -2}, []int{8, 8, 1}},
		"[10] are no images":               {transform.NonLocalMeans{PatchSize: 3, PatchDistance: 2, H: 1}, []int{10}},
		"reaches 4 pixels is too large":    {transform.NonLocalMeans{PatchSize: 7, PatchDistance: 2, H: 1}, []int{3, 8, 1}},
		"Weight = 0 is not":                {transform.Chambolle{}, []int{8, 8, 1}},
		"Eps = 1 is not in (0, 1)":         {transform.Chambolle{Weight: 1, Eps: 1}, []int{8, 8, 1}},
		"MaxIterations = -1":               {transform.Chambolle{Weight: 1, MaxIterations: -1}, []int{8, 8, 1}},
		"[11] are no images":               {transform.Chambolle{Weight: 1}, []int{11}},
		"Quality = 0 is not in 1..100":     {transform.JPEG{}, []int{8, 8, 3}},
		"Quality = 101 is not in 1..100":   {transform.JPEG{Quality: 101}, []int{8, 8, 3}},
		"Chroma = 7 is none of":            {transform.JPEG{Quality: 75, Chroma: 7}, []int{8, 8, 3}},
		"[12] are no images":               {transform.JPEG{Quality: 75}, []int{12}},
		"Drop = 1 is not in [0, 1)":        {transform.TotalVariance{Drop: 1, Weight: 1}, []int{8, 8, 3}},
		"Weight = -1 is not":               {transform.TotalVariance{Drop: 0.5, Weight: -1}, []int{8, 8, 3}},
		"Iterations = -1":                  {transform.TotalVariance{Drop: 0.5, Weight: 1, Iterations: -1}, []int{8, 8, 3}},
		"[13] are no images":               {transform.TotalVariance{Drop: 0.5, Weight: 1}, []int{13}},
		"Levels = 1 is not in 2..256":      {transform.Thermometer{Levels: 1}, []int{8, 8, 3}},
	} {
		if err := c.of.Check(c.input); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one with %q", c.of, err, want)
		}
	}
}

// TestNoTransforms: what is not there is refused, before a classifier and in training.
func TestNoTransforms(t *testing.T) {
	train, _ := dataset.Digits()
	for want, all := range map[string][]transform.Transform{
		"no transforms": nil, "transform 2 of 2 is nil": {transform.Noise{Sigma: 1}, nil},
	} {
		if _, err := transform.Fit(t.Context(), zoo.MLP(4), train, all...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("training: error %v, want one with %q", err, want)
		}
	}
	if _, err := transform.Before(nil, transform.Noise{Sigma: 1}); err == nil || !strings.Contains(err.Error(), "no classifier") {
		t.Errorf("before nothing: error %v", err)
	}
	table, err := advlib.NewExamples("table", make([]float32, 40*7), []int{7}, append(make([]int32, 20), slices.Repeat([]int32{1}, 20)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (transform.Autoencoder{}).Fit(t.Context(), table); err == nil || !strings.Contains(err.Error(), "give Build") {
		t.Errorf("convolutions for a table: error %v", err)
	}
}

// thermometer is a code of levels channels: 1 where the value is above a level's threshold.
type thermometer int

func (t thermometer) String() string       { return fmt.Sprintf("code of %d levels", int(t)) }
func (t thermometer) Check(in []int) error { return nil }
func (t thermometer) Traits() transform.Traits {
	return transform.Traits{Flat: true}
}
func (t thermometer) Decoded(code []int) ([]int, error) {
	last := len(code) - 1
	if code[last]%int(t) != 0 {
		return nil, fmt.Errorf("the code %v is of no %d levels", code, int(t))
	}
	return append(slices.Clone(code[:last]), code[last]/int(t)), nil
}
func (t thermometer) ahead(x *Node) *Node { // x − k/levels for each level k
	k := DivScalar(Iota(x.Graph(), shapes.Make(x.DType(), 1, 1, 1, int(t)), 3), float64(t))
	return Sub(x, k)
}
func (t thermometer) Graph(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	return ConvertDType(GreaterThan(t.ahead(x), ScalarZero(x.Graph(), x.DType())), x.DType())
}
func (t thermometer) Backward(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	return ClipScalar(MulScalar(t.ahead(x), float64(t)), 0, 1)
}

// TestCodes: a model that takes a code stands behind the coder, and falls to the coder's own stand-in.
func TestCodes(t *testing.T) {
	train, test := dataset.Digits()
	test = test.First(40)
	const levels = 4
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	exec, err := model.NewExec(b, model.NewStore(), func(scope *model.Scope, x *Node) *Node {
		return thermometer(levels).Graph(scope, x, advlib.UnitBox)
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Exec(train.X)
	if err != nil {
		t.Fatal(err)
	}
	coded := *train
	coded.X = out[0]
	c := zoo.MLP(60).MustFit(t.Context(), &coded)
	d := transform.MustBefore(c, thermometer(levels))
	if in := d.Classifier.Input(); !slices.Equal(in, []int{8, 8, 1}) {
		t.Fatalf("the whole takes %v", in)
	}
	ball := advlib.Linf.Ball(0.2)
	res := advlib.MustRun(t.Context(), d.Classifier, test, d.Adaptive(ball))
	if rate := res.SuccessRate().Value(); rate < 0.9 {
		t.Errorf("the adaptive attack breaks %.2f", rate)
	}
	if d.Surrogate != nil {
		t.Errorf("%v is a surrogate of other inputs", d.Surrogate)
	}
	if _, err := transform.Before(c, thermometer(3)); err == nil {
		t.Error("a code of 4 levels is taken for one of 3")
	}
}
