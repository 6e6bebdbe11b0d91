package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"advlab/advlib/cachedir"
)

// Variable names the environment variable with the directories, separated by colons, that are searched first. It is
// go-xla's, so that one setting serves programs with and without advlab.
const Variable = "PJRT_PLUGIN_LIBRARY_PATH"

// Origin says how a plugin came to be where it was found.
type Origin string

// Where plugins come from, in the order of the search.
const (
	FromVariable Origin = Variable             // a directory named by the user
	FromGoXLA    Origin = "go-xla's installer" // or the system's LD_LIBRARY_PATH, as go-xla searches it
	FromSetup    Origin = "advlab setup"       // the cache's pjrt directory
	FromPython   Origin = "Python wheel"       // $VIRTUAL_ENV, or the environment that set-up made
)

// Plugin is a plugin that was found.
type Plugin struct {
	Platform Platform
	Path     string // absolute
	Origin   Origin
}

// Place is a place that was searched.
type Place struct {
	Path   string // a directory, a pattern below an environment, or a variable's name
	Origin Origin
	Why    string // why nothing was taken from it
}

// NotFoundError says that a platform has no plugin, where it was looked for, and what to type.
type NotFoundError struct {
	Platform Platform
	Looked   []Place
}

// Error lists the places, one a line, and ends with the remedy.
func (e *NotFoundError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "plugin: no PJRT plugin for %s; looked in", e.Platform)
	for _, place := range e.Looked {
		fmt.Fprintf(&s, "\n  %s", place.Path)
		if place.Path != "$"+string(place.Origin) {
			fmt.Fprintf(&s, " (%s)", place.Origin)
		}
		fmt.Fprintf(&s, ": %s", place.Why)
	}
	fmt.Fprintf(&s, "\nto get it, %s", e.Platform.remedy())
	return s.String()
}

// Remedy says what to type to get the plugin, without the list of places.
func (e *NotFoundError) Remedy() string { return e.Platform.remedy() }

// Find returns the platform's plugin, the first of: one in a directory of PJRT_PLUGIN_LIBRARY_PATH; one that go-xla
// installed; the one that `advlab setup` put into the cache; the wheel in the active Python environment
// ($VIRTUAL_ENV) or in the one that set-up made. Directories of /etc/ld.so.conf, which go-xla searches too, are not.
//
// It only looks at names and sizes: whether the file can be loaded shows when package backend opens it. When nothing
// is found the error is a *NotFoundError. XLA is used on Linux only; elsewhere nothing is ever found.
func Find(platform Platform) (Plugin, error) {
	if platform != CPU && platform != CUDA {
		return Plugin{}, fmt.Errorf("plugin: unknown platform %q: use %q or %q", platform, CPU, CUDA)
	}
	if runtime.GOOS != "linux" {
		return Plugin{}, &NotFoundError{platform, []Place{{runtime.GOOS, FromGoXLA, "advlab uses XLA on Linux only; " +
			"elsewhere the pure Go backend works without a plugin"}}}
	}
	return environment().find(platform)
}

// search is what a search depends on.
type search struct {
	named       []string // directories of Variable
	namedIsSet  bool
	goxla       []string // where go-xla installs and looks
	setup       string   // the cache's pjrt directory
	pythons     []string // roots of Python environments
	cacheFailed error    // why the cache's place is not known
}

// environment reads the process's environment. It creates no directory.
func environment() search {
	s := search{}
	value, set := os.LookupEnv(Variable)
	s.namedIsSet = set
	for dir := range strings.SplitSeq(value, string(os.PathListSeparator)) {
		if dir != "" {
			s.named = append(s.named, dir)
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		lib := filepath.Join(home, ".local", "lib")
		s.goxla = append(s.goxla, filepath.Join(lib, "go-xla"), filepath.Join(lib, "go-xla", "nvidia"), filepath.Join(lib, "gomlx", "pjrt"))
	}
	s.goxla = append(s.goxla, "/usr/local/lib/go-xla", "/usr/local/lib/go-xla/nvidia", "/usr/local/lib/gomlx/pjrt")
	for dir := range strings.SplitSeq(os.Getenv("LD_LIBRARY_PATH"), ":") {
		if filepath.IsAbs(dir) {
			s.goxla = append(s.goxla, dir)
		}
	}
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		s.pythons = append(s.pythons, env)
	}
	root, err := cachedir.Root()
	if err != nil {
		s.cacheFailed = err
		return s
	}
	s.setup = filepath.Join(root, "pjrt")
	s.pythons = append(s.pythons, filepath.Join(root, "python"))
	return s
}

// group is directories of one origin.
type group struct {
	origin Origin
	dirs   []string
}

