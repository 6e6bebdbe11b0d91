package dataset

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
)

// records are images of CIFAR in binary, with the given bytes before each; pixel j of image i and channel k is
// i+j+100k.
func records(labels ...[]byte) []byte {
	var b []byte
	for i, l := range labels {
		b = append(b, l...)
		for k := range 3 {
			for j := range 1024 {
				b = append(b, byte(i+j+100*k))
			}
		}
	}
	return b
}

// pickled is the same as Python 2 pickled it, with its labels under a name.
func pickled(key string, labels ...byte) []byte {
	var pixels, list []byte
	for i, l := range labels {
		pixels = append(pixels, records([]byte{0}, []byte{0}, []byte{0})[i*3073+1:(i+1)*3073]...)
		list = append(list, 'K', l, 'a')
	}
	n := len(pixels)
	text := fmt.Sprintf("\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"+
		"(K\x01(K%cM\x00\x0ctcnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T", len(labels))
	text += string([]byte{byte(n), byte(n >> 8), byte(n >> 16), 0}) + string(pixels)
	text += "tbU" + string(rune(len(key))) + key + "]" + string(list) + "u."
	return []byte(text)
}

func TestCIFARBatch(t *testing.T) {
	dir := t.TempDir()
	binary, pickle := filepath.Join(dir, "test_batch.bin"), filepath.Join(dir, "test_batch")
	write(t, binary, records([]byte{3}, []byte{9}))
	write(t, pickle, pickled("labels", 3, 9))
	for _, path := range []string{binary, pickle} {
		e, err := CIFARBatch(path)
		if err != nil {
			t.Fatal(err)
		}
		x := flat(e)
		if !slices.Equal(e.Y, []int32{3, 9}) || !slices.Equal(e.Shape(), []int{32, 32, 3}) || e.Classes[3] != "cat" ||
			!slices.Equal(x[:4], []float32{0, 100. / 255, 200. / 255, 1. / 255}) || x[3072] != 1./255 {
			t.Errorf("%s: labels %v, the first values %v", path, e.Y, x[:4])
		}
	}
	fine := filepath.Join(dir, "test.bin")
	write(t, fine, records([]byte{4, 0}, []byte{1, 99}))
	e, err := CIFAR100Batch(fine)
	if err != nil || !slices.Equal(e.Y, []int32{0, 99}) || e.Classes[99] != "worm" || len(e.Classes) != 100 || len(superclasses) != 20 {
		t.Errorf("%v, %v", e, err)
	}
	write(t, pickle, pickled("fine_labels", 0, 99))
	if e, err = CIFAR100Batch(pickle); err != nil || !slices.Equal(e.Y, []int32{0, 99}) {
		t.Errorf("%v, %v", e, err)
	}
	for what, c := range map[string]struct {
		file []byte
		want string
	}{
		"truncated":        {records([]byte{3}, []byte{9})[:4000], "it ends after 927 of the 3073 bytes of image 1"},
		"empty":            {nil, "it is empty"},
		"a page":           {append([]byte("<html>"), make([]byte, 4000)...), "the label of image 0 is 60"},
		"of CIFAR-100":     {pickled("fine_labels", 1), "its labels are a <nil>"},
		"a label too high": {pickled("labels", 10), "the label of image 0 is 10"},
		"truncated pickle": {pickled("labels", 1, 2)[:900], "ends too early"},
		"a call":           {[]byte("\x80\x02cos\nsystem\n(S'true'\ntR."), `asks for "system" of the module "os"`},
		"no dict":          {[]byte("\x80\x02K\x01."), "a pickle of a int64"},
		"of other dtype":   {bytes.Replace(pickled("labels", 1), []byte("u1"), []byte("i1"), 1), "has the dtype i1"},
	} {
		path := filepath.Join(dir, "bad")
		write(t, path, c.file)
		if _, err := CIFARBatch(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file and says %q", what, err, c.want)
		}
	}
}

// archived is an archive of CIFAR-10 with the given files.
func archived(t *testing.T, files map[string][]byte) (archive bytes.Buffer) {
	t.Helper()
	w := tar.NewWriter(&archive)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: "cifar-10-batches-bin/" + name, Mode: 0o600, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(content) // into memory
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive
}

