package signs

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/show"
)

const side = 16

// linear is a classifier of two classes with logits 0 and w·x, and its weights.
func linear(t *testing.T) (*advlib.Classifier, []float64) {
	t.Helper()
	return above(t, 0)
}

// above is [linear] with w·x − threshold.
func above(t *testing.T, threshold float64) (*advlib.Classifier, []float64) {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	w, flat := make([]float64, side*side*3), make([]float32, side*side*3)
	for i := range w {
		flat[i] = float32(r.NormFloat64())
		w[i] = float64(flat[i])
	}
	return advlib.MustClassifier(advlib.Spec{
		Name: "linear", Input: []int{side, side, 3}, Box: advlib.UnitBox, Backend: b, Classes: []string{"stop", "go"},
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			weights := graph.Const(x.Graph(), flat)
			z := graph.ReduceSum(graph.Mul(graph.Reshape(x, -1, len(flat)), graph.InsertAxes(weights, 0)), 1)
			return graph.Stack([]*graph.Node{graph.ZerosLike(z), graph.AddScalar(z, -threshold)}, 1)
		},
	}), w
}

// grays are pictures of random grays of 0.3 to 0.5, which no light of these tests takes out of the box.
func grays(t *testing.T, n int) *dataset.Posed {
	t.Helper()
	r := rand.New(rand.NewPCG(9, 9))
	x := make([]float32, n*side*side*3)
	for i := range x {
		x[i] = 0.3 + 0.2*r.Float32()
	}
	e, err := advlib.NewExamples("grays", x, []int{side, side, 3}, make([]int32, n))
	if err != nil {
		t.Fatal(err)
	}
	return Framed(e, 0.8)
}

func dot(w []float64, x []float32) (sum float64) {
	for i, v := range x {
		sum += w[i] * float64(v)
	}
	return sum
}

// Of a linear classifier the best print is known: the mean logit over the views is linear in the texels, so that each
// is 0 or 1 by the sign of its slope, which pasting it alone tells. The search reaches 98 % of what there is to gain.
func TestCampaignReachesTheClosedForm(t *testing.T) {
	c, w := linear(t)
	mild := Viewpoints{Light: 1.05, Tint: 0.01, Haze: 0.01, Noise: 0.001}
	for name, stickers := range map[string][]Sticker{
		"patch":   Patch(Octagon, 0.1, -0.2),
		"strips":  Strips(Octagon, -0.5, 0.5),
		"ellipse": {{X: -0.2, Y: 0.3, Width: 0.6, Height: 0.4, Angle: 30, Round: true}},
	} {
		views, err := mild.Draw(grays(t, 4), 12, advlib.UnitBox, 1)
		if err != nil {
			t.Fatal(err)
		}
		a := Campaign{Outline: Octagon, Stickers: stickers, Longer: 5, Steps: 60, BatchSize: 12, Rough: true, Goal: advlib.Targeted(1)}
		p, _, err := a.Fit(t.Context(), c, views)
		if err != nil {
			t.Fatal(err)
		}
		mean := func(p *Print) (sum float64) {
			for k := range views.view {
				sum += dot(w, p.paste(views, k)) / float64(len(views.view))
			}
			return sum
		}
		gray := blank("gray", p.Outline, p.Stickers, p.Gamut, p.Goal, 3, 5)
		base := mean(gray)
		best := blank("best", p.Outline, p.Stickers, p.Gamut, p.Goal, 3, 5)
		for k := range best.Texels {
			for i := range best.Texels[k] {
				gray.Texels[k][i] = 0.6
				if mean(gray) > base {
					best.Texels[k][i] = 1
				} else {
					best.Texels[k][i] = 0
				}
				gray.Texels[k][i] = 0.5
			}
		}
		got, want := mean(p)-base, mean(best)-base
		if got < 0.98*want || got > want*(1+1e-6) {
			t.Errorf("%s: the search gains %g, the best print %g", name, got, want)
		}
	}
}

