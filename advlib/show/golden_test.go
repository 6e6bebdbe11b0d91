package show

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"encoding/base64"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// stored returns a golden file, after writing it when the tests run with -update.
func stored(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func goldenText(t *testing.T, name, got string) {
	t.Helper()
	if diff := cmp.Diff(string(stored(t, name, []byte(got))), got); diff != "" {
		t.Errorf("%s (-golden +got; go test -update writes it anew):\n%s", name, diff)
	}
}

// goldenPicture compares a picture with its golden SVG and PNG: text exactly, pixels within 2 of 255 a channel.
func goldenPicture(t *testing.T, name string, p Picture) {
	t.Helper()
	want, got := string(stored(t, name+".svg", []byte(p.SVG()))), p.SVG()
	wantImages, gotImages := embedded(t, want), embedded(t, got)
	if diff := cmp.Diff(embeddedPNG.ReplaceAllString(want, "PNG"), embeddedPNG.ReplaceAllString(got, "PNG")); diff != "" {
		t.Errorf("%s.svg (-golden +got; go test -update writes it anew):\n%s", name, diff)
	}
	if len(wantImages) != len(gotImages) {
		t.Fatalf("%s.svg has %d images, want %d", name, len(gotImages), len(wantImages))
	}
	for i := range wantImages {
		sameImage(t, name+".svg", wantImages[i], gotImages[i])
	}
	sameImage(t, name+".png", decode(t, stored(t, name+".png", p.PNG())), decode(t, p.PNG()))
}

var embeddedPNG = regexp.MustCompile(`data:image/png;base64,([A-Za-z0-9+/=]+)`)

// embedded returns the images inside of an SVG.
func embedded(t *testing.T, svg string) []image.Image {
	t.Helper()
	var images []image.Image
	for _, m := range embeddedPNG.FindAllStringSubmatch(svg, -1) {
		data, err := base64.StdEncoding.DecodeString(m[1])
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, decode(t, data))
	}
	return images
}

func decode(t *testing.T, data []byte) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func sameImage(t *testing.T, name string, want, got image.Image) {
	t.Helper()
	if want.Bounds() != got.Bounds() {
		t.Errorf("%s is %v, want %v", name, got.Bounds(), want.Bounds())
		return
	}
	worst, where := 0., image.Point{}
	for y := want.Bounds().Min.Y; y < want.Bounds().Max.Y; y++ {
		for x := want.Bounds().Min.X; x < want.Bounds().Max.X; x++ {
			a, b := color.NRGBAModel.Convert(want.At(x, y)).(color.NRGBA), color.NRGBAModel.Convert(got.At(x, y)).(color.NRGBA)
			for _, d := range []float64{float64(a.R) - float64(b.R), float64(a.G) - float64(b.G), float64(a.B) - float64(b.B),
				float64(a.A) - float64(b.A)} {
				if math.Abs(d) > worst {
					worst, where = math.Abs(d), image.Pt(x, y)
				}
			}
		}
	}
	if worst > 2 {
		t.Errorf("%s differs by %g of 255 at %v (go test -update writes it anew)", name, worst, where)
	}
}

// noNetwork fails when a document would load anything from elsewhere, or run a script.
func noNetwork(t *testing.T, document string) {
	t.Helper()
	for _, namespace := range []string{`xmlns="http://www.w3.org/2000/svg"`, `xmlns:xlink="http://www.w3.org/1999/xlink"`} {
		document = strings.ReplaceAll(document, namespace, "")
	}
	for _, bad := range []string{"http:", "https:", "//", "<script", "@import", "url("} {
		if strings.Contains(embeddedPNG.ReplaceAllString(base64Data.ReplaceAllString(document, ""), ""), bad) {
			t.Errorf("the document contains %q", bad)
		}
	}
}

var base64Data = regexp.MustCompile(`base64,[A-Za-z0-9+/=]+`)
