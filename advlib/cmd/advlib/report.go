package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"advlab/advlib/report"
)

// reading is the flags of the command report.
type reading struct {
	format, output string
}

func newReport() *cobra.Command {
	var r reading
	cmd := &cobra.Command{
		Use:   "report FILE.json...",
		Short: "Print saved reports, and merge the parts of one evaluation",
		Long: `report reads reports that evaluate has written with --format json, or show.Save in a notebook, and writes
them in another form. Of several files, which must be of the same evaluation on different examples, it writes the whole,
in the order of the files: the same model, data, seed, attacks, budgets and certificates. Nothing is computed again.

Exit status:
  0  done
  2  unknown command or flag, or files that are missing, damaged, or no parts of one evaluation
  3  the report could not be written`,
		Example: `  advlib report report.json
  advlib report part1.json part2.json --output whole.html`,
		Args: func(_ *cobra.Command, files []string) error {
			if len(files) == 0 {
				return misuse("report takes the files of reports: name at least one, as evaluate --format json writes it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error { return r.run(cmd, files) },
	}
	f := cmd.Flags()
	f.StringVar(&r.format, "format", "", "text, json, csv, html or svg (default: by the ending of --output, or text)")
	f.StringVarP(&r.output, "output", "o", "", "file to write the report to; - or nothing means the standard output")
	return cmd
}

func (r reading) run(cmd *cobra.Command, files []string) error {
	form, err := formatOf(r.format, r.output)
	if err != nil {
		return err
	}
	if err := writable(r.output); err != nil {
		return statusError{misused, fmt.Errorf("--output: %w", err)}
	}
	whole, err := readReport(files[0])
	if err != nil {
		return err
	}
	for _, name := range files[1:] {
		part, err := readReport(name)
		if err != nil {
			return err
		}
		if whole, err = whole.Merge(part); err != nil {
			return statusError{misused, fmt.Errorf("%s: %w", name, err)}
		}
	}
	return writeTo(cmd.OutOrStdout(), r.output, form, whole)
}

// readReport reads a report from a file in JSON.
func readReport(name string) (*report.Report, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, statusError{misused, err}
	}
	r := new(report.Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, statusError{misused, fmt.Errorf("%s is no report in JSON: %w", name, err)}
	}
	return r, nil
}