// Of a classifier that looks at the lower half alone, stickers are put there: on views of pictures that they were not
// made for, and the first of equal places.
func TestPlace(t *testing.T) {
	c := lowerHalf(t)
	for pictures, n := range map[int]int{6: 12, 1: 9} {
		views, err := Viewpoints{Yaw: 5, Pitch: 5, Light: 1.05, Haze: 0.01}.Draw(grays(t, pictures), n, advlib.UnitBox, 1)
		if err != nil {
			t.Fatal(err)
		}
		above, below := Patch(Octagon, 0, -0.6), Patch(Octagon, 0, 0.5)
		a := Campaign{Goal: advlib.Targeted(1), Longer: 4, Steps: 40}
		placed, rates, err := a.Place(t.Context(), c, views, above, below, Patch(Octagon, 0, 0.6))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(placed.Stickers, below) || rates[0].Count != 0 || rates[1].Count != n/3 || rates[1].Of != n/3 || placed.Steps != 40 {
			t.Errorf("%d pictures: chosen %v, rates %v", pictures, placed, rates)
		}
	}
	views, err := Viewpoints{}.Draw(grays(t, 2), 2, advlib.UnitBox, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := (Campaign{}).Place(t.Context(), c, views); err == nil || !strings.Contains(err.Error(), "give at least 3") {
		t.Errorf("two views: %v", err)
	}
	for _, o := range []Outline{Octagon, Disc, TriangleUp, TriangleDown, Diamond, Square} {
		strips, patches := StripPlaces(o), PatchPlaces(o)
		for _, s := range slices.Concat(strips, patches) {
			if err := checkStickers(o, s); err != nil {
				t.Errorf("%v: %v", o, err)
			}
		}
		if len(strips) == 0 || len(patches) == 0 {
			t.Errorf("%v: there are %d places for strips and %d for a patch", o, len(strips), len(patches))
		}
	}
}

// lowerHalf is a classifier with the logits 0 and what the lower half of a picture is brighter than 0.44 in the mean.
func lowerHalf(t *testing.T) *advlib.Classifier {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	return advlib.MustClassifier(advlib.Spec{
		Name: "lower half", Input: []int{side, side, 3}, Box: advlib.UnitBox, Backend: b,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			lower := graph.Slice(x, graph.AxisRange(), graph.AxisRange(side/2, side))
			z := graph.MulScalar(graph.AddScalar(graph.ReduceMean(lower, 1, 2, 3), -0.44), 100)
			return graph.Stack([]*graph.Node{graph.ZerosLike(z), z}, 1)
		},
	})
}

// A run accepts what a print makes of the views, within the threat's radius, and puts it nowhere else.
func TestPrintStaysOnTheSign(t *testing.T) {
	c, _ := linear(t)
	views, err := Viewpoints{}.Draw(grays(t, 3), 9, advlib.UnitBox, 3)
	if err != nil {
		t.Fatal(err)
	}
	p := blank("gray", Octagon, Patch(Octagon, 0, 0), Gamut{}, advlib.Goal{}, 3, 6).Random(1)
	r, err := advlib.Run(t.Context(), c, views.Examples, p.On(views))
	if err != nil {
		t.Fatal(err)
	}
	clean := tensors.MustCopyFlatData[float32](views.X)
	for k := range views.Len() {
		x := p.paste(views, k)
		if n := advlib.L0.Distance(x, clean[k*len(x):(k+1)*len(x)]); n > r.Threat.Radius || n < 3*11 {
			t.Errorf("view %d: %g values changed, at most %g are on the stickers", k, n, r.Threat.Radius)
		}
	}
	// 8 % of the octagon, which fills 0.8 of the side: 8 % of 0.8² · 3.31/4 · 16² pixels, 11, and what blur and a nearer
	// camera make of it.
	if r.Threat.Radius < 3*11 || r.Threat.Radius > 3*90 {
		t.Errorf("the radius is %g values", r.Threat.Radius)
	}
	some := views.part([]int{4, 7})
	again, err := advlib.Run(t.Context(), c, some.Examples, p.On(views))
	if err != nil || again.Success[0] != r.Success[4] || again.Success[1] != r.Success[7] {
		t.Errorf("a part of the views: %v, %v, of all %v", err, again.Success, r.Success)
	}
}

func TestStillViewIsThePicture(t *testing.T) {
	of := grays(t, 2)
	views, err := Viewpoints{Still: true}.Draw(of, 2, advlib.UnitBox, 1)
	if err != nil {
		t.Fatal(err)
	}
	want, got := tensors.MustCopyFlatData[float32](of.X), tensors.MustCopyFlatData[float32](views.X)
	for i, v := range want {
		if math.Abs(float64(v-got[i])) > 1e-6 {
			t.Fatalf("value %d is %g, of the picture %g", i, got[i], v)
		}
	}
	draw := func(seed uint64) string {
		w, err := Viewpoints{}.Draw(of, 6, advlib.UnitBox, seed)
		if err != nil {
			t.Fatal(err)
		}
		return w.Hash()
	}
	once, again, other := draw(4), draw(4), draw(5)
	if once != again || once == other {
		t.Error("the same seed draws other views, or another the same")
	}
}

