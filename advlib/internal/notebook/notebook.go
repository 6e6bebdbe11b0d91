package notebook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// MIME is the type of the display by which a Bundle travels.
const MIME = "application/vnd.advlab.cell+json"

// Variable names the environment variable with the version of a kernel that reads bundles.
const Variable = "ADVLAB_RELAY"

// Bundle is what a cell tells. Every field may be left out.
type Bundle struct {
	Result map[string]any `json:"result,omitempty"` // shown as the cell's result: data by MIME type, bytes as base64
	Clear  string         `json:"clear,omitempty"`  // empties the cell's output: "now", or "wait" for what comes next

	Phases  map[string]float64 `json:"phases,omitempty"`  // seconds that passed since the last bundle, by phase
	Backend string             `json:"backend,omitempty"` // such as xla:cpu
	Device  string             `json:"device,omitempty"`  // in the backend's words
	Plugin  string             `json:"plugin,omitempty"`  // the beginning of XLA's plugin's SHA-256
	Seed    *uint64            `json:"seed,omitempty"`
	Modules map[string]string  `json:"modules,omitempty"` // versions by module path
}

// The phases that this module tells of.
const (
	Compile = "compile" // XLA compiles
	Load    = "load"    // kept programs are read instead
	Open    = "open"    // the backend is opened
	Run     = "run"     // the rest of the program's time until it tells something
)

// Active reports whether this program is a cell of a kernel that reads bundles.
func Active() bool {
	if os.Getenv(Variable) == "" || !gonbui.IsNotebook || gonbui.Error() != nil {
		return false
	}
	// GoNB builds a cell's program in a directory of its own. Another program in a cell has inherited the environment.
	self, err := os.Executable()
	if err != nil {
		return false
	}
	here, err := os.Stat(filepath.Dir(self))
	if err != nil {
		return false
	}
	there, err := os.Stat(os.Getenv(protocol.GONB_TMP_DIR_ENV))
	return err == nil && os.SameFile(here, there)
}

// self is this program's path, and nonce what the kernel tells this program alone: it stands in a file beside it, which
// the program's first lines remove. They run after this, and before those of a cell.
var self, nonce = func() (string, []byte) {
	self, err := os.Executable()
	if err != nil {
		return "", nil
	}
	text, _ := os.ReadFile(self + ".nonce")
	return self, text
}()

// TakesGrades reports whether this program is a cell's whose kernel takes grades. Nothing that a cell does changes it.
func TakesGrades() bool { return len(nonce) > 0 }

// Grade gives the kernel points, and proves that they were given here: it writes them, and an HMAC-SHA256 of them under
// the nonce, into a file beside the program. Displays would not do, since cells can turn them off. The latest counts.
func Grade(points float64) error {
	sum := hmac.New(sha256.New, nonce)
	fmt.Fprintf(sum, "grade %v", points)
	return os.WriteFile(self+".grade", fmt.Appendf(nil, "%v %x", points, sum.Sum(nil)), 0o600)
}

// told is what this program has told so far.
var told = struct {
	sync.Mutex
	until time.Time // the time up to then is in some phase
	first bool
}{until: time.Now(), first: true}

// Tell tells the kernel, if there is one that listens. The time since the last call that is in none of b.Phases is told
// as Run. The first call adds the versions of the program's modules.
func Tell(b Bundle) {
	if !Active() {
		return
	}
	told.Lock()
	defer told.Unlock()
	now := time.Now()
	b.Phases = withRest(b.Phases, now.Sub(told.until))
	told.until = now
	if told.first {
		told.first = false
		if info, ok := debug.ReadBuildInfo(); ok {
			b.Modules = Modules(info)
		}
	}
	text, err := json.Marshal(b)
	if err != nil {
		// Only a Result can have what JSON does not: the author of its type is to hear of it.
		fmt.Fprintf(os.Stderr, "advlib: the kernel cannot be told: %v\n", err)
		return
	}
	// Bytes, which travel as base64, are the one form that GoNB's %capture does not write into the captured output.
	gonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{MIME: text}})
}

// withRest adds to phases what they leave of the time that has passed. Phases of several goroutines may exceed it.
func withRest(phases map[string]float64, passed time.Duration) map[string]float64 {
	rest := passed.Seconds()
	for _, seconds := range phases {
		rest -= seconds
	}
	all := map[string]float64{}
	maps.Copy(all, phases)
	if rest > 0 {
		all[Run] += rest
	}
	return all
}

// Modules returns the versions of the modules that a program is made of, by path. One that comes from a folder, as
// advlab itself does, has the version "local".
func Modules(info *debug.BuildInfo) map[string]string {
	versions := map[string]string{}
	for _, m := range info.Deps {
		path, version := m.Path, m.Version
		if m.Replace != nil {
			version = m.Replace.Version
		}
		if version == "" || version == "(devel)" {
			version = "local"
		}
		versions[path] = version
	}
	return versions
}

// patience is how long Flush waits for a notebook that may be gone.
const patience = 10 * time.Second

var gone atomic.Bool

// Flush waits until the notebook has everything that was displayed or told: what is on its way when a program ends is
// lost. gonbui.Sync alone waits for ever when the kernel does not answer; Flush does not wait again after that.
func Flush() error {
	if !gonbui.IsNotebook || gonbui.Error() != nil || gone.Load() {
		return nil
	}
	done := make(chan struct{})
	go func() {
		gonbui.Sync()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(patience):
		gone.Store(true)
		return fmt.Errorf("the notebook did not confirm what was displayed within %v", patience)
	}
}
