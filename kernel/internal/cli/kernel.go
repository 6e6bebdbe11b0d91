package cli

import (
	"github.com/spf13/cobra"

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

It ends with the kernel, and removes the kernel's temporary directory. SIGINT interrupts the running cell, also
while it compiles; SIGTERM ends the kernel. ADVLAB_RAW_ERRORS=1 has compile errors reported as text instead of
as HTML; ADVLAB_KERNEL_LOG names a file for GoNB's own log.`,
		Example: `  go run ./kernel kernel -f connection.json`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
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
			status, err := session.Run(p, connection)
			if err != nil {
				return err
			}
			if status != 0 {
				return statusError{status: status}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&connection, "connection", "f", "", "Jupyter's connection `FILE`")
	cmd.Flags().StringVar(&workspace, "workspace", "", "the prepared workspace, instead of that of the checkout one is in")
	return cmd
}