func TestOutlines(t *testing.T) {
	for o, want := range map[Outline]float64{Octagon: 8 * (math.Sqrt2 - 1), Disc: math.Pi, TriangleUp: math.Sqrt(3),
		TriangleDown: math.Sqrt(3), Diamond: 2, Square: 4} {
		if got := o.Area(); math.Abs(got-want) > 0.006 {
			t.Errorf("the area of the %v is %g, want %g", o, got, want)
		}
		if err := checkStickers(o, Patch(o, 0, 0)); err != nil {
			t.Errorf("a patch in the middle of the %v: %v", o, err)
		}
		if share := Patch(o, 0, 0)[0].Area() / o.Area(); math.Abs(share-MostArea) > 1e-6 {
			t.Errorf("the patch covers %g of the %v", share, o)
		}
	}
}

func TestRefusals(t *testing.T) {
	c, _ := linear(t)
	views, err := Viewpoints{}.Draw(grays(t, 1), 2, advlib.UnitBox, 1)
	if err != nil {
		t.Fatal(err)
	}
	for want, a := range map[string]Campaign{
		"cover 10.9 % of the octagon": {Stickers: []Sticker{{Width: 0.6, Height: 0.6}}},
		"hangs over the edge":         {Stickers: Patch(Octagon, 0.8, 0.8)},
		"there are 3 stickers":        {Stickers: make([]Sticker, 3)},
		"has no size":                 {Stickers: []Sticker{{Width: 0.1}}},
		"outline 9 is not one of":     {Outline: 9, Stickers: []Sticker{{Width: 0.1, Height: 0.1}}},
		"Rough and Smooth":            {Rough: true, Smooth: 1},
		"Smooth = -1":                 {Smooth: -1},
		"BatchSize = 1000":            {BatchSize: 1000},
		"Black = 0.5 to White = 0.4":  {Gamut: Gamut{Black: 0.5, White: 0.4}},
	} {
		if _, _, err := a.Fit(t.Context(), c, views); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v does not say %q", a, err, want)
		}
	}
	for want, v := range map[string]Viewpoints{"Yaw = 80 is not in": {Yaw: 80}, "contradict each other": {Still: true, Blur: 1},
		"Light = 0.5": {Light: 0.5}} {
		if _, err := v.Draw(grays(t, 1), 1, advlib.UnitBox, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v does not say %q", v, err, want)
		}
	}
	flat, err := advlib.NewExamples("table", make([]float32, 4), []int{4}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Viewpoints{}).Draw(Framed(flat, 1), 1, advlib.UnitBox, 1); err == nil || !strings.Contains(err.Error(), "shape [4]") {
		t.Errorf("a table: %v", err)
	}
	if _, err := blank("", Octagon, Patch(Octagon, 0, 0), Gamut{}, advlib.Goal{}, 3, 6).Sheets(-1); err == nil {
		t.Error("a sign of −1 mm is printed")
	}
}

// What is printed is read back from each file in its size, within 1 %, and in its colours, and works as it did.
func TestPrintReadsBack(t *testing.T) {
	c, w := linear(t)
	views, err := Viewpoints{}.Draw(grays(t, 3), 40, advlib.UnitBox, 1)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := Viewpoints{}.Draw(grays(t, 3), 200, advlib.UnitBox, 2)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := Campaign{Stickers: Strips(Octagon, -0.5, 0.5), Goal: advlib.Targeted(1), Steps: 40, Longer: 8}.Fit(t.Context(), c, views)
	if err != nil {
		t.Fatal(err)
	}
	mean := func(p *Print) (sum float64) {
		for k := range fresh.view {
			sum += dot(w, p.paste(fresh, k)) / 200
		}
		return sum
	}
	without := mean(blank("", p.Outline, p.Stickers, p.Gamut, p.Goal, 3, 8))
	gain := mean(p) - without
	// Behind a threshold half way between gray stickers and these, they work from most viewpoints, and gray ones from few.
	c, _ = above(t, without+gain/2)
	works := func(p *Print) float64 {
		return advlib.MustRun(t.Context(), c, fresh.Examples, p.On(fresh)).SuccessRate().Value()
	}
	was := works(p)
	for from, back := range readBack(t, p) {
		for k := range p.Texels {
			for i, v := range p.Texels[k] {
				if d := math.Abs(float64(v - back.Texels[k][i])); d > 0.03 {
					t.Fatalf("%s, sticker %d: texel %d is read back as %g, not %g", from, k, i, back.Texels[k][i], v)
				}
			}
		}
		if got := mean(p) - mean(back); math.Abs(got) > 0.02*gain {
			t.Errorf("%s: what is read back gains %g less of %g", from, got, gain)
		}
		is, random := works(back), works(back.Random(1))
		t.Logf("%s: read back it works on %.1f %% of %d fresh viewpoints, as it was made on %.1f %%, random colours on %.1f %%", from, 100*is,
			fresh.Len(), 100*was, 100*random)
		if math.Abs(was-is) > 0.02 || is < 0.6 || random > is/2 {
			t.Errorf("%s: on fresh views it works on %g, read back on %g, random colours on %g", from, was, is, random)
		}
	}
}

