package onnx_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/onnx"
)

// TestTorchExports reads what testdata/torch_exports.py has written to the folder ADVLAB_TORCH, and compares the
// classifiers' logits, for three inputs at once, with PyTorch's: at least 90 % must be right, none wrong, and each
// refusal must say by which operator or for which reason.
func TestTorchExports(t *testing.T) {
	folder := os.Getenv("ADVLAB_TORCH")
	if folder == "" {
		t.Skip("set ADVLAB_TORCH to the folder that testdata/torch_exports.py has written")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no exports (%v)", folder, err)
	}
	tally, refusals := map[string][3]int{}, map[string][]string{}
	var sum [3]int
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		module, way, _ := strings.Cut(name, ".")
		k := 0
		switch d, err := compareExport(path, filepath.Join(folder, module+".npz")); {
		case err != nil:
			k = 2
			_, why, _ := strings.Cut(err.Error(), ".onnx: ")
			if !strings.Contains(why, "the operator ") && !strings.Contains(why, "its ") {
				t.Errorf("%s: the refusal names nothing: %v", name, err)
			}
			refusals[module] = append(refusals[module], way+": "+why[:min(len(why), 220)])
		case !(d <= 1e-4):
			k = 1
			t.Errorf("%s: its logits differ by %g of the largest", name, d)
		}
		counts := tally[way]
		counts[k]++
		sum[k]++
		tally[way] = counts
	}
	for _, module := range slices.Sorted(maps.Keys(refusals)) {
		t.Logf("refused: %s\n\t%s", module, strings.Join(refusals[module], "\n\t"))
	}
	for _, way := range slices.Sorted(maps.Keys(tally)) {
		t.Logf("%-12s right %d, wrong %d, refused %d", way, tally[way][0], tally[way][1], tally[way][2])
	}
	t.Logf("of %d exports right %d, wrong %d, refused %d", len(files), sum[0], sum[1], sum[2])
	if sum[0]*10 < len(files)*9 {
		t.Errorf("only %d of %d exports are right", sum[0], len(files))
	}
}

// compareExport returns by how much the logits differ from PyTorch's, relative to the largest.
func compareExport(path, data string) (float64, error) {
	arrays, err := dataset.Arrays(data)
	if err != nil {
		return 0, err
	}
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		return 0, err
	}
	c, err := onnx.Load(path, onnx.Options{Box: advlib.UnitBox, Backend: b})
	if err != nil {
		return 0, err
	}
	logits, err := c.Logits(arrays["x"])
	if err != nil {
		return 0, fmt.Errorf("%s: its logits: %w", path, err)
	}
	return difference(slices.Concat(logits...), tensors.MustCopyFlatData[float32](arrays["y"])), nil
}
