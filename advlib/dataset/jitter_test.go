package dataset

import (
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Each copy is the image moved by whole pixels and made brighter or darker, which a search finds; the originals stay.
func TestJitter(t *testing.T) {
	const h, w = 5, 4
	var x []float32
	for i := range 3 * h * w {
		x = append(x, float32(i%17+1)/40)
	}
	e, err := advlib.NewExamples("ramps", x, []int{h, w, 1}, []int32{0, 1, 0})
	if err != nil {
		t.Fatal(err)
	}
	j := Jitter{Shift: 1, Gain: 0.5}
	more, err := j.Draw(e, 20, 7)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := j.Draw(e, 20, 7)
	if more.Len() != 63 || more.Hash() != again.Hash() {
		t.Errorf("%d examples; the same seed draws the same: %v", more.Len(), more.Hash() == again.Hash())
	}
	all := tensors.MustCopyFlatData[float32](more.X)
	if !slices.Equal(all[:len(x)], x) {
		t.Error("the originals are others")
	}
	places, gains := map[[2]int]bool{}, 0
	for i := 3; i < more.Len(); i++ {
		if more.Y[i] != e.Y[i%3] {
			t.Fatalf("copy %d has the label %d", i, more.Y[i])
		}
		image, copied, found := x[i%3*h*w:(i%3+1)*h*w], all[i*h*w:(i+1)*h*w], false
		for down := -1; down <= 1; down++ {
			for right := -1; right <= 1; right++ {
				gain := copied[2*w+2] / image[(2-down)*w+2-right]
				same := gain >= 0.5 && gain <= 1.5
				for k := range image {
					from := min(max(k/w-down, 0), h-1)*w + min(max(k%w-right, 0), w-1)
					d := copied[k] - min(1, gain*image[from])
					same = same && d < 1e-6 && d > -1e-6
				}
				if same {
					places[[2]int{down, right}], found = true, true
					if gain > 1.05 || gain < 0.95 {
						gains++
					}
				}
			}
		}
		if !found {
			t.Fatalf("copy %d is no shift of its image: %v", i, copied)
		}
	}
	if len(places) < 6 || gains < 30 {
		t.Errorf("%d places, %d of 60 brighter or darker", len(places), gains)
	}
	for _, bad := range []Jitter{{Shift: 4}, {Shift: -1}, {Gain: 1.5}} {
		if _, err := bad.Draw(e, 1, 0); err == nil || !strings.Contains(err.Error(), "dataset: jitter: 1 copies of images [5 4 1]") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
