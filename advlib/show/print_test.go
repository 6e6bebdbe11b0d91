package show

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math"
	"strings"
	"testing"

	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// A picture to print has its size in each form, its pixels repeated, and its transparency.
func TestPrinted(t *testing.T) {
	img := image.NewNRGBA(image.Rect(5, 5, 8, 7)) // 3 × 2 pixels
	img.SetNRGBA(5, 5, color.NRGBA{R: 255, A: 255})
	img.SetNRGBA(7, 6, color.NRGBA{B: 200, A: 255})
	p, err := Printed(img, "a patch", 76.2, 100) // 3 inches
	if err != nil {
		t.Fatal(err)
	}
	got, err := png.Decode(bytes.NewReader(p.PNG()))
	if err != nil {
		t.Fatal(err)
	}
	if b := got.Bounds(); b.Dx() != 300 || b.Dy() != 200 {
		t.Errorf("%v dots, want 300 × 200", b)
	}
	for _, c := range []struct {
		x, y int
		want color.NRGBA
	}{{0, 0, color.NRGBA{R: 255, A: 255}}, {99, 99, color.NRGBA{R: 255, A: 255}}, {100, 0, color.NRGBA{}},
		{299, 199, color.NRGBA{B: 200, A: 255}}} {
		if v := color.NRGBAModel.Convert(got.At(c.x, c.y)); v != c.want {
			t.Errorf("dot %d, %d is %v, want %v", c.x, c.y, v, c.want)
		}
	}
	_, density, ok := bytes.Cut(p.PNG(), []byte("pHYs"))
	if !ok || len(density) < 9 {
		t.Fatal("the PNG does not state its density")
	}
	if x, y, unit := binary.BigEndian.Uint32(density), binary.BigEndian.Uint32(density[4:]), density[8]; x != 3937 || y != 3937 || unit != 1 {
		t.Errorf("%d, %d dots a unit of kind %d, want 3937 a metre", x, y, unit)
	}
	for _, want := range []string{`width="76.2mm" height="50.8mm"`, "<title>a patch</title>",
		"76.2 × 50.8 mm, 3 × 2 pixels, 100 dots an inch", "image-rendering:pixelated"} {
		if !strings.Contains(p.SVG(), want) {
			t.Errorf("the SVG lacks %q:\n%s", want, p.SVG())
		}
	}
	wide, err := Printed(img, "a strip", 600, 100) // 2268 CSS pixels
	if err != nil {
		t.Fatal(err)
	}
	for of, want := range map[*Picture]string{&p: `width="289" height="193"`, &wide: `width="601" height="401"`} {
		shown, _ := bundle(*of)[protocol.MIMEImageSVG].(string)
		if !strings.HasPrefix(shown, `<svg xmlns="http://www.w3.org/2000/svg"`) || !strings.Contains(shown, `width="602"`) ||
			!strings.Contains(shown, want) || !strings.Contains(shown, of.caption+"</text>") {
			t.Errorf("in a notebook it is not the width of a page with an edge %s and its size: %s", want, shown)
		}
	}
	if w, h := p.Size(); math.Abs(w-288) > 1e-9 || math.Abs(h-192) > 1e-9 {
		t.Errorf("%g × %g CSS pixels, want 288 × 192", w, h)
	}
	if !strings.Contains(p.HTML(), `width="288"`) {
		t.Errorf("the HTML is not 288 pixels wide: %.200s", p.HTML())
	}
}

func TestPrintedRefuses(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 100, 100))
	for want, c := range map[string]struct {
		img   image.Image
		width float64
		dpi   int
	}{
		"the image is empty":                       {image.NewGray(image.Rectangle{}), 10, 300},
		"less than a dot for each of 100 × 100":    {img, 1, 300},
		"a width of -5 mm at 300 dots an inch is ": {img, -5, 0},
		"a width of NaN mm":                        {img, math.NaN(), 0},
		"more than 20000":                          {img, 5000, 300},
	} {
		if _, err := Printed(c.img, "x", c.width, c.dpi); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("width %g, %d dots: error %v does not say %q", c.width, c.dpi, err, want)
		}
	}
}
