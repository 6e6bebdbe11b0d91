package setup

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"advlab/kernel/internal/place"
	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/session"
	"advlab/kernel/internal/stamp"
)

// newMachine returns a machine without real steps on a cache of its own.
func newMachine(t *testing.T, root string) *machine {
	t.Helper()
	return &machine{place: place.Of(root, "/checkout"), printer: progress.New(io.Discard), results: map[string]Result{}}
}

// counted is a step that writes one file and counts how often it did.
type counted struct {
	file   string
	inputs string
	count  int
	err    error
}

func (c *counted) step(name string) step {
	return step{
		name: name, doing: "writing", stamp: name,
		inputs: func() (string, error) { return c.inputs, nil },
		make: func(context.Context, *work) (made, error) {
			c.count++
			if c.err != nil {
				return made{}, c.err
			}
			return made{[]string{c.file}, "written"}, os.WriteFile(c.file, []byte(c.inputs), 0o600)
		},
	}
}

func statuses(results []Result) string {
	var s []string
	for _, r := range results {
		s = append(s, string(r.Status))
	}
	return strings.Join(s, " ")
}

func TestRunMakesOnceAndRepairs(t *testing.T) {
	root := t.TempDir()
	c := &counted{file: filepath.Join(root, "piece"), inputs: "one"}
	run := func(want string, count int) {
		t.Helper()
		results, err := newMachine(t, root).run(t.Context(), [][]step{{c.step("piece")}})
		if err != nil {
			t.Fatal(err)
		}
		if got := statuses(results); got != want || c.count != count {
			t.Errorf("%s after %d times, want %s after %d", got, c.count, want, count)
		}
	}
	run("made", 1)
	run("ready", 1)
	c.inputs = "two"
	run("made", 2)
	if err := os.Truncate(c.file, 1); err != nil { // damaged
		t.Fatal(err)
	}
	run("made", 3)
	if err := os.Remove(c.file); err != nil {
		t.Fatal(err)
	}
	run("made", 4)
	run("ready", 4)
}

func TestAnInterruptedStepRunsAgain(t *testing.T) {
	root := t.TempDir()
	c := &counted{file: filepath.Join(root, "piece"), inputs: "one"}
	if _, err := newMachine(t, root).run(t.Context(), [][]step{{c.step("piece")}}); err != nil {
		t.Fatal(err)
	}
	c.inputs, c.err = "two", context.Canceled // it begins, and is interrupted
	if _, err := newMachine(t, root).run(t.Context(), [][]step{{c.step("piece")}}); err == nil {
		t.Fatal("an interrupted step is no error")
	}
	c.inputs, c.err = "one", nil // the old product is still there, but nobody knows whether it is whole
	results, err := newMachine(t, root).run(t.Context(), [][]step{{c.step("piece")}})
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(results); got != "made" {
		t.Errorf("after an interruption the step is %s, want made", got)
	}
}

func TestAFailureStopsItsLaneOnly(t *testing.T) {
	root := t.TempDir()
	lost := errors.New("no such wheel")
	bad := &counted{file: filepath.Join(root, "bad"), err: lost}
	after := &counted{file: filepath.Join(root, "after")}
	other := &counted{file: filepath.Join(root, "other")}
	results, err := newMachine(t, root).run(t.Context(), [][]step{{bad.step("bad"), after.step("after")}, {other.step("other")}})
	if err == nil || !strings.Contains(err.Error(), lost.Error()) {
		t.Errorf("error %v, want one with %q", err, lost)
	}
	if got, want := statuses(results), "failed skipped made"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if after.count != 0 {
		t.Error("the step after the failed one ran")
	}
}

