package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/place"
	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/setup"
)

func (a *app) setupCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "setup [--json] [--offline]",
		Short: "Prepare all that notebooks need; quick when it is done",
		Long: `setup prepares, in the user's cache directory, all that notebooks need: a Python environment with
JupyterLab, XLA's plugin for the CPU, GoNB and its helpers, a module that pins advlab's dependencies, and
compiled packages. It downloads about 350 MB once (pip and Go with the user's own mirrors) and needs some minutes;
afterwards it only compares, and makes again what was damaged or has changed.

demo, lab, run and test call it by themselves. It writes nothing outside of the cache: "advlab install" makes
the kernel known to another Jupyter.`,
		Example: `  go run ./kernel setup
  go run ./kernel setup --json          what was done, for a script
  ADVLAB_CACHE=/big/disk/advlab go run ./kernel setup`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			printer := progress.New(a.err)
			p, _, results, err := a.prepare(cmd.Context(), printer)
			if asJSON && results != nil {
				if jsonErr := a.printJSON(setupReport{Cache: p.Root, Checkout: p.Checkout, Seconds: printer.Elapsed().Seconds(),
					Steps: results}); jsonErr != nil {
					return jsonErr
				}
			}
			if err != nil {
				return err
			}
			if !asJSON {
				fmt.Fprintf(a.out, "Ready in %.1f s: %s\n", printer.Elapsed().Seconds(), place.Short(p.Root))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was done as JSON on standard output")
	return cmd
}

// setupReport is what `setup --json` prints.
type setupReport struct {
	Cache    string         `json:"cache"`
	Checkout string         `json:"checkout"`
	Seconds  float64        `json:"seconds"`
	Steps    []setup.Result `json:"steps"`
}
