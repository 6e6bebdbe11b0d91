package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [--json]",
		Short: "Say what is there, what is missing, and what to type",
		Long: `doctor looks at each thing that advlab needs or can use, and says for each that is missing what to type. It
changes nothing and needs no network. Git is not needed.

The exit status is 3 if something is missing that nothing works without.`,
		Example: `  go run ./kernel doctor
  go run ./kernel doctor --json | python3 -m json.tool`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.here()
			if err != nil {
				return err
			}
			items := doctor.Examine(cmd.Context(), p)
			sick := doctor.Sick(items)
			if asJSON {
				if err := a.printJSON(struct {
					OK    bool          `json:"ok"`
					Items []doctor.Item `json:"items"`
				}{!sick, items}); err != nil {
					return err
				}
			} else {
				a.printItems(items)
			}
			if sick {
				return statusError{status: unprepared}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return cmd
}

func (a *app) printItems(items []doctor.Item) {
	for _, i := range items {
		state := "ok"
		switch {
		case !i.OK && i.Required:
			state = "MISSING"
		case !i.OK:
			state = "without"
		}
		fmt.Fprintf(a.out, "%-8s %-28s %s\n", state, i.Name, i.Detail)
		if i.Fix != "" {
			fmt.Fprintf(a.out, "%-8s %-28s → %s\n", "", "", i.Fix)
		}
	}
	if doctor.Sick(items) {
		fmt.Fprintln(a.out, "\nSomething is missing that nothing works without: type what stands after →, from the top.")
	} else {
		fmt.Fprintln(a.out, "\nAll that is needed is there.")
	}
}
