//go:build linux && cgo

package backend

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/pjrt"

	"advlab/advlib/backend/internal/executables"
	"advlab/advlib/backend/internal/intercept"
	"advlab/advlib/backend/plugin"
	"advlab/advlib/cachedir"
)

// limitVariable names the environment variable with the bytes that compiled programs may take on disk.
const (
	limitVariable = "ADVLAB_EXECUTABLE_CACHE_BYTES"
	defaultLimit  = 1 << 30
)

// GoMLX's own ways to XLA, by which a program may open it without or before this package, make its threads with signals
// blocked, too: see WithSignalsBlocked. They are open to all by name, so each name is replaced.
func init() {
	for _, name := range []string{xla.BackendName, "stablehlo", "hlo", "shlo"} {
		compute.Register(name, func(config string) (b compute.Backend, err error) {
			intercept.WithSignalsBlocked(func() { b, err = xla.New(config) })
			return b, err
		})
	}
}

// openXLA opens XLA for a platform. It is called once per platform, unless it fails.
func openXLA(platform plugin.Platform) (opened, error) {
	name := "xla:" + string(platform)
	unavailable := func(why error, remedy string) (opened, error) {
		return opened{}, &UnavailableError{Name: name, Why: why, Remedy: remedy}
	}
	limit, err := cacheLimit(os.Getenv(limitVariable))
	if err != nil {
		return opened{}, err
	}
	if !platform.HasDevice() {
		return unavailable(errors.New("there is no device file of the NVIDIA driver (/dev/nvidia0, or /dev/dxg under WSL)"),
			fmt.Sprintf("check the driver with nvidia-smi (in a container: start it with --gpus all), or use %s", XLACPU))
	}
	found, err := plugin.Find(platform)
	if err != nil {
		return unavailable(err, "")
	}
	libraries := []byte(nil)
	if platform == plugin.CUDA {
		if libraries, err = prepareCUDA(found.Path); err != nil {
			return opened{}, err
		}
	}
	loaded, err := intercept.Load(found.Path)
	if err != nil {
		return unavailable(err, "check the file with ldd, or get it anew with `go run ./kernel setup`")
	}
	info := Info{Name: name, Plugin: found.Path, PluginOrigin: found.Origin, Platform: "PJRT API " + loaded.Version()}
	info.CacheDir, info.CacheOff = keepPrograms(loaded, found.Path, libraries, limit)
	if info.CacheDir != "" {
		info.PluginSHA256 = loaded.Hash()[:12]
	}
	table, err := loaded.Table()
	if err != nil {
		return opened{}, err
	}

	// go-xla takes a name that begins with a slash for a file's and looks it up among the plugins that are loaded
	// before anything else. So this one is found though it lies in no directory that go-xla searches, no other plugin
	// is opened on the way, and go-xla's automatic download, which gomlx/backends/default switches on, is not asked.
	// Under the plain name it serves whoever asks GoMLX itself for "xla:cpu".
	absolute := "/" + string(platform)
	for _, registered := range []string{string(platform), absolute} {
		if err := pjrt.RegisterPreloadedPlugin(registered, table); err != nil {
			return unavailable(err, "get the plugin anew with `go run ./kernel setup`")
		}
	}
	var b compute.Backend
	b, err = xla.New(absolute)
	if err != nil {
		return unavailable(err, "")
	}
	info.Devices = b.NumDevices()
	info.Device = b.DeviceDescription(0)
	if platform == plugin.CPU {
		b = &summing{b}
	}
	return opened{b, info}, nil
}

// keepPrograms makes the plugin keep compiled programs on disk and returns their directory, or why they are not kept.
func keepPrograms(p *intercept.Plugin, path string, libraries []byte, limit int64) (dir, off string) {
	if limit == 0 {
		return "", limitVariable + " is 0"
	}
	dir, err := cachedir.Dir("executables")
	if err != nil {
		return "", err.Error()
	}
	if err := p.Keep(executables.NewStore(dir, limit), path, libraries); err != nil {
		return "", err.Error()
	}
	return dir, ""
}

// cacheLimit reads the value of ADVLAB_EXECUTABLE_CACHE_BYTES.
func cacheLimit(value string) (int64, error) {
	if value == "" {
		return defaultLimit, nil
	}
	limit, err := strconv.ParseInt(value, 10, 64)
	if err != nil || limit < 0 {
		return 0, fmt.Errorf("backend: %s=%q is not a number of bytes: set it to a whole number, such as %d, or 0 to keep "+
			"no compiled programs", limitVariable, value, defaultLimit)
	}
	return limit, nil
}

func cacheStats() Stats { return Stats(intercept.Counted()) }
