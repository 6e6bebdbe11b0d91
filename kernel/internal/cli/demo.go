package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/kernelspec"
	"advlab/kernel/internal/notebook"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/setup"
)

// demoNotebook is what `demo` executes, relative to the checkout.
var demoNotebook = filepath.Join("notebooks", "01-quickstart.ipynb")

func (a *app) demoCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "demo [--output DIR] [--offline]",
		Short: "Set up, execute the first notebook, print its table",
		Long: `demo prepares what is missing, executes notebooks/01-quickstart.ipynb in a real Jupyter kernel, prints the table it
ends in, and says where the executed notebook and a page of it are. The first time takes some minutes, mostly
for downloads and compiling; after that it takes seconds.

Each run gets a folder of its own in the cache, so nothing of yours is overwritten.`,
		Example: `  go run ./kernel demo
  go run ./kernel demo --output /tmp/demo`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "folder for the executed notebook and its page, instead of one in the cache")
	return cmd
}

func (a *app) demo(ctx context.Context, output string) error {
	printer := progress.New(a.err)
	p, err := a.here()
	if err != nil {
		return err
	}
	n, err := notebook.Read(filepath.Join(p.Checkout, demoNotebook))
	if err != nil {
		return statusError{unprepared, fmt.Errorf("%w: is the checkout complete?", err)}
	}
	if output == "" {
		output = filepath.Join(p.Root, "demo", time.Now().Format("20060102-150405"))
	}
	executed := filepath.Join(output, filepath.Base(demoNotebook))
	if same(executed, n.Path) {
		return misuse("--output %s would overwrite the notebook itself", output)
	}
	if err := loopback(); err != nil {
		return err
	}
	_, _, steps, err := a.prepare(ctx, printer)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(output, 0o755); err != nil {
		return misuse("%w", err)
	}
	page := executed[:len(executed)-len(".ipynb")] + ".html"
	prepared := printer.Elapsed()
	execution := a.execution(p, kernelspec.Name, executed, page)
	execution.Progress = func(e notebook.Event) { cellProgress(printer, n, e) }
	printer.Line("notebook", "executing %s", demoNotebook)
	fresh, err := execution.Run(ctx, n)
	if err != nil {
		if fresh != nil {
			printer.Line("notebook", "as far as it came: %s", place.Short(executed))
		}
		return err
	}
	ran := printer.Elapsed() - prepared

	fmt.Fprintln(a.out)
	if table := fresh.TextOf("table"); table != "" {
		fmt.Fprintf(a.out, "%s\n", table)
	} else {
		fmt.Fprintf(a.out, "(%s has no cell tagged \"table\" that prints text.)\n\n", demoNotebook)
	}
	for _, s := range steps {
		switch s.Status {
		case setup.Made:
			fmt.Fprintf(a.out, "%-12s %6.1f s  %s\n", s.Name, s.Seconds, s.Note)
		case setup.Without:
			fmt.Fprintf(a.out, "%-12s      -    without it: %s\n", s.Name, s.Note)
		}
	}
	fmt.Fprintf(a.out, "%-12s %6.1f s\n", "set-up", prepared.Seconds())
	fmt.Fprintf(a.out, "%-12s %6.1f s\n", "notebook", ran.Seconds())
	fmt.Fprintf(a.out, "\nexecuted notebook  %s\npage               %s\n", place.Short(executed), place.Short(page))
	fmt.Fprintf(a.out, "next               go run ./kernel lab\n")
	return nil
}