func TestWhatIsOnlyMissed(t *testing.T) {
	root := t.TempDir()
	plugin := &counted{file: filepath.Join(root, "plugin"), err: errors.New("no such wheel")}
	after := &counted{file: filepath.Join(root, "after")}
	s := plugin.step("plugin")
	s.without = "so cells are slower"
	results, err := newMachine(t, root).run(t.Context(), [][]step{{s, after.step("after")}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := statuses(results), "without made"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, want := range []string{"no such wheel", "so cells are slower"} {
		if !strings.Contains(results[0].Note, want) {
			t.Errorf("note %q lacks %q", results[0].Note, want)
		}
	}
	s.forgives = func(error) bool { return false }
	if _, err := newMachine(t, root).run(t.Context(), [][]step{{s}}); err == nil {
		t.Error("an error that is not forgiven is no error")
	}
}

func TestTwoSetupsWaitForEachOther(t *testing.T) {
	root := t.TempDir()
	busy, file := filepath.Join(root, "busy"), filepath.Join(root, "piece")
	var mu sync.Mutex
	count := 0
	slow := step{
		name: "piece", doing: "writing", stamp: "piece",
		inputs: func() (string, error) { return "inputs", nil },
		make: func(context.Context, *work) (made, error) {
			f, err := os.OpenFile(busy, os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return made{}, err // another one is at it
			}
			f.Close()
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			count++
			mu.Unlock()
			return made{[]string{file}, ""}, errors.Join(os.WriteFile(file, nil, 0o600), os.Remove(busy))
		},
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, err := newMachine(t, root).run(t.Context(), [][]step{{slow}}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if count != 1 {
		t.Errorf("the piece was made %d times, want once", count)
	}
}

func TestReadyCacheNeedsNoLock(t *testing.T) {
	root := t.TempDir()
	c := &counted{file: filepath.Join(root, "piece"), inputs: "one"}
	if _, err := newMachine(t, root).run(t.Context(), [][]step{{c.step("piece")}}); err != nil {
		t.Fatal(err)
	}
	// As in an image, whose cache cannot be written: a lock could not be taken where a folder stands in its place.
	lock := newMachine(t, root).place.Lock()
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(lock, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := newMachine(t, root).run(t.Context(), [][]step{{c.step("piece")}}); err != nil {
		t.Errorf("with everything ready: %v", err)
	}
	c.inputs = "two"
	if _, err := newMachine(t, root).run(t.Context(), [][]step{{c.step("piece")}}); err == nil ||
		!strings.Contains(err.Error(), "ADVLAB_CACHE") {
		t.Errorf("with work to do: error %v, want one that names ADVLAB_CACHE", err)
	}
}

func TestFailedCommandShowsItsLastLines(t *testing.T) {
	m := newMachine(t, t.TempDir())
	w := &work{Step: m.printer.Begin("step", "running"), log: filepath.Join(t.TempDir(), "step.log")}
	defer w.End("done")
	err := w.run(t.Context(), "", nil, "/bin/sh", "-c", "for i in $(seq 100); do echo line $i; done; exit 3")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"exit status 3", "line 100", w.log} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "line 80\n") {
		t.Errorf("the error is too long:\n%v", err)
	}
}

func TestWorkspacesOfGoneCheckoutsAreRemoved(t *testing.T) {
	root, checkout := t.TempDir(), t.TempDir()
	gone, there := place.Of(root, filepath.Join(checkout, "gone")), place.Of(root, checkout)
	for _, p := range []place.Place{gone, there} {
		facts := session.Facts{Checkout: p.Checkout}
		if err := session.WriteFacts(p, facts); err != nil {
			t.Fatal(err)
		}
		if err := stamp.Write(filepath.Join(p.Stamps(), "workspace-"+p.Key()+".json"), "inputs", nil); err != nil {
			t.Fatal(err)
		}
	}
	c := &counted{file: filepath.Join(root, "piece")}
	if _, err := newMachine(t, root).run(t.Context(), [][]step{{c.step("piece")}}); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[place.Place]bool{gone: false, there: true} {
		if exists(p.Space()) != want || exists(filepath.Join(p.Stamps(), "workspace-"+p.Key()+".json")) != want {
			t.Errorf("the workspace or the stamp of %s is there: %v, want %v", p.Checkout, !want, want)
		}
	}
}
