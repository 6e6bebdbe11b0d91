package lab_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"advlab/advlib/lab"
)

var numbers = lab.Values[[]float64]("numbers")

func recipe(seed string) lab.Recipe {
	return lab.Recipe{Name: "a test's numbers", Parts: map[string]string{"seed": seed}}
}

// ownStore gives a test an empty store, and collects notices.
func ownStore(t testing.TB) (root string, notices *[]string) {
	t.Helper()
	open(t) // before the cache moves, because its plugin may lie there
	root = t.TempDir()
	t.Setenv("ADVLAB_CACHE", root)
	var mu sync.Mutex
	notices = new([]string)
	before := lab.Notify
	lab.Notify = func(s string) { mu.Lock(); defer mu.Unlock(); *notices = append(*notices, s) }
	t.Cleanup(func() { lab.Notify = before })
	return root, notices
}

// counting returns a make function that returns n, n+1, … and the number of its calls.
func counting() (func(context.Context) ([]float64, error), *int) {
	calls := new(int)
	return func(context.Context) ([]float64, error) {
		*calls++
		return []float64{float64(*calls), 0.1}, nil
	}, calls
}

func TestKeepMakesOnce(t *testing.T) {
	root, notices := ownStore(t)
	make, calls := counting()
	for range 3 {
		v, err := lab.Keep(t.Context(), numbers, recipe("1"), make)
		if err != nil || v[0] != 1 || v[1] != 0.1 {
			t.Fatalf("%v, error %v", v, err)
		}
	}
	if *calls != 1 {
		t.Errorf("%d calls, want 1", *calls)
	}
	if v, _ := lab.Keep(t.Context(), numbers, recipe("2"), make); v[0] != 2 {
		t.Error("another recipe gives the kept value")
	}
	if v, _ := lab.Keep(t.Context(), lab.Values[[]float64]("others"), recipe("1"), make); v[0] != 3 {
		t.Error("another kind gives the kept value")
	}
	if v, _ := lab.Keep(lab.Fresh(t.Context()), numbers, recipe("1"), make); v[0] != 4 {
		t.Error("Fresh gives the kept value")
	}
	if v, _ := lab.Keep(t.Context(), numbers, recipe("1"), make); v[0] != 4 {
		t.Error("what Fresh made did not replace what was kept")
	}
	if len(*notices) > 0 {
		t.Errorf("notices %q", *notices)
	}
	// Nobody else may read or write what is kept.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, _ error) error {
		info, err := d.Info()
		if err != nil {
			t.Error(err)
		} else if path != root && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
}

func TestProvenance(t *testing.T) {
	ownStore(t)
	make, _ := counting()
	r := recipe("7")
	r.Parts["graph"] = strings.Repeat("x", 1000)
	r.Backend = open(t)
	if _, kept := lab.Kept(numbers, r); kept {
		t.Error("something is kept in an empty store")
	}
	if _, err := lab.Keep(t.Context(), numbers, r, make); err != nil {
		t.Fatal(err)
	}
	e, kept := lab.Kept(numbers, r)
	if !kept {
		t.Fatal("nothing is kept")
	}
	if e.Key != r.Key("value numbers") || e.Name != r.Name || e.Parts["seed"] != "7" ||
		!strings.HasPrefix(e.Parts["graph"], "sha256 ") || !strings.HasPrefix(e.Backend, r.Backend.Name()) {
		t.Errorf("provenance %+v", e)
	}
	if time.Since(e.Made) > time.Minute || e.Library != lab.Version() || e.Host == "" ||
		e.Modules["github.com/gomlx/gomlx"] == "" || e.Bytes() == 0 {
		t.Errorf("provenance %+v", e)
	}
	entries, err := lab.List()
	if err != nil || len(entries) != 1 || entries[0].Key != e.Key {
		t.Fatalf("list %v, error %v", entries, err)
	}
	if line := entries[0].String(); !strings.Contains(line, e.Key[:12]) || !strings.Contains(line, "a test's numbers") {
		t.Errorf("line %q", line)
	}
	if err := lab.Remove("zz"); err == nil {
		t.Error("removing what is not there is no error")
	}
	if err := lab.Remove(e.Key[:8]); err != nil {
		t.Error(err)
	}
	if entries, err = lab.List(); err != nil || len(entries) != 0 {
		t.Errorf("after removing: %v, error %v", entries, err)
	}
}

