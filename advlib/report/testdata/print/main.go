// Command print prints saved reports: of several, which must be parts of one evaluation, the whole.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"advlab/advlib/report"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(files []string) error {
	var whole *report.Report
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		part := new(report.Report)
		if err := json.Unmarshal(text, part); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if whole == nil {
			whole = part
		} else if whole, err = whole.Merge(part); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if whole == nil {
		return fmt.Errorf("usage: print REPORT.json...")
	}
	_, err := fmt.Print(whole)
	return err
}