// readBack prints stickers for a sign of 900 mm into files, and returns the print as it is read back from each kind of
// them, whose sizes it checks: from PNG, and from PDF where pdftoppm is installed.
func readBack(t *testing.T, p *Print) map[string]*Print {
	t.Helper()
	sheets, err := p.Sheets(900)
	if err != nil {
		t.Fatal(err)
	}
	images, folder := map[string][]image.Image{}, t.TempDir()
	for k, s := range sheets {
		picture, err := show.Printed(s.Image, "a sticker", s.Width, 100)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, strconv.Itoa(k))
		for _, ending := range []string{".png", ".pdf"} {
			if err := show.Save(path+ending, picture); err != nil {
				t.Fatal(err)
			}
		}
		img, width, height := readPNG(t, path+".png")
		within(t, "PNG's pHYs", width, height, s)
		images["PNG"] = append(images["PNG"], img)
		width, height = mediaBox(t, path+".pdf")
		within(t, "PDF's page", width, height, s)
		if img := poppler(t, path+".pdf", s); img != nil {
			images["PDF"] = append(images["PDF"], img)
		}
	}
	back := map[string]*Print{}
	for from, of := range images {
		if back[from], err = p.Scanned(of...); err != nil {
			t.Fatal(err)
		}
	}
	return back
}

func within(t *testing.T, what string, width, height float64, s Sheet) {
	t.Helper()
	off := max(math.Abs(width/s.Width-1), math.Abs(height/s.Height-1))
	t.Logf("%s is %.4g × %.4g mm, the sheet %.4g × %.4g: %.2f %% off", what, width, height, s.Width, s.Height, 100*off)
	if off > 0.01 {
		t.Errorf("%s is %g × %g mm, not %g × %g", what, width, height, s.Width, s.Height)
	}
}

// readPNG returns a picture and its size in millimetres.
func readPNG(t *testing.T, path string) (img image.Image, width, height float64) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = png.Decode(bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	_, density, ok := bytes.Cut(file, []byte("pHYs"))
	if !ok || len(density) < 9 || density[8] != 1 {
		t.Fatalf("%s says no density", path)
	}
	perMetre := float64(binary.BigEndian.Uint32(density))
	return img, float64(img.Bounds().Dx()) / perMetre * 1000, float64(img.Bounds().Dy()) / perMetre * 1000
}

// mediaBox returns the size of a PDF's page in millimetres.
func mediaBox(t *testing.T, path string) (width, height float64) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]`).FindSubmatch(file)
	if m == nil {
		t.Fatalf("%s has no MediaBox", path)
	}
	w, _ := strconv.ParseFloat(string(m[1]), 64)
	h, _ := strconv.ParseFloat(string(m[2]), 64)
	return w / 72 * 25.4, h / 72 * 25.4
}

// poppler renders a PDF at 100 dots an inch, where pdftoppm is installed.
func poppler(t *testing.T, path string, s Sheet) image.Image {
	t.Helper()
	program, err := exec.LookPath("pdftoppm")
	if err != nil {
		t.Logf("pdftoppm (Debian: poppler-utils) is not installed: the PDF's page is read, its picture is not")
		return nil
	}
	to := strings.TrimSuffix(path, ".pdf") + "-pdf"
	if out, err := exec.Command(program, "-r", "100", "-png", "-singlefile", path, to).CombinedOutput(); err != nil {
		t.Fatalf("pdftoppm: %v: %s", err, out)
	}
	f, err := os.Open(to + ".png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "what pdftoppm renders", float64(img.Bounds().Dx())/100*25.4, float64(img.Bounds().Dy())/100*25.4, s)
	return img
}
