package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/course"
	"advlab/kernel/internal/place"
)

func (a *app) newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Write an assignment to begin with",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("new writes an assignment, and got %q: new assignment NAME", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	folder := "course"
	assignment := &cobra.Command{
		Use:   "assignment NAME [--course FOLDER]",
		Short: "Write an assignment for nbgrader, with solutions and graded cells",
		Long: `new assignment writes source/NAME/NAME.ipynb into a course's folder, which is made if it is not there: a notebook
that shows nbgrader's solutions, checks, points and hidden tests in Go, and passes its own checks. A README.md beside
it, in the course's folder, has the commands from there to the feedback.`,
		Example: `  go run ./kernel new assignment week1 --course ~/adv101
  go run ./kernel lab ~/adv101`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return misuse("new assignment takes one name, such as week1, and got %q", args)
			}
			if err := course.Check(args[0]); err != nil {
				return misuse("%w", err)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.newAssignment(cmd.Context(), folder, args[0]) },
	}
	assignment.Flags().StringVar(&folder, "course", folder, "the course's `FOLDER`")
	cmd.AddCommand(assignment)
	return cmd
}

func (a *app) newAssignment(_ context.Context, folder, name string) error {
	p, err := a.here()
	if err != nil {
		return err
	}
	files, err := course.Write(folder, name, course.Tools{Python: p.Python(), Jupyter: p.Jupyter()})
	if err != nil {
		return misuse("%w", err)
	}
	for _, file := range files {
		fmt.Fprintln(a.out, place.Short(file))
	}
	return nil
}
