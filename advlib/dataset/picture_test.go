package dataset

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// pillow is what testdata/pictures.py wrote.
type pillow struct {
	Pictures map[string]struct {
		Shape   []int
		Values  []float64
		Largest float64
	}
	Large map[string][]float64
	Luma  []float64
}

func readPillow(t *testing.T) pillow {
	t.Helper()
	text, err := os.ReadFile("testdata/pictures.json")
	if err != nil {
		t.Fatal(err)
	}
	var p pillow
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func flat(e *advlib.Examples) []float32 { return tensors.MustCopyFlatData[float32](e.X) }

// one reads a single picture.
func one(t *testing.T, o Pictures, path string) picture {
	t.Helper()
	p, err := o.picture(entry{path: path})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func furthest(got []float32, want []float64, largest float64) float64 {
	worst := math.Abs(float64(len(got) - len(want)))
	for i := range min(len(got), len(want)) {
		worst = max(worst, math.Abs(float64(got[i])*largest-want[i]))
	}
	return worst
}

// Every format, depth and orientation gives the pixels that Pillow gives.
func TestPicturesAreThoseOfPillow(t *testing.T) {
	for name, want := range readPillow(t).Pictures {
		p := one(t, Pictures{}, filepath.Join("testdata/pictures", name))
		if p.height != want.Shape[0] || p.width != want.Shape[1] || p.gray != (len(want.Shape) == 2) {
			t.Errorf("%s: %d × %d, gray %v; want the shape %v", name, p.height, p.width, p.gray, want.Shape)
		}
		within := 0.005 // of the largest value: all but JPEG are exact
		if name == "turned.jpg" {
			within = 2.5 // decoders of JPEG may round otherwise
		}
		if d := furthest(p.values, want.Values, want.Largest); d > within {
			t.Errorf("%s: a value is %g of %g off", name, d, want.Largest)
		}
	}
}

// Pillow's BILINEAR rounds to whole numbers after each direction, so that it is up to one off itself.
func TestSizesAreThoseOfPillow(t *testing.T) {
	p := readPillow(t)
	for size, want := range p.Large {
		var o Pictures
		var err error
		if o.Height, o.Width, err = parseSize(size); err != nil {
			t.Fatal(err)
		}
		if d := furthest(one(t, o, "testdata/pictures/large.png").values, want, 255); d > 1.01 {
			t.Errorf("%s: a value is %.3g of 255 off", size, d)
		}
	}
	gray := one(t, Pictures{}, "testdata/pictures/large.png").appendTo(nil, 1)
	if d := furthest(gray, p.Luma, 255); d > 0.51 { // Pillow rounds
		t.Errorf("luma is %.3g of 255 off", d)
	}
}

func parseSize(s string) (height, width int, err error) {
	h, w, _ := strings.Cut(s, "x")
	if err = json.Unmarshal([]byte(h), &height); err == nil {
		err = json.Unmarshal([]byte(w), &width)
	}
	return height, width, err
}

// put encodes a picture into a file of a folder.
func put(t *testing.T, path string, img image.Image) {
	t.Helper()
	var b bytes.Buffer
	var err error
	if strings.HasSuffix(path, ".jpg") {
		err = jpeg.Encode(&b, img, nil)
	} else {
		err = png.Encode(&b, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, b.Bytes())
}

// plain is a picture of one colour.
func plain(c color.Color, width, height int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		img.Set(i%width, i/width, c)
	}
	return img
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	red, blue := color.NRGBA{255, 0, 0, 255}, color.NRGBA{0, 0, 255, 255}
	gray := image.NewGray(image.Rect(0, 0, 2, 2))
	gray.Pix = []uint8{0, 51, 102, 255}
	put(t, filepath.Join(dir, "café", "10.png"), plain(red, 2, 2))
	put(t, filepath.Join(dir, "café", "9.png"), plain(blue, 2, 2))
	put(t, filepath.Join(dir, "猫", "deep", "眠る猫.PNG"), gray)
	put(t, filepath.Join(dir, "猫", ".hidden.png"), gray)
	write(t, filepath.Join(dir, "猫", "README.txt"), []byte("no picture"))
	put(t, filepath.Join(dir, "loose.png"), gray)

	e, err := Folder{Path: dir}.Examples()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(e.Classes, []string{"café", "猫"}) || !slices.Equal(e.Y, []int32{0, 0, 1}) || !slices.Equal(e.Shape(), []int{2, 2, 3}) {
		t.Errorf("classes %q, labels %v, shape %v", e.Classes, e.Y, e.Shape())
	}
	x := flat(e)
	if !slices.Equal(x[:3], []float32{0, 0, 1}) || !slices.Equal(x[12:15], []float32{1, 0, 0}) ||
		!slices.Equal(x[27:30], []float32{0.2, 0.2, 0.2}) {
		t.Errorf("9.png comes before 10.png, and gray has three channels: %v", x)
	}
	notes := strings.Join(e.Notes, "\n")
	for _, want := range []string{"1 pictures lie beside", "1 of 3 pictures are gray"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes %q do not say %q", notes, want)
		}
	}
	e, err = Folder{Path: dir, Classes: []string{"猫"}}.Examples()
	if err != nil || !slices.Equal(e.Shape(), []int{2, 2, 1}) || !slices.Equal(flat(e), []float32{0, 0.2, 0.4, 1}) {
		t.Errorf("gray alone: %v, %v", e, err)
	}
	if e, err = (Folder{Path: dir, AtLeast: 2}).Examples(); err != nil || e.Len() != 2 || !strings.Contains(e.Notes[1], "1 of 2 classes") {
		t.Errorf("classes of at least 2: %v, %v", e, err)
	}
}

// A class that is called by a number has its place by that, and a note says what torchvision would do.
func TestFolderOfNumbers(t *testing.T) {
	dir := t.TempDir()
	for _, class := range []string{"0", "1", "2", "10"} {
		put(t, filepath.Join(dir, class, "a.png"), plain(color.White, 1, 1))
	}
	e, err := Folder{Path: dir}.Examples()
	if err != nil || !slices.Equal(e.Classes, []string{"0", "1", "2", "10"}) ||
		!strings.Contains(strings.Join(e.Notes, ""), "ImageFolder") {
		t.Errorf("%v, %v", e, err)
	}
	e, err = Folder{Path: dir, Classes: []string{"0", "1", "10", "2"}}.Examples()
	if err != nil || !slices.Equal(e.Classes, []string{"0", "1", "10", "2"}) || len(e.Notes) != 0 {
		t.Errorf("as they are given: %v, %v", e, err)
	}
}

// One broken file among good ones is an error that names it, or is counted and named.
func TestBrokenPictures(t *testing.T) {
	var whole bytes.Buffer
	if err := png.Encode(&whole, plain(color.White, 40, 40)); err != nil {
		t.Fatal(err)
	}
	huge := []byte("P6 100000 100000 255\n")
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"truncated.png":   {whole.Bytes()[:whole.Len()/2], "not enough pixel data"},
		"header.png":      {whole.Bytes()[:20], "ends too early"},
		"empty.png":       {nil, "it is empty"},
		"wrong.png":       {[]byte("<html>a page of a captive portal"), "is no picture"},
		"flipped.png":     {append(slices.Clone(whole.Bytes()[:40]), bytes.Repeat([]byte{7}, 60)...), ""},
		"truncated.jpg":   {[]byte{0xff, 0xd8, 0xff, 0xe0, 0, 16}, ""},
		"truncated.ppm":   {[]byte("P6 2 2 255\n\x01\x02\x03"), "row 0 of 2: it ends too early"},
		"huge.ppm":        {huge, "pixels"},
		"largest.pgm":     {[]byte("P5 1 1 70000\n\x01\x01"), "largest value is 70000"},
		"above.pgm":       {[]byte("P5 1 1 100\n\x65"), "the value 101, above its largest, 100"},
		"negative.pgm":    {[]byte("P5 -1 1 255\n\x01"), `the byte '-'`},
		"猫 truncated.png": {whole.Bytes()[:30], ""},
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "class", "good.png"), plain(color.White, 40, 40))
		write(t, filepath.Join(dir, "class", name), c.content)
		_, err := Folder{Path: dir}.Examples()
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "class", name)) || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), "SkipBroken") {
			t.Errorf("%s: error %v, want one that names the file and says %q", name, err, c.want)
		}
		e, err := Folder{Path: dir, Pictures: Pictures{SkipBroken: true}}.Examples()
		if err != nil || e.Len() != 1 || !strings.Contains(strings.Join(e.Notes, ""), "1 of 2 files cannot be read and are left out: ") ||
			!strings.Contains(strings.Join(e.Notes, ""), name) {
			t.Errorf("%s skipped: %v, %v", name, e, err)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "class", "bad.png"), nil)
	skipping := Folder{Path: dir, Pictures: Pictures{SkipBroken: true}}
	if _, err := skipping.Examples(); err == nil || !strings.Contains(err.Error(), "bad.png") {
		t.Errorf("nothing but a broken file: error %v", err)
	}
}

