package show

import (
	"image/color"
	"strings"
	"testing"

	"advlab/advlib"
)

// Each example is where its place says, its pixels enlarged.
func TestGallery(t *testing.T) {
	x := make([]float32, 5*32*32)
	for i := range x {
		x[i] = float32(i/1024)/2 - 1 // example k is gray: −1 + k/2 in a box from −1 to 1
	}
	e, err := advlib.NewExamples("grays", x, []int{32, 32, 1}, make([]int32, 5))
	if err != nil {
		t.Fatal(err)
	}
	img, err := Gallery(e, 3, advlib.Box{Lo: -1, Hi: 1})
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != 3*64+2*4 || b.Dy() != 2*64+4 {
		t.Errorf("the picture has %v pixels", b)
	}
	for k, want := range []uint8{0, 64, 128, 191, 255} {
		at := color.GrayModel.Convert(img.At(k%3*68+63, k/3*68+1)).(color.Gray)
		if d := int(at.Y) - int(want); d < -1 || d > 1 {
			t.Errorf("example %d is shown as %d, want %d", k, at.Y, want)
		}
	}
	if at := color.GrayModel.Convert(img.At(65, 10)).(color.Gray); at.Y != 255 {
		t.Error("there is no gap between examples")
	}
	if _, err := Gallery(e, 0, advlib.UnitBox); err == nil || !strings.Contains(err.Error(), "0 columns") {
		t.Errorf("no columns: %v", err)
	}
}
