package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
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

// loader is one that reads a folder or a file: what is written for it, in a place whose name is not ASCII, and how it
// is read. One of the files it is made of is then damaged.
type loader struct {
	write func(t *testing.T, folder string) (damaged string)
	read  func(folder string, skip bool) (*advlib.Examples, error)
	skips bool // it can leave out what is broken
	wrong string
}

func loaders() map[string]loader {
	ppm := func(level byte) []byte { return append([]byte("P6 4 4 255\n"), bytes.Repeat([]byte{level}, 48)...) }
	arrays := func() named {
		u8 := func(n int, dims ...int) *tensors.Tensor {
			return tensors.FromFlatDataAndDimensions(make([]uint8, n), dims...)
		}
		return named{"train_images": u8(4, 1, 2, 2), "train_labels": u8(1, 1, 1), "val_images": u8(4, 1, 2, 2), "val_labels": u8(1, 1, 1),
			"test_images": u8(4, 1, 2, 2), "test_labels": u8(1, 1, 1)}
	}
	return map[string]loader{
		"faces by person": {func(t *testing.T, folder string) string {
			for _, name := range []string{"Zoë/1.pgm", "Zoë/2.pgm", "李/1.pgm"} {
				write(t, filepath.Join(folder, name), append([]byte("P5 4 4 255\n"), make([]byte, 16)...))
			}
			return filepath.Join(folder, "Zoë/2.pgm")
		}, func(folder string, skip bool) (*advlib.Examples, error) {
			return Folder{Path: folder, Pictures: Pictures{SkipBroken: skip}}.Examples()
		}, true, "is no picture"},
		"GTSRB": {func(t *testing.T, folder string) string {
			table(t, filepath.Join(folder, "00014"), "1_0.ppm;4;4;0;0;3;3;14", "1_1.ppm;4;4;0;0;3;3;14")
			write(t, filepath.Join(folder, "00014", "1_1.ppm"), ppm(9))
			return filepath.Join(folder, "00014", "1_1.ppm")
		}, func(folder string, skip bool) (*advlib.Examples, error) {
			g, err := GTSRB{Path: folder, Pictures: Pictures{SkipBroken: skip}}.Examples()
			if err != nil {
				return nil, err
			}
			return g.Examples, nil
		}, true, "is no picture"},
		"GTSRB's table": {func(t *testing.T, folder string) string {
			table(t, filepath.Join(folder, "00014"), "1_0.ppm;4;4;0;0;3;3;14", "1_1.ppm;4;4;0;0;3;3;14")
			return filepath.Join(folder, "00014", "GT-00014.csv")
		}, func(folder string, _ bool) (*advlib.Examples, error) {
			_, err := GTSRB{Path: folder}.Examples()
			return nil, err
		}, false, "wrong number of fields"},
		"CIFAR in binary": {func(t *testing.T, folder string) string {
			write(t, filepath.Join(folder, "test_batch.bin"), records([]byte{3}, []byte{9}))
			return filepath.Join(folder, "test_batch.bin")
		}, func(folder string, _ bool) (*advlib.Examples, error) {
			return CIFARBatch(filepath.Join(folder, "test_batch.bin"))
		}, false,
			"the label of image 0 is 60"},
		"CIFAR's pickle": {func(t *testing.T, folder string) string {
			write(t, filepath.Join(folder, "test_batch"), pickled("labels", 3, 9))
			return filepath.Join(folder, "test_batch")
		}, func(folder string, _ bool) (*advlib.Examples, error) {
			return CIFARBatch(filepath.Join(folder, "test_batch"))
		}, false,
			"the label of image 0 is 60"},
		"MedMNIST": {func(t *testing.T, folder string) string {
			to := filepath.Join(folder, "breastmnist.npz")
			if err := os.Rename(file(t, arrays()), to); err != nil {
				t.Fatal(err)
			}
			return to
		}, func(folder string, _ bool) (*advlib.Examples, error) {
			_, _, test, err := MedMNIST(filepath.Join(folder, "breastmnist.npz"))
			return test, err
		}, false, "not a valid zip file"},
	}
}

