package dataset

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
)

// unpack unpacks an archive into a folder of the test's.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			write(t, filepath.Join(dir, filepath.Clean("/"+h.Name)), content)
		}
	}
}

// The pictures of the layout, brought to 32 × 32, are those that Pillow made of them.
func TestGTSRBIsReal(t *testing.T) {
	root := unpack(t, shared(t, "gtsrb-layout.tar.gz"))
	g, err := GTSRB{Path: root, Pictures: Pictures{Height: 32, Width: 32}}.Examples()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.Classes, []string{"speed limit 30", "keep right"}) && len(g.Classes) != 4 {
		t.Errorf("classes %q", g.Classes)
	}
	if g.Len() != 20 || len(g.Groups()) != 8 || len(g.Notes) != 0 {
		t.Errorf("%d pictures in %d tracks, notes %q", g.Len(), len(g.Groups()), g.Notes)
	}
	// By class, track and frame.
	want := map[string][]float64{}
	for _, part := range []string{"train", "test"} {
		arrays, err := Arrays(shared(t, "gtsrb-12-"+part+".npz"))
		if err != nil {
			t.Fatal(err)
		}
		x := tensors.MustCopyFlatData[uint8](arrays["x"])
		y, track, frame, class := int64s(t, arrays["y"]), int64s(t, arrays["track"]), int64s(t, arrays["frame"]), int64s(t, arrays["sign"])
		for i := range y {
			name := fmt.Sprintf("%05d/%05d_%05d", class[y[i]], track[i], frame[i])
			for _, v := range x[i*3072 : (i+1)*3072] {
				want[name] = append(want[name], float64(v))
			}
		}
	}
	files, err := picturesBelow(root)
	if err != nil {
		t.Fatal(err)
	}
	compared, worst := 0, 0.
	for i, path := range files {
		name := filepath.Base(filepath.Dir(path)) + "/" + strings.TrimSuffix(filepath.Base(path), ".ppm")
		if want[name] == nil {
			continue
		}
		compared++
		worst = max(worst, furthest(flat(g.Examples)[i*3072:(i+1)*3072], want[name], 255))
		if !strings.HasPrefix(name, g.Group[i]+"_") {
			t.Errorf("%s is in the group %s", name, g.Group[i])
		}
	}
	t.Logf("%d of %d pictures are in the file that Pillow made, the furthest value is %.3g of 255 off", compared, len(files), worst)
	if compared == 0 || worst > 1.01 {
		t.Errorf("%d pictures compared, a value is %g of 255 off", compared, worst)
	}
	train, test, err := g.Split(0.5, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range train.Groups() {
		if slices.Contains(test.Group, name) {
			t.Errorf("the track %s is in both parts", name)
		}
	}
}

func int64s(t *testing.T, v *tensors.Tensor) []int64 {
	t.Helper()
	var out []int64
	tensors.MustConstFlatData(v, func(flat []int64) { out = slices.Clone(flat) })
	return out
}

// table is a table of GTSRB with the given rows, and tiny pictures beside it.
func table(t *testing.T, folder string, rows ...string) string {
	t.Helper()
	text := "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
	for i, row := range rows {
		text += row + "\n"
		if name, _, ok := strings.Cut(row, ";"); ok && strings.HasSuffix(name, ".ppm") && name == filepath.Base(name) {
			write(t, filepath.Join(folder, name), append([]byte("P6 4 4 255\n"), slices.Repeat([]byte{byte(i), 100, 200}, 16)...))
		}
	}
	write(t, filepath.Join(folder, "GT-"+filepath.Base(folder)+".csv"), []byte(text))
	return folder
}

func TestGTSRB(t *testing.T) {
	root := t.TempDir()
	images := filepath.Join(root, "GTSRB", "Final_Training", "Images")
	for _, class := range []string{"00001", "00014"} {
		var rows []string
		for track := range 5 {
			for frame := range 3 {
				rows = append(rows, fmt.Sprintf("%05d_%05d.ppm;4;4;1;1;2;3;%d", track, frame, leading(class)))
			}
		}
		table(t, filepath.Join(images, class), rows...)
	}
	for _, path := range []string{root, filepath.Join(root, "GTSRB", "Final_Training"), images} {
		g, err := GTSRB{Path: path, Signs: []int{14, 1}}.Examples()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(g.Classes, []string{"stop", "speed limit 30"}) || g.Len() != 30 || g.Y[0] != 1 || len(g.Groups()) != 10 ||
			g.Group[0] != "00001/00000" {
			t.Errorf("%v %q %v", g, g.Classes, g.Group)
		}
	}
	g, err := GTSRB{Path: root, Crop: true}.Examples()
	if err != nil || !slices.Equal(g.Shape(), []int{3, 2, 3}) {
		t.Errorf("cropped: %v, %v", g, err)
	}
	again, _, err := g.Split(0.4, 7)
	if err != nil {
		t.Fatal(err)
	}
	train, test, err := g.Split(0.4, 7)
	if err != nil || !slices.Equal(train.Group, again.Group) || len(test.Groups()) != 4 || test.Len() != 12 || train.Len() != 18 {
		t.Errorf("%v and %v, %v", train.Group, test.Group, err)
	}
	for _, name := range test.Groups() {
		if slices.Contains(train.Group, name) {
			t.Errorf("the track %s is in both parts", name)
		}
	}
	if _, other, err := g.Split(0.4, 8); err != nil || slices.Equal(other.Group, test.Group) {
		t.Errorf("another seed gives the same split, %v", err)
	}
	for _, share := range []float64{0, 1, -1, math.NaN()} {
		if _, _, err := g.Split(share, 0); err == nil {
			t.Errorf("a share of %g splits", share)
		}
	}
	if one := g.Select([]int{0, 1, 2}); one.Len() == 3 {
		if _, _, err := one.Split(0.5, 0); err == nil || !strings.Contains(err.Error(), "speed limit 30 has one group only") {
			t.Errorf("one track: %v", err)
		}
	}
}

