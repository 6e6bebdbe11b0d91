package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// Version returns the version of advlib that is part of every key: the module's version with those of GoMLX. A library
// built from a checkout has no version of its own, so its source files are hashed where they lay when they were
// compiled; what was kept by one state of the checkout is not taken for the work of another. Where they are not found
// any more, as after a build with -trimpath, the version is plain "devel".
func Version() string { return version() }

var version = sync.OnceValue(func() string {
	v := "devel"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == "advlab" && m.Replace == nil && m.Version != "" && m.Version != "(devel)" {
				v = m.Version
			}
		}
	}
	if v == "devel" || strings.Contains(v, "+dirty") {
		if _, file, _, ok := runtime.Caller(0); ok {
			if sum, err := sourceHash(filepath.Dir(filepath.Dir(file))); err == nil {
				v = "devel-" + sum[:16]
			}
		}
	}
	return fmt.Sprintf("advlib %s, gomlx %s", v, moduleVersion("github.com/gomlx/gomlx"))
})

// sourceHash hashes the Go files below a directory, tests left out.
func sourceHash(root string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", filepath.ToSlash(rel), len(content))
		h.Write(content)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// moduleVersion returns the version of a module in this program, or "unknown".
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				if m.Replace != nil {
					return m.Replace.Path + " " + m.Replace.Version
				}
				return m.Version
			}
		}
	}
	return "unknown"
}
