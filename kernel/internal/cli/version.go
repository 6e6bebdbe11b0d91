package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"advlab/advlib/cachedir"
	"advlab/kernel/internal/place"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, and where things lie",
		Example: `  go run ./kernel version`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			root, err := cachedir.Root()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "advlab    %s\n", version())
			fmt.Fprintf(a.out, "built by  %s for %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
			fmt.Fprintf(a.out, "cache     %s\n", root)
			if p, err := place.Here(); err == nil {
				fmt.Fprintf(a.out, "checkout  %s\nworkspace %s\n", p.Checkout, p.Space())
			} else {
				fmt.Fprintf(a.out, "checkout  none here\n")
			}
			return nil
		},
	}
}

// version is the commit that the program was built from, as far as the Go toolchain recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ", changed"
		}
	}
	if revision == "" {
		return info.Main.Version
	}
	return revision + changed
}
