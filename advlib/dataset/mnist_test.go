package dataset

import (
	"bytes"
	"context"
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

// small returns a source of 3 training and 2 test images of 2×2 pixels, and its files.
func small() (source, map[string][]byte) {
	files := map[string][]byte{
		trainImages: idx([]byte{0, 255, 51, 102, 0, 0, 0, 0, 1, 1, 1, 1}, 3, 2, 2),
		trainLabels: idx([]byte{0, 1, 1}, 3),
		testImages:  idx(bytes.Repeat([]byte{255}, 8), 2, 2, 2),
		testLabels:  idx([]byte{1, 0}, 2),
	}
	s := source{shelf{name: "Small", folder: "small", direct: true, sums: map[string]string{}}, []string{"no", "yes"}}
	for name, file := range files {
		sum := sha256.Sum256(packed(file))
		s.sums[name+".gz"] = hex.EncodeToString(sum[:])
	}
	return s, files
}

func checkSmall(t *testing.T, s source) {
	t.Helper()
	train, test, err := s.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := tensors.MustCopyFlatData[float32](train.X)[:4]; !slices.Equal(got, []float32{0, 1, 0.2, 0.4}) {
		t.Errorf("the first image is %v", got)
	}
	if !slices.Equal(train.Y, []int32{0, 1, 1}) || !slices.Equal(test.Y, []int32{1, 0}) ||
		!slices.Equal(train.Shape(), []int{2, 2, 1}) || train.Name != "small/train" {
		t.Errorf("labels %v and %v, shape %v, name %s", train.Y, test.Y, train.Shape(), train.Name)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreFound(t *testing.T) {
	s, files := small()
	for _, folder := range []string{"", "small"} {
		t.Run(folder, func(t *testing.T) {
			t.Setenv("ADVLAB_CACHE", t.TempDir())
			t.Setenv(OfflineVariable, "1")
			data := t.TempDir()
			t.Setenv(Variable, data)
			for name, file := range files {
				if name == testImages {
					name, file = name+".gz", packed(file)
				}
				write(t, filepath.Join(data, folder, name), file)
			}
			checkSmall(t, s)
		})
	}
}

func TestMissingFilesAreNamed(t *testing.T) {
	s, files := small()
	cache, data := t.TempDir(), t.TempDir()
	t.Setenv("ADVLAB_CACHE", cache)
	t.Setenv(Variable, data)
	t.Setenv(OfflineVariable, "1")
	write(t, filepath.Join(data, trainLabels), files[trainLabels])
	_, _, err := s.load(t.Context())
	var missing *MissingError
	if !errors.As(err, &missing) || !slices.Equal(missing.Files, []string{trainImages, testImages, testLabels}) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"3 files were not found", trainImages + ", " + testImages, filepath.Join(data, "small"),
		filepath.Join(cache, "data", "small"), "ADVLAB_OFFLINE=1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error %q does not say %q", err, want)
		}
	}
	t.Setenv(Variable, "")
	if _, _, err := s.load(t.Context()); !strings.Contains(fmt.Sprint(err), "$ADVLAB_DATA") {
		t.Errorf("the error %q does not name the variable to set", err)
	}
}

func TestFashionIsNotMistakenForMNIST(t *testing.T) {
	_, files := small()
	data := t.TempDir()
	t.Setenv("ADVLAB_CACHE", t.TempDir())
	t.Setenv(Variable, data)
	t.Setenv(OfflineVariable, "1")
	for name, file := range files {
		write(t, filepath.Join(data, name), file)
	}
	var missing *MissingError
	if _, _, err := FashionMNIST(t.Context()); !errors.As(err, &missing) {
		t.Errorf("MNIST's files are taken for Fashion-MNIST's: %v", err)
	}
	if _, _, err := MNISTSmall(t.Context()); err == nil || !strings.Contains(err.Error(), "holds 2 images, not 10000") {
		t.Errorf("error %v", err)
	}
}

func TestDownload(t *testing.T) {
	s, files := small()
	wrong := ""
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		name := strings.TrimSuffix(filepath.Base(r.URL.Path), ".gz")
		if name == wrong {
			_, _ = w.Write([]byte("a page of a captive portal"))
			return
		}
		_, _ = w.Write(packed(files[name]))
	}))
	defer server.Close()
	s.urls = []string{server.URL + "/"}
	cache := t.TempDir()
	t.Setenv("ADVLAB_CACHE", cache)
	t.Setenv(Variable, "")
	t.Setenv(OfflineVariable, "")

	wrong = testLabels
	_, _, err := s.load(t.Context())
	var missing *MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "its sha256 is") {
		t.Errorf("a file with a wrong sum: error %v", err)
	}
	if _, err := os.Stat(filepath.Join(cache, "data", "small", testLabels+".gz")); err == nil {
		t.Error("a file with a wrong sum is kept")
	}
	wrong = ""
	checkSmall(t, s)
	before := requests
	checkSmall(t, s)
	if requests != before {
		t.Errorf("%d requests for files that are in the cache", requests-before)
	}

	t.Setenv("ADVLAB_CACHE", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
	server.Close()
	if _, _, err := s.load(t.Context()); !errors.As(err, &missing) || !strings.Contains(err.Error(), "downloading failed") {
		t.Errorf("no server: error %v", err)
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	for what, change := range map[string]func(map[string][]byte){
		"other numbers of images and labels": func(f map[string][]byte) { f[trainLabels] = idx([]byte{0, 1}, 2) },
		"labels for images":                  func(f map[string][]byte) { f[trainImages] = f[trainLabels] },
		"a label out of range":               func(f map[string][]byte) { f[testLabels] = idx([]byte{2, 0}, 2) },
		"a damaged file":                     func(f map[string][]byte) { f[testImages] = []byte("<html>") },
	} {
		s, files := small()
		change(files)
		data := t.TempDir()
		t.Setenv(Variable, data)
		t.Setenv("ADVLAB_CACHE", t.TempDir())
		for name, file := range files {
			write(t, filepath.Join(data, name), file)
		}
		if _, _, err := s.load(t.Context()); err == nil || !strings.Contains(err.Error(), data) {
			t.Errorf("%s: error %v, want one that names the file", what, err)
		}
	}
}

func TestMNISTSmall(t *testing.T) {
	train, test, err := MNISTSmall(offline(t))
	var missing *MissingError
	if errors.As(err, &missing) {
		t.Skipf("needs MNIST's test files: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 8000 || test.Len() != 2000 || test.Index[0] != 8000 {
		t.Errorf("%d and %d examples, the test begins at %d", train.Len(), test.Len(), test.Index[0])
	}
	// The first labels of t10k-labels, as everybody sees them who opens MNIST.
	if want := []int32{7, 2, 1, 0, 4, 1, 4, 9, 5, 9}; !slices.Equal(train.Y[:10], want) {
		t.Errorf("the first labels are %v, want %v", train.Y[:10], want)
	}
}

// offline forbids downloads in a test that reads the machine's own files.
func offline(t *testing.T) context.Context {
	t.Setenv(OfflineVariable, "1")
	return t.Context()
}
