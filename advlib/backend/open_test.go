package backend_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
	"advlab/advlib/backend/plugin"
	"advlab/advlib/cachedir"
)

// withoutPlugin returns the environment of a child that finds no plugin.
func withoutPlugin(t *testing.T) []string {
	t.Helper()
	for _, dir := range []string{"/usr/local/lib/go-xla", "/usr/local/lib/go-xla/nvidia", "/usr/local/lib/gomlx/pjrt"} {
		if found, err := filepath.Glob(filepath.Join(dir, "*cpu*.so")); err != nil || len(found) > 0 {
			t.Skipf("a plugin is installed for the whole system, %s, so no child can be without", found)
		}
	}
	return []string{plugin.Variable + "=", "LD_LIBRARY_PATH=", "VIRTUAL_ENV=", "HOME=" + t.TempDir(), cachedir.Variable + "=" + t.TempDir()}
}

func TestAutoFallsBackToGoAndSaysSo(t *testing.T) {
	env := withoutPlugin(t)
	r := run(t, task{Programs: []string{"mlp gradient", "cnn pgd step"}}, env...)
	if r.Error != "" || r.Info.Name != backend.Go || len(r.Digests) != 2 {
		t.Fatalf("auto without a plugin: %+v", r)
	}
	want := []string{"8 to 15 times slower", backend.XLACPU}
	if xlaIsBuiltIn {
		want = append(want, "go run ./kernel setup")
	}
	for _, w := range want {
		if !strings.Contains(r.Info.Lost, w) {
			t.Errorf("what was lost does not say %q: %q", w, r.Info.Lost)
		}
	}
	if !strings.Contains(r.Info.String(), r.Info.Lost) {
		t.Errorf("the description does not say what was lost:\n%s", r.Info)
	}
	asked := run(t, task{Backend: backend.Go}, env...)
	if asked.Info.Name != backend.Go || asked.Info.Lost != "" {
		t.Errorf("Go by choice has lost nothing: %+v", asked.Info)
	}
}

func TestABackendAskedForByNameIsNeverReplaced(t *testing.T) {
	env := withoutPlugin(t)
	for _, name := range []string{backend.XLACPU, backend.XLACUDA} {
		for how, r := range map[string]report{
			"Use":      run(t, task{Backend: name}, env...),
			"variable": run(t, task{}, append(env, backend.Variable+"="+name)...),
		} {
			if r.Info.Name != "" || !strings.Contains(r.Error, name+" is not available") {
				t.Errorf("%s by %s: opened %q, error %q", name, how, r.Info.Name, r.Error)
			}
		}
	}
	if xlaIsBuiltIn {
		r := run(t, task{Backend: backend.XLACPU}, env...)
		if !strings.Contains(r.Error, "go run ./kernel setup") || !strings.Contains(r.Error, plugin.Variable) {
			t.Errorf("error does not say what to do: %s", r.Error)
		}
	}
}