// Of each loader, one file that is empty, cut anywhere, or another kind of file is an error that names it, or is left
// out, counted and named, where that is asked for. What is whole is read, whatever the folder is called.
func TestEveryLoaderNamesTheBrokenFile(t *testing.T) {
	for name, l := range loaders() {
		folder := filepath.Join(t.TempDir(), "données 数据")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		path := l.write(t, folder)
		if _, err := l.read(folder, false); err != nil {
			t.Errorf("%s: what is whole is not read: %v", name, err)
			continue
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damages := map[string][]byte{"empty": nil, "a page": append([]byte("<html>"), make([]byte, 4000)...)}
		for k := 1; k <= 7; k++ { // the last cut loses one byte
			damages[fmt.Sprintf("cut at %d/7", k)] = whole[:(len(whole)-1)*k/7]
		}
		for damage, content := range damages {
			write(t, path, content)
			_, err := l.read(folder, false)
			if name == "GTSRB's table" && damage == "cut at 7/7" && err == nil {
				continue // it has lost the end of its last line, and no number
			}
			if err == nil || !strings.Contains(err.Error(), path) || damage == "empty" && !strings.Contains(err.Error(), "empty") ||
				damage == "a page" && !strings.Contains(err.Error(), l.wrong) && name != "GTSRB's table" {
				t.Errorf("%s, %s: error %v, want one that names %s", name, damage, err, path)
			}
			if e, err := l.read(folder, true); l.skips && (err != nil || !strings.Contains(strings.Join(e.Notes, ""),
				fmt.Sprintf("1 of %d files cannot be read and are left out: %s", e.Len()+1, path))) {
				t.Errorf("%s, %s: skipped: %v, %v", name, damage, e, err)
			}
		}
	}
}

// One folder may hold all of it: gray beside colour, 16 bits beside 8, turned by Exif beside upright, any names.
func TestMixedPictures(t *testing.T) {
	dir := t.TempDir()
	deep := image.NewGray16(image.Rect(0, 0, 2, 1))
	deep.SetGray16(0, 0, color.Gray16{Y: 0x8001})
	deep.SetGray16(1, 0, color.Gray16{Y: 0xffff})
	put(t, filepath.Join(dir, "α", "1 deep.png"), deep)
	write(t, filepath.Join(dir, "α", "2 deep.ppm"), append([]byte("P6 2 1 65535\n"), 0, 1, 0x80, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0))
	put(t, filepath.Join(dir, "α", "3 colour.png"), plain(color.NRGBA{51, 102, 255, 255}, 2, 1))
	// A column of red above blue, which Exif says lies on its side: red is right (6).
	img := image.NewNRGBA(image.Rect(0, 0, 1, 2))
	img.Set(0, 0, color.NRGBA{255, 0, 0, 255})
	img.Set(0, 1, color.NRGBA{0, 0, 255, 255})
	write(t, filepath.Join(dir, "β", "4 turned.png"), withExif(t, img, 6))
	e, err := Folder{Path: dir}.Examples()
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{0x8001 / 65535., 0x8001 / 65535., 0x8001 / 65535., 1, 1, 1,
		1 / 65535., 0x8000 / 65535., 1, 0, 0, 0,
		0.2, 0.4, 1, 0.2, 0.4, 1,
		0, 0, 1, 1, 0, 0}
	got := flat(e)
	if !slices.Equal(e.Shape(), []int{1, 2, 3}) || len(got) != len(want) {
		t.Fatalf("shape %v, %d values", e.Shape(), len(got))
	}
	for i, v := range want {
		if math.Abs(float64(v-got[i])) > 1e-6 {
			t.Errorf("value %d is %g, want %g", i, got[i], v)
		}
	}
	if notes := strings.Join(e.Notes, "\n"); !strings.Contains(notes, "1 of 4 pictures are gray") {
		t.Errorf("the notes are %q", notes)
	}
}

// withExif is a PNG whose chunk eXIf says an orientation.
func withExif(t *testing.T, img image.Image, orientation byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	const head = 8 + 25 // the signature, and IHDR
	exif := append([]byte("eXIfMM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00"), orientation, 0, 0, 0, 0, 0, 0)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(exif)-4))
	chunk = append(chunk, exif...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(exif))
	return slices.Insert(b.Bytes(), head, chunk...)
}

func FuzzCIFAR(f *testing.F) {
	f.Add(records([]byte{3}), false)
	f.Add(records([]byte{3, 99}), true)
	f.Add(pickled("labels", 1, 2), false)
	f.Add(pickled("fine_labels", 1, 99), true)
	f.Fuzz(func(t *testing.T, file []byte, hundred bool) {
		c := cifar10
		if hundred {
			c = cifar100
		}
		var b cifarBatch
		if err := c.append(&b, bytes.NewReader(file)); err != nil {
			return
		}
		if len(b.labels) == 0 || len(b.pixels) != len(b.labels)*cifarImage || int(slices.Max(b.labels)) >= len(c.classes) {
			t.Errorf("%d labels and %d bytes of pixels are read", len(b.labels), len(b.pixels))
		}
		if _, err := c.examples("a batch", b); err != nil {
			t.Errorf("they are no examples: %v", err)
		}
	})
}

func FuzzPicture(f *testing.F) {
	files, err := filepath.Glob("testdata/pictures/*")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, path := range files {
		file, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(file) < 5000 {
			f.Add(file)
		}
	}
	path := filepath.Join(f.TempDir(), "a.png")
	f.Fuzz(func(t *testing.T, file []byte) {
		if config, _, err := image.DecodeConfig(bytes.NewReader(file)); err == nil && config.Width > 1<<20/max(config.Height, 1) {
			return // what is large takes its time
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Pictures{}.picture(entry{path: path})
		if err == nil && len(p.appendTo(nil, 3)) != p.height*p.width*3 {
			t.Errorf("%d × %d pixels have %d values", p.height, p.width, len(p.values))
		}
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("the error %v does not name the file", err)
		}
	})
}