func TestDamageIsMadeAnew(t *testing.T) {
	for what, damage := range map[string]func(path string, content []byte) error{
		"a flipped bit":   func(path string, c []byte) error { c[len(c)/2] ^= 1; return os.WriteFile(path, c, 0o600) },
		"half a file":     func(path string, c []byte) error { return os.WriteFile(path, c[:len(c)/2], 0o600) },
		"no file":         func(path string, _ []byte) error { return os.Remove(path) },
		"a file of zeros": func(path string, c []byte) error { return os.WriteFile(path, make([]byte, len(c)), 0o600) },
	} {
		for _, name := range []string{"value.json", "provenance.json"} {
			t.Run(what+" for "+name, func(t *testing.T) {
				root, notices := ownStore(t)
				make, calls := counting()
				if _, err := lab.Keep(t.Context(), numbers, recipe("1"), make); err != nil {
					t.Fatal(err)
				}
				paths, _ := filepath.Glob(filepath.Join(root, "store", "??", "*", name))
				if len(paths) != 1 {
					t.Fatalf("files %v", paths)
				}
				content, err := os.ReadFile(paths[0])
				if err != nil {
					t.Fatal(err)
				}
				if err := damage(paths[0], content); err != nil {
					t.Fatal(err)
				}
				entries, err := lab.List()
				if err != nil || len(entries) != 1 || entries[0].Damaged == "" {
					t.Errorf("list %v, error %v", entries, err)
				}
				v, err := lab.Keep(t.Context(), numbers, recipe("1"), make)
				if err != nil || v[0] != 2 {
					t.Errorf("%v, error %v", v, err)
				}
				if len(*notices) != 1 || !strings.Contains((*notices)[0], "was damaged and is made anew") {
					t.Errorf("notices %q", *notices)
				}
				if v, _ = lab.Keep(t.Context(), numbers, recipe("1"), make); v[0] != 2 || *calls != 2 {
					t.Error("what was made anew is not kept")
				}
			})
		}
	}
}

