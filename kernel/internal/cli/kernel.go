package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/guard"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/session"
)

func (a *app) kernelCommand() *cobra.Command {
	var connection, workspace string
	cmd := &cobra.Command{
		Use:   "kernel -f FILE [--workspace DIR]",
		Short: "Run a kernel for Jupyter, which calls this by itself",
		Long: `kernel runs one notebook's kernel for the connection file that Jupyter has written. The kernelspecs call it;
there is hardly a reason to type it. It needs neither the checkout nor the network.

It ends with the kernel, and leaves nothing behind. SIGINT interrupts the running cell, also while it compiles;
SIGTERM ends the kernel. Three more variables are for it:
  ADVLAB_CELL_LIMIT  how long a cell may take, such as 10m; then it is stopped with the error Timeout
  ADVLAB_HISTORY     file of the cells that were executed, for the history of consoles; "off": none is kept
  ADVLAB_KERNEL_LOG  file for GoNB's own log`,
		Example: `  go run ./kernel kernel -f connection.json`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if connection == "" {
				return misuse("kernel needs -f FILE, the connection file that Jupyter writes; to open a notebook, type `advlab lab`")
			}
			var p place.Place
			var err error
			if workspace != "" {
				if p, err = place.At(workspace); err != nil {
					return statusError{misused, err}
				}
			} else if p, err = a.here(); err != nil {
				return err
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program, which guards GoNB: %w", err)
			}
			// Not the command's context: a SIGINT is for the cell.
			ctx := context.WithoutCancel(cmd.Context())
			return session.Run(ctx, p, connection, session.Options{Version: version(), Program: program})
		},
	}
	cmd.Flags().StringVarP(&connection, "connection", "f", "", "Jupyter's connection `FILE`")
	cmd.Flags().StringVar(&workspace, "workspace", "", "the prepared workspace, instead of that of the checkout one is in")
	return cmd
}

// guardCommand is what the kernel starts between itself and GoNB.
func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use:                session.GuardCommand + " DIR COMMAND [ARG...]",
		Short:              "Run GoNB for a kernel, and end all that it leaves",
		Hidden:             true,
		DisableFlagParsing: true, // they are GoNB's
		RunE: func(_ *cobra.Command, args []string) error {
			if status := guard.Run(args); status != 0 {
				return statusError{status: status}
			}
			return nil
		},
	}
}
