package show

import (
	"image"
	"image/color"
	"strings"
	"testing"
)

func TestVerification(t *testing.T) {
	door := Verifier{Name: "door", Threshold: 0.7}
	strict := Verifier{Name: "stricter door", Threshold: 0.85}
	for i := range 200 {
		v := float64(i) / 200
		door.Impostor, strict.Impostor = append(door.Impostor, v*v), append(strict.Impostor, v)
		door.Genuine, strict.Genuine = append(door.Genuine, 1-v*v/2), append(strict.Genuine, 1-v/2)
	}
	p, err := Verification(door, strict)
	if err != nil {
		t.Fatal(err)
	}
	goldenPicture(t, "verification", p)
	goldenText(t, "verification.txt", p.String())
	if _, err := Verification(); err == nil {
		t.Error("no verifier is drawn")
	}
	_, err = Verification(Verifier{Name: "alone", Genuine: []float64{1}})
	if err == nil || !strings.Contains(err.Error(), "alone: 0 impostors and 1 genuine") {
		t.Errorf("a verifier without impostors: %v", err)
	}
}

// Pixels are enlarged, not blurred, and captions are in the text too.
func TestPanels(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 10, 8))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * 3)
	}
	colour := image.NewNRGBA(image.Rect(0, 0, 30, 20))
	for i := range 600 {
		colour.SetNRGBA(i%30, i/30, color.NRGBA{uint8(i % 30 * 8), 80, uint8(i / 30 * 12), 255})
	}
	p, err := Panels("Who came, and whom the door saw", 2, Panel{img, "who came", "a stranger"},
		Panel{colour, "with glasses", "person 7, 93 %"}, Panel{img, "whom the door saw", "person 7"})
	if err != nil {
		t.Fatal(err)
	}
	goldenPicture(t, "panels", p)
	goldenText(t, "panels.txt", p.String())
	if _, err := Panels("none", 2); err == nil {
		t.Error("a picture of nothing is drawn")
	}
	if _, err := Panels("empty", 1, Panel{Image: image.NewGray(image.Rectangle{})}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty image: %v", err)
	}
}