func TestFolderRefuses(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a", "1.png"), plain(color.White, 2, 3))
	put(t, filepath.Join(dir, "b", "1.png"), plain(color.White, 3, 3))
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	two := []string{"a", "b"}
	for want, f := range map[string]Folder{
		"has 2 × 3 pixels and":                  {Path: dir, Classes: two},
		"the folder empty has no pictures":      {Path: dir},
		`it has no folder "c": it has a, b, em`: {Path: dir, Classes: []string{"c"}},
		`names "a" twice`:                       {Path: dir, Classes: []string{"a", "a"}},
		"it has 1 pictures and no folders":      {Path: filepath.Join(dir, "a")},
		"it has no folders":                     {Path: filepath.Join(dir, "empty")},
		"no such file":                          {Path: filepath.Join(dir, "none")},
		"give Height and Width":                 {Path: dir, Classes: two, Pictures: Pictures{Height: 3}},
		"2 channels are asked for":              {Path: dir, Classes: two, Pictures: Pictures{Height: 3, Width: 3, Channels: 2}},
		"none of its 2 classes has 9":           {Path: dir, Classes: two, AtLeast: 9},
		"from 0 up":                             {Path: dir, AtLeast: -1},
	} {
		if _, err := f.Examples(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), f.Path) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

// Transparent pixels are as on black, and it is said.
func TestTransparent(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a", "1.png"), plain(color.NRGBA{255, 255, 255, 51}, 1, 1))
	e, err := Folder{Path: dir}.Examples()
	if err != nil || !slices.Equal(flat(e), []float32{0.2, 0.2, 0.2}) || !strings.Contains(e.Notes[0], "transparent") {
		t.Errorf("%v, %v, %v", e, flat(e), err)
	}
}

func TestNetpbm(t *testing.T) {
	for text, want := range map[string][]float64{
		"P1\n# a comment\n3 1\n1 01":       {0, 1, 0},
		"P4 9 1\n\x80\x80":                 {0, 1, 1, 1, 1, 1, 1, 1, 0},
		"P2 2 1 # most\n10\n0 5":           {0, 0.5},
		"P5 2 1 3\n\x00\x03":               {0, 1},
		"P5\r\n1 1\r\n1000\n\x01\xf4":      {0.5},
		"P3 1 1 4 4 2 0":                   {1, 0.5, 0},
		"P6#x\n1 1 255\n\x33\x00\xff more": {0.2, 0, 1},
	} {
		path := filepath.Join(t.TempDir(), "a.pnm")
		write(t, path, []byte(text))
		p := one(t, Pictures{}, path)
		if d := furthest(p.values, want, 1); d > 1e-5 {
			t.Errorf("%q: %v, want %v", text, p.values, want)
		}
	}
}

func FuzzNetpbm(f *testing.F) {
	for _, s := range []string{"P1 1 1 1", "P2 1 1 1 1", "P3 1 1 1 1 1 1", "P4 9 1\n\x80\x80",
		"P5 1 1 1\n\x01", "P6 1 1 65535\n\x01\x02\x01\x02\x01\x02", "P6#\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		config, err := netpbmConfig(bytes.NewReader(file))
		img, imgErr := decodeNetpbm(bytes.NewReader(file))
		if imgErr == nil && (err != nil || img.Bounds() != image.Rect(0, 0, config.Width, config.Height)) {
			t.Errorf("the header says %v (%v), the picture has %v", config, err, img.Bounds())
		}
		if imgErr == nil { // every pixel is there
			b := img.Bounds()
			img.At(b.Max.X-1, b.Max.Y-1)
		}
	})
}

func FuzzOrientation(f *testing.F) {
	for _, name := range []string{"turned6.png", "turned.jpg"} {
		file, err := os.ReadFile("testdata/pictures/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Add([]byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x08\x00\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if o := orientation(file); o < 1 || o > 8 {
			t.Errorf("orientation %d", o)
		}
		if o := tiffOrientation(file); o < 1 || o > 8 {
			t.Errorf("orientation %d", o)
		}
	})
}