// An entry under another's key is damage too: somebody copied it there.
func TestEntriesDoNotChangePlaces(t *testing.T) {
	root, _ := ownStore(t)
	make, _ := counting()
	for _, seed := range []string{"1", "2"} {
		if _, err := lab.Keep(t.Context(), numbers, recipe(seed), make); err != nil {
			t.Fatal(err)
		}
	}
	dir := func(seed string) string {
		key := recipe(seed).Key("value numbers")
		return filepath.Join(root, "store", key[:2], key)
	}
	if err := errors.Join(os.RemoveAll(dir("1")), os.CopyFS(dir("1"), os.DirFS(dir("2")))); err != nil {
		t.Fatal(err)
	}
	if v, err := lab.Keep(t.Context(), numbers, recipe("1"), make); err != nil || v[0] != 3 {
		t.Errorf("%v, error %v", v, err)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	root, _ := ownStore(t)
	nothing := func() {
		t.Helper()
		for _, pattern := range []string{"store/??/*", "store/tmp/*"} {
			if left, _ := filepath.Glob(filepath.Join(root, pattern)); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		}
	}
	failed := errors.New("no")
	if _, err := lab.Keep(t.Context(), numbers, recipe("1"), func(context.Context) ([]float64, error) {
		return []float64{1}, failed
	}); !errors.Is(err, failed) {
		t.Errorf("error %v, want %v", err, failed)
	}
	nothing()
	func() {
		defer func() {
			if r := recover(); r != "oh" {
				t.Errorf("recovered %v", r)
			}
		}()
		_, _ = lab.Keep(t.Context(), numbers, recipe("1"), func(context.Context) ([]float64, error) { panic("oh") })
	}()
	nothing()
	// The lock is free again.
	make, _ := counting()
	if v, err := lab.Keep(t.Context(), numbers, recipe("1"), make); err != nil || v[0] != 1 {
		t.Errorf("after a panic: %v, error %v", v, err)
	}
}

func TestRefusedValues(t *testing.T) {
	ownStore(t)
	type hidden struct{ A, b int }
	if _, err := lab.Keep(t.Context(), lab.Values[hidden]("hidden"), recipe("1"),
		func(context.Context) (hidden, error) { return hidden{1, 2}, nil }); err == nil ||
		!strings.Contains(err.Error(), "does not come back equal") {
		t.Errorf("an unexported field: error %v", err)
	}
	if _, err := lab.Keep(t.Context(), numbers, lab.Recipe{Name: "n"}, nil); err == nil ||
		!strings.Contains(err.Error(), "the recipe has no parts") {
		t.Errorf("an empty recipe: error %v", err)
	}
}

func TestStoreThatCannotBeWritten(t *testing.T) {
	root, notices := ownStore(t)
	// A file where the store's directory should be; permissions would not stop root.
	if err := os.WriteFile(filepath.Join(root, "store"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	make, _ := counting()
	v, err := lab.Keep(t.Context(), numbers, recipe("1"), make)
	if err != nil || v[0] != 1 {
		t.Errorf("%v, error %v", v, err)
	}
	if len(*notices) != 1 || !strings.Contains((*notices)[0], "is not kept") {
		t.Errorf("notices %q", *notices)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	ownStore(t)
	started, finish := make(chan bool), make(chan bool)
	done := make(chan error)
	go func() {
		_, err := lab.Keep(t.Context(), numbers, recipe("1"), func(context.Context) ([]float64, error) {
			close(started)
			<-finish
			return []float64{1}, nil
		})
		done <- err
	}()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := lab.Keep(ctx, numbers, recipe("1"), func(context.Context) ([]float64, error) {
		t.Error("made twice at once")
		return nil, nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
	close(finish)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// child is what the test binary does when it is started by TestProcesses: keep a value that takes a while.
func TestMain(m *testing.M) {
	if after := os.Getenv("LAB_TEST_EVALUATE"); after != "" {
		evaluateAndDie(after)
	}
	log := os.Getenv("LAB_TEST_LOG")
	if log == "" {
		os.Exit(m.Run())
	}
	v, err := lab.Keep(context.Background(), numbers, recipe("shared"), func(context.Context) ([]float64, error) {
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		fmt.Fprintln(f, os.Getpid())
		if os.Getenv("LAB_TEST_DIE") != "" {
			os.Exit(3) // as if killed in the middle
		}
		time.Sleep(300 * time.Millisecond)
		return []float64{float64(os.Getpid())}, nil
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(v[0])
}

func child(t *testing.T, log string, more ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), "LAB_TEST_LOG="+log), more...)
	return cmd
}

func TestProcesses(t *testing.T) {
	root, _ := ownStore(t)
	log := filepath.Join(root, "log")
	// One that dies while it makes the value must not keep the others from making it.
	if err := child(t, log, "LAB_TEST_DIE=1").Run(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("the dying process: %v", err)
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	outputs := make([]string, 6)
	var wg sync.WaitGroup
	for i := range outputs {
		wg.Go(func() {
			out, err := child(t, log).Output()
			if err != nil {
				t.Errorf("process %d: %v, %s", i, err, out)
			}
			outputs[i] = string(out)
		})
	}
	wg.Wait()
	makers, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(makers), "\n"); n != 1 {
		t.Errorf("%d processes made the value, want 1", n)
	}
	for _, out := range outputs {
		if out != outputs[0] {
			t.Errorf("processes have different values: %q", outputs)
			break
		}
	}
}

func BenchmarkKept(b *testing.B) {
	ownStore(b)
	make, _ := counting()
	if _, err := lab.Keep(b.Context(), numbers, recipe("1"), make); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := lab.Keep(b.Context(), numbers, recipe("1"), make); err != nil {
			b.Fatal(err)
		}
	}
}
