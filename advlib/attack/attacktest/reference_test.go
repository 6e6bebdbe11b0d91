package attacktest

import (
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/backend"
)

// backends returns the backend in use, and the Go backend when that is another.
func backends(t testing.TB) map[string]compute.Backend {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	goBackend, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]compute.Backend{b.Name(): b, goBackend.Name(): goBackend}
}

func TestReferenceHashes(t *testing.T) {
	readme, err := os.ReadFile("testdata/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range References {
		file, err := os.ReadFile("testdata/" + name + ".npz")
		if err != nil {
			t.Fatal(err)
		}
		if hash := fmt.Sprintf("%x", sha256.Sum256(file)); !strings.Contains(string(readme), hash) {
			t.Errorf("%s.npz has sha256 %s, which testdata/README.md does not name", name, hash)
		}
	}
}

// The largest difference from the peers, relative to the largest magnitude of the row, is at most 1e-5.
func TestReferenceLogitsAndGradient(t *testing.T) {
	const tolerance = 1e-5
	for backendName, b := range backends(t) {
		for _, name := range References {
			t.Run(backendName+"/"+name, func(t *testing.T) {
				r, err := LoadReference(name, b)
				if err != nil {
					t.Fatal(err)
				}
				rows, err := r.Classifier.Logits(r.Examples.X)
				if err != nil {
					t.Fatal(err)
				}
				var z []float32
				for _, row := range rows {
					z = append(z, row...)
				}
				if worst := relative(t, r, "logits", z); worst > tolerance {
					t.Errorf("logits differ from the peers' by %.2g of the row's largest", worst)
				}
				if worst := relative(t, r, "grad_ce_sum", gradient(t, r)); worst > tolerance {
					t.Errorf("gradients differ from the peers' by %.2g of the row's largest", worst)
				}
			})
		}
	}
}

type gradientKey struct{}

func gradient(t *testing.T, r *Reference) []float32 {
	t.Helper()
	step := advlib.Count(r.Classifier).Compile(gradientKey{}, func(m *advlib.Model, in []*graph.Node) []*graph.Node {
		x, y := in[0], in[1]
		return []*graph.Node{m.Gradient(advlib.CrossEntropy.Of(m.Logits(x), advlib.GoalNodes{Label: y}), x)}
	})
	out, err := step.Run(r.Examples.Len(), r.Examples.X, r.Examples.Y)
	if err != nil {
		t.Fatal(err)
	}
	return tensors.MustCopyFlatData[float32](out[0])
}

func relative(t *testing.T, r *Reference, key string, got []float32) float64 {
	t.Helper()
	want, dims, err := r.Array(key)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	worst, size := 0., len(want)/dims[0]
	for lo := 0; lo < len(want); lo += size {
		diff, scale := 0., 0.
		for i := lo; i < lo+size; i++ {
			diff = max(diff, math.Abs(float64(got[i])-float64(want[i])))
			scale = max(scale, math.Abs(float64(want[i])))
		}
		worst = max(worst, diff/scale)
	}
	t.Logf("%s: largest difference %.2g of the row's largest magnitude", key, worst)
	return worst
}

// Stored in Fortran order by the peer; a lower bound read in the wrong order would not lie below the upper one.
func TestReferenceFortranOrder(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range References[:2] {
		r, err := LoadReference(name, b)
		if err != nil {
			t.Fatal(err)
		}
		lb, _, err := r.Array("lb__crown_linf__0.05")
		if err != nil {
			t.Fatal(err)
		}
		ub, _, err := r.Array("ub__crown_linf__0.05")
		if err != nil {
			t.Fatal(err)
		}
		z, _, err := r.Array("logits")
		if err != nil {
			t.Fatal(err)
		}
		for i := range z {
			if z[i] < lb[i] || z[i] > ub[i] {
				t.Fatalf("%s: logit %d is %g, outside of its bounds [%g, %g]", name, i, z[i], lb[i], ub[i])
			}
		}
	}
}

func TestReferenceUnknown(t *testing.T) {
	if _, err := LoadReference("mnist", nil); err == nil || !strings.Contains(err.Error(), "mlp-digits-adv") {
		t.Errorf("error %v does not list the names", err)
	}
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	r, err := LoadReference("mlp-digits", b)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Array("none"); err == nil || !strings.Contains(err.Error(), "grad_ce_sum") {
		t.Errorf("error %v does not list the keys", err)
	}
}
