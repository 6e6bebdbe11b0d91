package show

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/internal/notebook"
)

// Provenance names everything that is needed to get a program's numbers again: the command, the settings, the backend
// with its device and the hash of XLA's plugin, the machine, the flags, and the versions of Go, of advlab and of all
// modules, with the checksums that go.sum has of them. As the last cell of a notebook:
//
//	show.Result(show.Provenance(settings))
//
// It opens the backend that [backend.Open] opens, if that has not happened yet, and fails where that does.
func Provenance(s advlib.Settings) (*Table, error) {
	where, err := backend.Describe()
	if err != nil {
		return nil, fmt.Errorf("show: provenance: %w", err)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	cpus, _ := os.ReadFile("/proc/cpuinfo") // Linux only
	return provenance(s, where, info, machine(string(cpus)), os.Args, os.LookupEnv), nil
}

// sessionVariable is where Jupyter's server tells a kernel its notebook's path.
const sessionVariable = "JPY_SESSION_NAME"

// repeat is the command that runs the program again; in a notebook, the whole notebook.
func repeat(args []string, env func(string) (string, bool)) string {
	if _, ok := env(notebook.Variable); ok {
		name, _ := env(sessionVariable)
		if filepath.Ext(name) != ".ipynb" {
			return "go run ./kernel run NOTEBOOK"
		}
		return "go run ./kernel run " + filepath.Base(name)
	}
	if len(args) == 0 {
		return ""
	}
	return strings.Join(append([]string{filepath.Base(args[0])}, args[1:]...), " ")
}

// decisive are the environment's variables that change numbers, or which numbers are computed.
var decisive = []string{
	backend.Variable, "ADVLAB_SEED", "CUDA_VISIBLE_DEVICES", "GODEBUG", "GOMAXPROCS", "NVIDIA_TF32_OVERRIDE", "TF_XLA_FLAGS", "XLA_FLAGS",
}

// irrelevant are settings of a build that say nothing about its numbers, or only where and when it was made.
func irrelevant(key string) bool {
	return strings.HasPrefix(key, "vcs") || key == "-compiler" || key == "-buildmode" || key == "GOOS" || key == "GOARCH"
}

func provenance(s advlib.Settings, where backend.Info, info *debug.BuildInfo, cpu string, args []string,
	env func(string) (string, bool)) *Table {
	t := &Table{Title: "Provenance"}
	add := func(name, format string, args ...any) {
		if value := fmt.Sprintf(format, args...); value != "" {
			t.Rows = append(t.Rows, []string{name, value})
		}
	}
	add("repeat", "%s", repeat(args, env))
	add("seed", "%d", s.Seed)
	if s.BatchSize > 0 {
		add("batch size", "%d", s.BatchSize)
	}
	add("backend", "%s", where.Name)
	add("device", "%s", where.Device)
	if where.Devices > 1 {
		add("devices", "%d", where.Devices)
	}
	add("platform", "%s", where.Platform)
	switch {
	case where.PluginSHA256 != "":
		add("plugin", "sha256 %s…", where.PluginSHA256)
	case where.Plugin != "":
		add("plugin", "not hashed: %s", where.CacheOff)
	}
	add("fallback", "%s", where.Lost)
	add("processor", "%s", cpu)
	add("system", "%s/%s", runtime.GOOS, runtime.GOARCH)
	add("Go", "%s", runtime.Version())
	var flags []string
	for _, f := range info.Settings {
		if !irrelevant(f.Key) && f.Value != "" {
			flags = append(flags, f.Key+"="+f.Value)
		}
	}
	add("build", "%s", strings.Join(flags, " "))
	for _, name := range decisive {
		if value, ok := env(name); ok {
			add(name, "%s", value)
		}
	}
	modules := notebook.Modules(info)
	if info.Main.Path == module {
		modules[module] = info.Main.Version
	}
	if _, ok := modules[module]; ok {
		modules[module] = ownVersion(info, modules[module], env)
	}
	sums := map[string]string{}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = &debug.Module{Path: m.Path, Sum: m.Replace.Sum}
		}
		sums[m.Path] = m.Sum
	}
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		add(path, "%s", strings.TrimSpace(modules[path]+" "+sums[path]))
	}
	return t
}

// module is the path of the module of this package.
const module = "advlab"

// ownVersion is advlab's version: what the kernel says in a notebook, whose cells are built in another module; else the
// commit that the program was built from.
func ownVersion(info *debug.BuildInfo, known string, env func(string) (string, bool)) string {
	if version, ok := env(notebook.Variable); ok && version != "" {
		return version
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && info.Main.Path == module:
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ", with changes"
		}
	}
	if revision != "" {
		return revision + modified
	}
	if known == "" {
		return "local"
	}
	return known
}

// machine describes the processor, from the text of /proc/cpuinfo where there is one.
func machine(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "model name" {
			return fmt.Sprintf("%s, %d in use", strings.TrimSpace(value), runtime.NumCPU())
		}
	}
	return fmt.Sprintf("%s, %d in use", runtime.GOARCH, runtime.NumCPU())
}
