package backend

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"

	"advlab/advlib/backend/plugin"
	"advlab/advlib/internal/notebook"
)

// UnavailableError says that a backend cannot be opened here, why, and what to do.
type UnavailableError struct {
	Name   string
	Why    error
	Remedy string // "" when Why says it
}

// Error names the backend, the reason and the remedy.
func (e *UnavailableError) Error() string {
	if e.Remedy == "" {
		return fmt.Sprintf("backend: %s is not available: %v", e.Name, e.Why)
	}
	return fmt.Sprintf("backend: %s is not available: %v; %s", e.Name, e.Why, e.Remedy)
}

// Unwrap returns the reason, a *plugin.NotFoundError when there is no plugin.
func (e *UnavailableError) Unwrap() error { return e.Why }

// brief is the error without the list of places that were searched.
func (e *UnavailableError) brief() string {
	var notFound *plugin.NotFoundError
	if errors.As(e.Why, &notFound) {
		return fmt.Sprintf("no PJRT plugin for %s was found; to get it, %s", notFound.Platform, notFound.Remedy())
	}
	if e.Remedy == "" {
		return e.Why.Error()
	}
	return fmt.Sprintf("%v; %s", e.Why, e.Remedy)
}

// opened is an open backend with its description.
type opened struct {
	backend compute.Backend
	info    Info
}

// process is what this process has opened.
var process struct {
	sync.Mutex
	choice string            // of Use
	main   *opened           // what Open returns
	named  map[string]opened // by name, never Auto
}

// Use chooses the backend that Open will open: Auto, XLACPU, XLACUDA or Go. It comes before ADVLAB_BACKEND. It is an
// error to choose another one after Open: models and tensors of the two do not mix.
func Use(name string) error {
	if err := checkName(name, "Use"); err != nil {
		return err
	}
	process.Lock()
	defer process.Unlock()
	if process.main != nil && process.main.info.Name != name && process.choice != name {
		return fmt.Errorf("backend: Use(%q) comes too late: %s is open already; call Use before anything computes, or use "+
			"OpenNamed", name, process.main.info.Name)
	}
	process.choice = name
	return nil
}

// Open returns this process's backend, which it opens the first time: the one that Use chose, else the one that
// ADVLAB_BACKEND names, else Auto. One asked for by name that cannot be opened is an *UnavailableError, never replaced
// by another. It is safe for concurrent use; the backend is shared, so it must not be finalized.
func Open() (compute.Backend, error) {
	o, err := openMain()
	if err != nil {
		return nil, err
	}
	return o.backend, nil
}

// Describe returns the description of the backend that Open returns, and opens it if need be.
func Describe() (Info, error) {
	o, err := openMain()
	if err != nil {
		return Info{}, err
	}
	return o.info, nil
}

// OpenNamed returns the backend of that name, opened once per process whatever Open returns, so that two can run side
// by side. With Auto it opens the best, as Open does when nothing is chosen.
func OpenNamed(name string) (compute.Backend, error) {
	o, err := openNamed(name)
	if err != nil {
		return nil, err
	}
	return o.backend, nil
}

// InfoOf returns the description of a backend that this package opened; one that it did not open has a name only.
func InfoOf(b compute.Backend) Info {
	process.Lock()
	defer process.Unlock()
	if process.main != nil && process.main.backend == b {
		return process.main.info // with what a fallback cost
	}
	for _, o := range process.named {
		if o.backend == b {
			return o.info
		}
	}
	return Info{Name: b.Name()}
}

func openMain() (opened, error) {
	process.Lock()
	defer process.Unlock()
	if process.main != nil {
		return *process.main, nil
	}
	name, source := process.choice, "Use"
	if name == "" {
		name, source = os.Getenv(Variable), Variable
	}
	if name == "" {
		name = Auto
	}
	if err := checkName(name, source); err != nil {
		return opened{}, err
	}
	began := time.Now()
	o, err := open(name)
	if err != nil {
		return opened{}, err
	}
	process.main = &o
	notebook.Tell(notebook.Bundle{
		Backend: o.info.Name, Device: o.info.Device, Plugin: o.info.PluginSHA256,
		Phases: map[string]float64{notebook.Open: time.Since(began).Seconds()},
	})
	return o, nil
}

func openNamed(name string) (opened, error) {
	if err := checkName(name, "OpenNamed"); err != nil {
		return opened{}, err
	}
	process.Lock()
	defer process.Unlock()
	return open(name)
}

// open opens a backend by a name that was checked. process is locked.
func open(name string) (opened, error) {
	if name == Auto {
		return openBest()
	}
	if o, ok := process.named[name]; ok {
		return o, nil
	}
	var o opened
	var err error
	switch name {
	case XLACPU:
		o, err = openXLA(plugin.CPU)
	case XLACUDA:
		o, err = openXLA(plugin.CUDA)
	default:
		o, err = openGo()
	}
	if err != nil {
		return opened{}, err
	}
	if process.named == nil {
		process.named = make(map[string]opened)
	}
	process.named[name] = o
	return o, nil
}

// openBest opens the first backend that is there, and notes why a faster one that might have been was not taken.
func openBest() (opened, error) {
	var lost []string
	for _, name := range []string{XLACUDA, XLACPU} {
		if name == XLACUDA && !cudaIsExpected() {
			continue
		}
		o, err := open(name)
		if err == nil {
			o.info.Lost = strings.Join(lost, "; ")
			return o, nil
		}
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) {
			return opened{}, err
		}
		lost = append(lost, fmt.Sprintf("%s was not opened: %s", name, unavailable.brief()))
	}
	o, err := open(Go)
	if err != nil {
		return opened{}, err
	}
	o.info.Lost = "the pure Go backend computes, 8 to 15 times slower than XLA: " + strings.Join(lost, "; ")
	return o, nil
}

// cudaIsExpected reports whether CUDA's plugin and a device are there. A machine with only one of the two has lost
// nothing worth a sentence.
func cudaIsExpected() bool {
	if !plugin.CUDA.HasDevice() {
		return false
	}
	_, err := plugin.Find(plugin.CUDA)
	return err == nil
}

// openGo opens the Go backend. Its operations run one after another: in its parallel mode (compute v0.1.6) a graph can
// wait for itself for ever when there are few cores. Its fused operations are turned off for the whole process: GoMLX
// v0.28.8's nn.Dense makes one without any activation where it was asked for sigmoid, hard sigmoid, leaky ReLU or SELU,
// and takes GELU for its approximation.
func openGo() (opened, error) {
	if err := os.Setenv("GOMLX_FUSION", "0"); err != nil {
		return opened{}, &UnavailableError{Name: Go, Why: fmt.Errorf("turning off GoMLX's fused operations: %w", err)}
	}
	b, err := gobackend.New("ops_sequential")
	if err != nil {
		return opened{}, &UnavailableError{Name: Go, Why: err, Remedy: "please report it"}
	}
	return opened{b, Info{
		Name:     Go,
		Device:   fmt.Sprintf("CPU (%s/%s)", runtime.GOOS, runtime.GOARCH),
		Devices:  1,
		Platform: "GoMLX's pure Go backend",
		CacheOff: "the Go backend has no compiler",
	}}, nil
}