// Both forms are found, unpacked or in the archive, and an archive is downloaded whole or not at all.
func TestCIFARIsFound(t *testing.T) {
	files := map[string][]byte{"test_batch.bin": records([]byte{7}), "readme.html": []byte("by hand")}
	for i := range 5 {
		files[fmt.Sprintf("data_batch_%d.bin", i+1)] = records([]byte{byte(i)})
	}
	archive := archived(t, files)
	check := func(what string, c cifar) {
		t.Helper()
		train, test, err := c.load(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !slices.Equal(train.Y, []int32{0, 1, 2, 3, 4}) || !slices.Equal(test.Y, []int32{7}) || train.Name != "cifar10/train" {
			t.Errorf("%s: %v, %v", what, train.Y, test.Y)
		}
	}
	t.Setenv("ADVLAB_CACHE", t.TempDir())
	data := t.TempDir()
	t.Setenv(Variable, data)
	t.Setenv(OfflineVariable, "1")
	var missing *MissingError
	_, _, err := CIFAR10(t.Context())
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "put cifar-10-binary.tar.gz into one of") {
		t.Errorf("nowhere: %v", err)
	}
	for name, content := range files {
		write(t, filepath.Join(data, "cifar10", "cifar-10-batches-bin", name), content)
	}
	check("in a folder", cifar10)
	if err := os.Remove(filepath.Join(data, "cifar10", "cifar-10-batches-bin", "data_batch_3.bin")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := CIFAR10(t.Context()); err == nil || !strings.Contains(err.Error(), "data_batch_3.bin") {
		t.Errorf("a file is missing: %v", err)
	}
	data = t.TempDir()
	t.Setenv(Variable, data)
	write(t, filepath.Join(data, "cifar-10-binary.tar.gz"), packed(archive.Bytes()))
	check("in an archive", cifar10)
	write(t, filepath.Join(data, "cifar-10-binary.tar.gz"), packed(archive.Bytes())[:len(packed(archive.Bytes()))/2])
	_, _, err = CIFAR10(t.Context())
	if err == nil || !strings.Contains(err.Error(), data) || !strings.Contains(err.Error(), ".bin: it ends after") {
		t.Errorf("a truncated archive: %v", err)
	}
	var empty bytes.Buffer
	_ = tar.NewWriter(&empty).Close()
	write(t, filepath.Join(data, "cifar-10-binary.tar.gz"), packed(empty.Bytes()))
	if _, _, err := CIFAR10(t.Context()); err == nil || !strings.Contains(err.Error(), "it has no file data_batch_1.bin") {
		t.Errorf("another archive: %v", err)
	}

	body := packed(archive.Bytes())
	whole := sha256.Sum256(body)
	cut := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		if cut { // the connection breaks
			_, _ = w.Write(body[:len(body)/2])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	cache := t.TempDir()
	t.Setenv("ADVLAB_CACHE", cache)
	t.Setenv(Variable, "")
	t.Setenv(OfflineVariable, "")
	var drawn bytes.Buffer
	Progress = &drawn
	defer func() { Progress = nil }()
	c := cifar10
	c.urls, c.sums = []string{server.URL + "/"}, map[string]string{"cifar-10-binary.tar.gz": hex.EncodeToString(whole[:])}
	if _, _, err := c.load(t.Context()); !errors.As(err, &missing) || !strings.Contains(err.Error(), "downloading failed") {
		t.Errorf("a broken connection: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(cache, "data", "cifar10")); err != nil || len(left) != 0 {
		t.Errorf("%v is left of a file that is not whole, %v", left, err)
	}
	cut = false
	check("downloaded", c)
	if !strings.Contains(drawn.String(), "cifar-10-binary.tar.gz") {
		t.Errorf("the bar is %q", drawn.String())
	}
}

// The first thousand images of the real test batch, written in both forms, are read as they are.
func TestCIFARIsReal(t *testing.T) {
	arrays, err := Arrays(shared(t, "cifar10-test-1000.npz"))
	if err != nil {
		t.Fatal(err)
	}
	x, y := tensors.MustCopyFlatData[uint8](arrays["x"]), int64s(t, arrays["y"])
	var file []byte
	for i := range y {
		file = append(file, byte(y[i]))
		for k := range 3 {
			for j := range 1024 {
				file = append(file, x[i*3072+3*j+k])
			}
		}
	}
	path := filepath.Join(t.TempDir(), "test_batch.bin")
	write(t, path, file)
	e, err := CIFARBatch(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range flat(e) {
		if v != float32(x[i])/255 {
			t.Fatalf("value %d is %g, not %d/255", i, v, x[i])
		}
	}
	if e.Len() != 1000 || e.Y[0] != 3 || e.Y[1] != 8 { // a cat, then a ship, as everybody sees them who opens CIFAR-10
		t.Errorf("%d images, labels %v", e.Len(), e.Y[:2])
	}
}

func TestMedMNIST(t *testing.T) {
	u8 := func(v []uint8, dims ...int) *tensors.Tensor { return tensors.FromFlatDataAndDimensions(v, dims...) }
	set := func() named {
		return named{
			"train_images": u8([]uint8{0, 51, 255, 0}, 1, 2, 2), "train_labels": u8([]uint8{1}, 1, 1),
			"val_images": u8(make([]uint8, 4), 1, 2, 2), "val_labels": u8([]uint8{0}, 1, 1),
			"test_images": u8(make([]uint8, 8), 2, 2, 2), "test_labels": u8([]uint8{0, 1}, 2, 1),
		}
	}
	dir := t.TempDir()
	save := func(name string, arrays named) string {
		to := filepath.Join(dir, name)
		if err := os.Rename(file(t, arrays), to); err != nil {
			t.Fatal(err)
		}
		return to
	}
	train, val, test, err := MedMNIST(save("pneumoniamnist_64.npz", set()))
	if err != nil || train.Len() != 1 || val.Len() != 1 || test.Len() != 2 || !slices.Equal(train.Shape(), []int{2, 2, 1}) ||
		!slices.Equal(flat(train), []float32{0, 0.2, 1, 0}) || train.Classes[1] != "pneumonia" || test.Name != "pneumoniamnist/test" {
		t.Errorf("%v, %v, %v, %v", train, val, test, err)
	}
	for what, c := range map[string]struct {
		change func(named)
		want   string
	}{
		"no validation":    {func(a named) { delete(a, "val_images") }, "it has no array val_images"},
		"of other dtype":   {func(a named) { a["test_images"] = tensors.FromValue([][][]float32{{{1}}, {{1}}}) }, `has the dtype "<f4"`},
		"several findings": {func(a named) { a["test_labels"] = u8(make([]uint8, 28), 2, 14) }, "several findings"},
		"other labels":     {func(a named) { a["test_labels"] = u8([]uint8{0}, 1, 1) }, "not [2, 1]"},
		"flat":             {func(a named) { a["test_images"] = u8(make([]uint8, 8), 2, 4) }, "not [n, height, width]"},
		"a third class":    {func(a named) { a["test_labels"] = u8([]uint8{0, 2}, 2, 1) }, "it has the label 2, and breastmnist 2 classes"},
	} {
		a := set()
		c.change(a)
		path := save("breastmnist.npz", a)
		if _, _, _, err := MedMNIST(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file and says %q", what, err, c.want)
		}
	}
	for what, content := range map[string][]byte{"empty": nil, "truncated": []byte("PK\x03\x04"), "a page": []byte("<html>")} {
		path := filepath.Join(dir, "bad.npz")
		write(t, path, content)
		if _, _, _, err := MedMNIST(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

// The numbers of each class are those that MedMNIST publishes.
func TestMedMNISTIsReal(t *testing.T) {
	for name, want := range map[string][3][2]int{
		"breastmnist.npz":        {{147, 399}, {21, 57}, {42, 114}},
		"pneumoniamnist-cut.npz": {{388, 612}, {60, 140}, {234, 390}},
	} {
		path := shared(t, name)
		if name == "breastmnist.npz" {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != breast.sums[name] {
				t.Errorf("%s has the sha256 %x", name, sum)
			}
		}
		train, val, test, err := MedMNIST(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range []interface{ Len() int }{train, val, test} {
			if e.Len() != want[i][0]+want[i][1] {
				t.Errorf("%s: part %d has %d images", name, i, e.Len())
			}
		}
		var count [2]int
		for _, y := range test.Y {
			count[y]++
		}
		if count != want[2] || len(test.Classes) != 2 || !slices.Equal(test.Shape(), []int{28, 28, 1}) {
			t.Errorf("%s: %v of classes %q, shape %v", name, count, test.Classes, test.Shape())
		}
	}
}
