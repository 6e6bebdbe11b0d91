package setup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"advlab/kernel/internal/stamp"
)

// tools are the programs that GoNB starts, and GoNB itself.
var tools = []string{"gonb", "goimports", "gopls"}

func (m *machine) toolsStep() step {
	module, target := m.place.ToolsModule(), m.place.Tools()
	return step{
		name:  "tools",
		doing: "building gonb, goimports and gopls",
		stamp: "tools",
		inputs: func() (string, error) {
			// By content only: all checkouts share the tools.
			mod, err := os.ReadFile(filepath.Join(module, "go.mod"))
			if err != nil {
				return "", fmt.Errorf("%w: is the checkout complete?", err)
			}
			sum, err := os.ReadFile(filepath.Join(module, "go.sum"))
			return stamp.Hash(string(mod), string(sum), target, m.goTool.Version), err
		},
		make: func(ctx context.Context, w *work) (made, error) {
			if err := os.MkdirAll(target, 0o700); err != nil {
				return made{}, err
			}
			// -o with a trailing separator: all tools of go.mod into that folder. `go build` replaces, it does not
			// write into a program that may be running.
			args := []string{"build", "-trimpath", "-ldflags=-s", "-o", target + string(filepath.Separator), "tool"}
			if err := w.run(ctx, module, m.goEnv("CGO_ENABLED=0"), "go", args...); err != nil {
				return made{}, m.offlineHint(err)
			}
			var products []string
			for _, tool := range tools {
				products = append(products, filepath.Join(target, tool))
			}
			return made{products, strings.Join(tools, ", ")}, nil
		},
	}
}

// goEnv is the environment of our own builds: the user's proxies, but not a workspace or flags that would change what
// is built.
func (m *machine) goEnv(extra ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "GO111MODULE" || name == "GOROOT"
	})
	env = append(env, "GOWORK=off", "GOFLAGS=")
	if m.options.Offline {
		env = append(env, "GOPROXY=off")
	}
	return append(env, extra...)
}
