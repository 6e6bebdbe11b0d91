package session

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// gitLimit is how long git may take to tell the commit: a kernel's start waits for it.
const gitLimit = 2 * time.Second

// sourcesVersion tells which sources of advlab cells compile: the checkout's commit, with ", changed" where files of
// advlib or its dependencies differ from it. Without git, or outside of a repository, it is built, the commit that the
// program was built from, of which `go run` knows nothing ("(devel)").
func sourcesVersion(checkout, built string) string {
	ctx, cancel := context.WithTimeout(context.Background(), gitLimit)
	defer cancel()
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", checkout, "--no-optional-locks"}, args...)...)
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	// A checkout that was copied into another repository has that one's commit, which says nothing.
	if prefix, err := git("rev-parse", "--show-prefix"); checkout == "" || err != nil || prefix != "" {
		return built
	}
	commit, err := git("rev-parse", "--verify", "HEAD")
	if err != nil {
		return built
	}
	changes, err := git("status", "--porcelain", "--", "advlib", "go.mod", "go.sum")
	if err != nil {
		return built
	}
	if changes != "" {
		commit += ", changed"
	}
	return commit
}