func leading(s string) (n int) {
	_, _ = fmt.Sscan(strings.TrimLeft(s, "0"), &n)
	return n
}

func TestGTSRBRefuses(t *testing.T) {
	for row, want := range map[string]string{
		"1_0.ppm;4;4;0;0;3;3;2":     "ClassId is 2, in the folder 00014",
		"1_0.ppm;4;4;0;0;3;3;43":    "ClassId is 43, not in 0..42",
		"1_0.ppm;4;4;0;0;4;3;14":    "is not within 4 × 4 pixels",
		"1_0.ppm;4;4;0;0;3;x;14":    `Roi.Y2 is "x"`,
		"1_0.ppm;4;4;0;0;3;3":       "wrong number of fields",
		"../1_0.ppm;4;4;0;0;3;3;14": "no name of a file",
		"none;4;4;0;0;3;3;14":       "no such file",
		"1_0.ppm;9;9;0;0;8;8;14":    "the part that is to be taken",
	} {
		root := t.TempDir()
		table(t, filepath.Join(root, "00014"), row)
		_, err := GTSRB{Path: root, Crop: true}.Examples()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), root) {
			t.Errorf("%s: error %v, want one that says %q", row, err, want)
		}
	}
	if _, err := (GTSRB{Path: t.TempDir()}).Examples(); err == nil || !strings.Contains(err.Error(), "GT-final_test.csv") {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := (GTSRB{Path: t.TempDir(), Signs: []int{43}}).Examples(); err == nil {
		t.Error("the sign 43 is read")
	}
	if _, err := (GTSRB{Path: "/none"}).Examples(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no folder: %v", err)
	}
	if len(signs) != 43 {
		t.Errorf("%d signs", len(signs))
	}
}

func FuzzSigns(f *testing.F) {
	f.Add("Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n1_0.ppm;4;4;0;0;3;3;14\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := parseSigns(strings.NewReader(text), "/data/00014")
		for _, s := range rows {
			if err == nil && (s.class != 14 || filepath.Dir(s.path) != "/data/00014" || s.roi.Empty()) {
				t.Errorf("read %+v", s)
			}
		}
	})
}

// Faces by person in the layout of the ORL set: the mean of each 2 × 2 pixels is what the halved set holds.
func TestORLIsReal(t *testing.T) {
	root := filepath.Join(unpack(t, shared(t, "orl-layout.tar.gz")), "orl_faces")
	e, err := Folder{Path: root}.Examples()
	if err != nil {
		t.Fatal(err)
	}
	if e.Len() != 20 || !slices.Equal(e.Shape(), []int{112, 92, 1}) || len(e.Classes) != 4 {
		t.Fatalf("%v, classes %q", e, e.Classes)
	}
	arrays, err := Arrays(shared(t, "orl-faces.npz"))
	if err != nil {
		t.Fatal(err)
	}
	half, y, shot := tensors.MustCopyFlatData[uint8](arrays["x"]), int64s(t, arrays["y"]), int64s(t, arrays["shot"])
	files, err := picturesBelow(root)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range files {
		var person, n int64
		if _, err := fmt.Sscanf(path[len(root):], "/s%d/%d.pgm", &person, &n); err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(y, func(v int64) bool { return v == person-1 })
		for shot[at] != n {
			at++
		}
		x := flat(e)[i*112*92 : (i+1)*112*92]
		for r := range 56 {
			for c := range 46 {
				mean := 255 * float64(x[2*r*92+2*c]+x[2*r*92+2*c+1]+x[(2*r+1)*92+2*c]+x[(2*r+1)*92+2*c+1]) / 4
				if d := math.Abs(mean - float64(half[at*56*46+r*46+c])); d > 0.76 { // it is rounded
					t.Fatalf("%s, pixel %d,%d: mean %g, the halved set has %d", path, r, c, mean, half[at*56*46+r*46+c])
				}
			}
		}
	}
	train, test, err := Shots(e, 3, 1)
	if err != nil || train.Len() != 12 || test.Len() != 8 {
		t.Errorf("%v, %v, %v", train, test, err)
	}
	if _, _, err := Shots(e, 5, 1); err == nil || !strings.Contains(err.Error(), "has 5 examples") {
		t.Errorf("no examples are left: %v", err)
	}
}