func (s search) find(platform Platform) (Plugin, error) {
	var looked []Place
	groups := []group{{FromVariable, s.named}, {FromGoXLA, s.goxla}}
	if s.setup != "" {
		groups = append(groups, group{FromSetup, []string{s.setup}})
	}
	if len(s.named) == 0 {
		why := "not set"
		if s.namedIsSet {
			why = "set, but empty"
		}
		looked = append(looked, Place{"$" + Variable, FromVariable, why})
	}
	for _, g := range groups {
		for _, dir := range g.dirs {
			path, why := inDirectory(dir, platform)
			if path != "" {
				return found(platform, path, g.origin)
			}
			looked = append(looked, Place{dir, g.origin, why})
		}
	}
	if s.cacheFailed != nil {
		looked = append(looked, Place{"$" + cachedir.Variable, FromSetup, s.cacheFailed.Error()})
	}
	for _, python := range s.pythons {
		path, why := inPython(python, platform)
		if path != "" {
			return found(platform, path, FromPython)
		}
		looked = append(looked, Place{python, FromPython, why})
	}
	return Plugin{}, &NotFoundError{platform, looked}
}

func found(platform Platform, path string, origin Origin) (Plugin, error) {
	// Cells run in directories of their own, so a relative path would not last.
	path, err := filepath.Abs(path)
	if err != nil {
		return Plugin{}, fmt.Errorf("plugin: %w", err)
	}
	return Plugin{platform, path, origin}, nil
}

// inDirectory returns the platform's plugin in dir by the names that go-xla accepts: the platform's own name before
// one with a version (cpu_v0.98.0), a higher version before a lower one. Otherwise it says why there is none.
func inDirectory(dir string, platform Platform) (path, why string) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "does not exist"
	case err != nil:
		return "", err.Error()
	}
	type candidate struct {
		file    string
		version []int // nil for the platform's own name
	}
	var candidates []candidate
	for _, entry := range entries {
		name := pluginName(entry.Name())
		version, versioned := strings.CutPrefix(name, string(platform)+"_v")
		switch {
		case name == string(platform):
			candidates = append(candidates, candidate{file: entry.Name()})
		case versioned:
			candidates = append(candidates, candidate{entry.Name(), numbers(version)})
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		if (a.version == nil) != (b.version == nil) {
			if a.version == nil {
				return -1
			}
			return 1
		}
		return slices.Compare(b.version, a.version)
	})
	why = "holds no " + platform.FileName()
	for _, c := range candidates {
		path := filepath.Join(dir, c.file)
		reason := unusable(path)
		if reason == "" {
			return path, ""
		}
		why = c.file + " " + reason
	}
	return "", why
}

// pluginName returns NAME of pjrt_c_api_NAME_plugin.so, pjrt_plugin_NAME.so or pjrt-plugin-NAME.so, else "".
func pluginName(file string) string {
	stem, isLibrary := strings.CutSuffix(file, ".so")
	if !isLibrary {
		return ""
	}
	if name, ok := strings.CutPrefix(stem, "pjrt_c_api_"); ok {
		name, ok = strings.CutSuffix(name, "_plugin")
		if !ok {
			return ""
		}
		return name
	}
	for _, prefix := range []string{"pjrt_plugin_", "pjrt-plugin-"} {
		if name, ok := strings.CutPrefix(stem, prefix); ok {
			return name
		}
	}
	return ""
}

// numbers splits 0.98.0 into its numbers, so that 0.100 comes after 0.98. It is never nil.
func numbers(version string) []int {
	ns := []int{}
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		ns = append(ns, n)
	}
	return ns
}

// inPython returns the wheel's plugin in a Python environment, or says why there is none.
func inPython(root string, platform Platform) (path, why string) {
	if _, err := os.Stat(root); err != nil {
		return "", "does not exist"
	}
	why = "holds no wheel with the plugin"
	for _, lib := range []string{"lib", "lib64"} {
		for _, wheel := range platform.wheelGlobs() {
			matches, err := filepath.Glob(filepath.Join(quote(root), lib, "python3*", "site-packages", wheel))
			if err != nil {
				return "", err.Error()
			}
			// The newest CUDA comes last by name: xla_cuda12, xla_cuda13.
			for _, match := range slices.Backward(matches) {
				reason := unusable(match)
				if reason == "" {
					return match, ""
				}
				why = match + " " + reason
			}
		}
	}
	return "", why
}

// quote escapes the characters of a path that Glob would take for a pattern.
func quote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// unusable says why a file cannot be a plugin, "" if it may be one.
func unusable(path string) string {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is a link to a missing file"
	case err != nil:
		return err.Error()
	case !info.Mode().IsRegular():
		return "is not a file"
	case info.Size() == 0:
		return "is empty"
	}
	return ""
}