func TestAFileThatIsNoPlugin(t *testing.T) {
	if !xlaIsBuiltIn {
		t.Skip("built without XLA (it needs Linux and cgo)")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, plugin.CPU.FileName()),
		[]byte(strings.Repeat("<html>not a library</html>\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(withoutPlugin(t), plugin.Variable+"="+dir)
	if r := run(t, task{Backend: backend.XLACPU}, env...); !strings.Contains(r.Error, dir) ||
		!strings.Contains(r.Error, "invalid ELF header") {
		t.Errorf("opened %q, error %q", r.Info.Name, r.Error)
	}
	if r := run(t, task{}, env...); r.Info.Name != backend.Go || !strings.Contains(r.Info.Lost, "invalid ELF header") {
		t.Errorf("auto opened %q, lost %q, error %q", r.Info.Name, r.Info.Lost, r.Error)
	}
}

func TestChoices(t *testing.T) {
	// Use comes before the variable, and the variable is read.
	if r := run(t, task{Backend: backend.Go}, backend.Variable+"="+backend.XLACUDA); r.Info.Name != backend.Go {
		t.Errorf("Use(%q) opened %q (%s)", backend.Go, r.Info.Name, r.Error)
	}
	if r := run(t, task{}, backend.Variable+"="+backend.Go); r.Info.Name != backend.Go {
		t.Errorf("%s=%s opened %q (%s)", backend.Variable, backend.Go, r.Info.Name, r.Error)
	}
	if r := run(t, task{}, backend.Variable+"=xla"); !strings.Contains(r.Error, `"xla"`) || !strings.Contains(r.Error, backend.XLACPU) {
		t.Errorf("%s=xla: error %q does not name the value and the choices", backend.Variable, r.Error)
	}
	if err := backend.Use("gpu"); err == nil || !strings.Contains(err.Error(), `"gpu"`) {
		t.Errorf("Use of an unknown name: %v", err)
	}
	if _, err := backend.OpenNamed(""); err == nil {
		t.Error("OpenNamed without a name succeeded")
	}
}

func TestAutoTakesXLA(t *testing.T) {
	r := run(t, task{}, append(needPlugin(t), cachedir.Variable+"="+t.TempDir())...)
	if r.Info.Name != backend.XLACPU && r.Info.Name != backend.XLACUDA {
		t.Errorf("auto opened %q (%s)", r.Info.Name, r.Error)
	}
	if len(r.Info.PluginSHA256) != 12 || r.Info.CacheDir == "" || r.Info.CacheOff != "" || r.Info.Lost != "" || r.Info.Devices < 1 {
		t.Errorf("described as\n%s", r.Info)
	}
}

// inThisProcess makes this process find the plugin that a child would be given.
func inThisProcess(t *testing.T) {
	t.Helper()
	for _, variable := range needPlugin(t) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

// TestOncePerProcess opens the Go backend as this process's own.
func TestOncePerProcess(t *testing.T) {
	if err := backend.Use(backend.Go); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	opened := make([]compute.Backend, 16)
	for i := range opened {
		wg.Go(func() {
			b, err := backend.Open()
			if err != nil {
				t.Error(err)
			}
			opened[i] = b
		})
	}
	wg.Wait()
	named, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range opened {
		if b != named {
			t.Fatalf("two backends of one name: %p and %p", b, named)
		}
	}
	if err := backend.Use(backend.XLACPU); err == nil || !strings.Contains(err.Error(), "go is open already") {
		t.Errorf("Use after Open: %v, want an error that names what is open", err)
	}
	if err := backend.Use(backend.Go); err != nil {
		t.Errorf("Use of what is open: %v", err)
	}
	info, err := backend.Describe()
	if err != nil || info.Name != backend.Go || info.Plugin != "" {
		t.Errorf("described as %+v, %v", info, err)
	}
}

// TestSideBySide runs XLA and Go in one process. Their results agree to the rounding of float32.
func TestSideBySide(t *testing.T) {
	inThisProcess(t)
	xla, err := backend.OpenNamed(backend.XLACPU)
	if err != nil {
		t.Fatal(err)
	}
	pure, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	a, err := mlpGradient(xla)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mlpGradient(pure)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a {
		x, y := tensors.MustCopyFlatData[float32](a[i]), tensors.MustCopyFlatData[float32](b[i])
		var scale, worst float64
		for j := range x {
			scale = max(scale, math.Abs(float64(x[j])))
			worst = max(worst, math.Abs(float64(x[j])-float64(y[j])))
		}
		// Sums of some hundred terms of float32: relative rounding about sqrt(100)·6e-8.
		if len(x) == 0 || len(x) != len(y) || worst > 1e-5*scale {
			t.Errorf("output %d: %d and %d values, largest difference %g of %g", i, len(x), len(y), worst, scale)
		}
	}
}

// TestGoMLXsOwnNameServesTheSamePlugin covers code that asks GoMLX itself for a backend.
func TestGoMLXsOwnNameServesTheSamePlugin(t *testing.T) {
	inThisProcess(t)
	if _, err := backend.OpenNamed(backend.XLACPU); err != nil {
		t.Fatal(err)
	}
	b, err := compute.NewWithConfig("xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	before := backend.CacheStats()
	if _, err := while(b); err != nil {
		t.Fatal(err)
	}
	after := backend.CacheStats()
	if n := after.Hits + after.Misses - before.Hits - before.Misses; n == 0 {
		t.Error("a backend opened as xla:cpu by GoMLX's name compiled without the cache")
	}
}

func TestUnavailableUnwraps(t *testing.T) {
	why := &plugin.NotFoundError{Platform: plugin.CPU}
	var err error = &backend.UnavailableError{Name: backend.XLACPU, Why: why}
	var notFound *plugin.NotFoundError
	if !errors.As(err, &notFound) || notFound != why {
		t.Errorf("%v does not unwrap to its reason", err)
	}
}

func TestInfoOfKnowsWhatWasOpened(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	if got := backend.InfoOf(b).Name; got != backend.Go {
		t.Errorf("InfoOf says %q, want %q", got, backend.Go)
	}
}
