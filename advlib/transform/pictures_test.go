package transform_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/transform"
)

// pictures are the images of testdata/filters.py with what others make of them.
type picture struct {
	Shape   []int
	Bytes   []int
	Filters map[string][]float64 // in units of 1/10000
	Files   map[string][]int     // bytes
}

func (p picture) tensor() *tensors.Tensor {
	x := make([]float32, len(p.Bytes))
	for i, v := range p.Bytes {
		x[i] = float32(v) / 255
	}
	return tensors.FromFlatDataAndDimensions(x, append([]int{1}, p.Shape...)...)
}

// backendOf returns where a picture is computed: on GoMLX's Go backend, which need not compile, and one shape on
// the default one.
func backendOf(k int) string {
	if k%10 == 5 {
		return backend.Auto
	}
	return "go"
}

func pictures(t *testing.T) []picture {
	t.Helper()
	text, err := os.ReadFile("testdata/filters.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Pictures []picture }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Pictures) < 20 {
		t.Fatalf("%d pictures compare too little", len(all.Pictures))
	}
	return all.Pictures
}

// TestDenoisers compares with scikit-image, by testdata/filters.py.
func TestDenoisers(t *testing.T) {
	of := map[string]transform.Transform{
		"bilateral 0.1 1 5": transform.Bilateral{SigmaColor: 0.1, SigmaSpatial: 1, Size: 5},
		"bilateral 0.3 0.8": transform.Bilateral{SigmaColor: 0.3, SigmaSpatial: 0.8},
		"nlm 3 4 0.1 0":     transform.NonLocalMeans{PatchSize: 3, PatchDistance: 4, H: 0.1},
		"nlm 5 6 0.2 0.05":  transform.NonLocalMeans{PatchSize: 5, PatchDistance: 6, H: 0.2, Sigma: 0.05},
		"chambolle 0.1":     transform.Chambolle{Weight: 0.1},
		"chambolle 0.3":     transform.Chambolle{Weight: 0.3, Eps: 1e-5, MaxIterations: 500},
	}
	worst, compared := map[string]float64{}, 0
	for k, p := range pictures(t) {
		for name, want := range p.Filters {
			for i, v := range appliedOn(t, backendOf(k), of[name], p.tensor(), advlib.UnitBox) {
				d := math.Abs(float64(v) - want[i]/10000)
				compared++
				if worst[name] = max(worst[name], d); d > 1e-3 {
					t.Errorf("%s of picture %d, %v: value %d is %g, scikit-image's is %g", name, k, p.Shape, i, v, want[i]/10000)
					break
				}
			}
		}
	}
	t.Logf("%d values, the farthest from scikit-image's: %v", compared, worst)
	if compared < 15000 {
		t.Errorf("%d values compare too little", compared)
	}
}

// TestJPEG compares with Pillow, by testdata/filters.py.
func TestJPEG(t *testing.T) {
	of := map[string]transform.JPEG{
		"jpeg 75 4:2:0": {Quality: 75}, "jpeg 90 4:2:2": {Quality: 90, Chroma: transform.Chroma422},
		"jpeg 40 4:4:4": {Quality: 40, Chroma: transform.Chroma444}, "jpeg 10 4:2:0": {Quality: 10},
	}
	for name, jpeg := range of {
		all, near, same := 0, 0, 0
		for k, p := range pictures(t) {
			was := all - near
			for i, v := range appliedOn(t, backendOf(k), jpeg, p.tensor(), advlib.UnitBox) {
				d := math.Abs(float64(v)*255 - float64(p.Files[name][i]))
				all++
				if d < 2.001 {
					near++
				}
				if d < 0.001 {
					same++
				}
			}
			if all-near > was {
				t.Logf("%v: %d values of picture %d, %v, are farther", jpeg, all-near-was, k, p.Shape)
			}
		}
		t.Logf("%v: %d of %d values within 2/255 of Pillow's, %d the same", jpeg, near, all, same)
		if all < 3000 || float64(near) < 0.99*float64(all) {
			t.Errorf("%v: %d of %d values within 2/255 of Pillow's", jpeg, near, all)
		}
	}
}
