package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/kernelspec"
	"advlab/kernel/internal/notebook"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/session"
)

// runFlags are the flags of `run`.
type runFlags struct {
	set     []string
	output  string
	html    bool
	check   bool
	kernel  string
	timeout time.Duration
	json    bool
}

// runReport is what became of one notebook; `run --json` prints a list of them.
type runReport struct {
	Notebook string                `json:"notebook"`
	Status   string                `json:"status"` // ok, failed, wrong
	Seconds  float64               `json:"seconds"`
	Executed string                `json:"executed,omitempty"` // path
	HTML     string                `json:"html,omitempty"`     // path
	Error    string                `json:"error,omitempty"`
	Cells    []cellReport          `json:"cells"`
	Checks   []notebook.Comparison `json:"checks,omitempty"`
}

type cellReport struct {
	Cell    int     `json:"cell"` // counted from 1, text cells included
	Seconds float64 `json:"seconds"`
}

func (a *app) runCommand() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run [--check] [--set NAME=VALUE] [--output PATH] [--html] NB...",
		Short: "Execute notebooks headless, with parameters and checks",
		Long: `run executes notebooks from top to bottom, each in a fresh kernel of its own and in its own folder, and says
how long each cell took. It leaves the notebooks as they are; --output and --html write what was executed.

--set gives a variable of the cell tagged "parameters" another value. Numbers keep their type: 0.1, 8./255.

--check compares numbers with those saved in the notebook. In cells tagged "check" the notebook prints lines

    check NAME VALUE TOLERANCE        such as    check clean-accuracy 0.966 0.004

and for each NAME the fresh VALUE may differ from the saved one by at most the saved TOLERANCE, in the value's own
units. A NAME that is missing on either side fails, and so does NaN, and a notebook that checks nothing.`,
		Example: `  go run ./kernel run notebooks/01-quickstart.ipynb
  go run ./kernel run --check notebooks/*.ipynb
  go run ./kernel run --set epsilon=0.2 --set seed=7 --output /tmp/out --html notebooks/01-quickstart.ipynb
  go run ./kernel run --json notebooks/01-quickstart.ipynb > result.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misuse("run needs the path of a notebook, such as notebooks/01-quickstart.ipynb")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), args, flags) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.set, "set", nil, "give a parameter another value, `NAME=VALUE`; may be repeated")
	f.StringVarP(&flags.output, "output", "o", "", "write the executed notebook to `PATH`: a file .ipynb, or a folder")
	f.BoolVar(&flags.html, "html", false, "write an HTML page beside the executed notebook")
	f.BoolVar(&flags.check, "check", false, "compare the checked numbers with the saved ones")
	f.StringVar(&flags.kernel, "kernel", kernelspec.Name, "kernelspec: "+strings.Join(kernelspec.Names, " or "))
	f.DurationVar(&flags.timeout, "timeout", 0, "longest time for one cell, such as 90s or 5m; 0 means none")
	f.BoolVar(&flags.json, "json", false, "print the outcome as JSON on standard output")
	return cmd
}

// job is one notebook that is about to be executed; all are read and checked before the first runs.
type job struct {
	saved  *notebook.Notebook
	fresh  *notebook.Notebook // with its parameters set
	output string
	html   string
}

func (a *app) run(ctx context.Context, paths []string, flags runFlags) error {
	jobs, err := plan(paths, flags)
	if err != nil {
		return statusError{misused, err}
	}
	if err := loopback(); err != nil {
		return err
	}
	printer := progress.New(a.err)
	p, _, _, err := a.prepare(ctx, printer)
	if err != nil {
		return err
	}
	var reports []runReport
	var failures int
	for _, j := range jobs {
		report, err := a.runOne(ctx, p, j, flags, printer)
		reports = append(reports, report)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			failures++
			fmt.Fprintf(a.err, "advlab: %s: %v\n", j.saved.Path, err)
		}
	}
	if flags.json {
		if err := a.printJSON(reports); err != nil {
			return err
		}
	} else if len(jobs) > 1 {
		fmt.Fprintf(a.out, "%d notebooks ok, %d not\n", len(jobs)-failures, failures)
	}
	if failures > 0 {
		return statusError{status: failed}
	}
	return nil
}

// plan reads the notebooks and decides where their outputs go. It refuses whatever would fail later or overwrite a
// notebook that is read.
func plan(paths []string, flags runFlags) ([]job, error) {
	if flags.timeout < 0 {
		return nil, fmt.Errorf("--timeout %v is negative", flags.timeout)
	}
	if flags.check && len(flags.set) > 0 {
		return nil, errors.New("--check compares with the saved numbers, which other parameters would change: use --set without --check")
	}
	if flags.html && flags.output == "" {
		return nil, errors.New("--html needs --output PATH, to say where the page is written")
	}
	toFile := strings.HasSuffix(flags.output, ".ipynb")
	if toFile && len(paths) > 1 {
		return nil, fmt.Errorf("--output %s names one file for %d notebooks: name a folder", flags.output, len(paths))
	}
	var jobs []job
	taken := map[string]bool{}
	for _, path := range paths {
		n, err := notebook.Read(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("notebook %s does not exist", path)
		}
		if err != nil {
			return nil, err
		}
		j := job{saved: n}
		if j.fresh, err = n.Set(flags.set); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if flags.check {
			if numbers, err := n.Numbers(); err != nil {
				return nil, fmt.Errorf("%s: the saved outputs: %w", path, err)
			} else if len(numbers) == 0 {
				return nil, fmt.Errorf("%s: the saved outputs: %w", path, notebook.ErrNoChecks)
			}
		}
		if flags.output != "" {
			j.output = flags.output
			if !toFile {
				j.output = filepath.Join(flags.output, filepath.Base(path))
			}
			if taken[j.output] {
				return nil, fmt.Errorf("two notebooks would be written to %s", j.output)
			}
			taken[j.output] = true
			if same(j.output, path) {
				return nil, fmt.Errorf("--output would overwrite the notebook %s itself", path)
			}
			if flags.html {
				j.html = strings.TrimSuffix(j.output, ".ipynb") + ".html"
			}
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func (a *app) runOne(ctx context.Context, p place.Place, j job, flags runFlags, printer *progress.Printer) (runReport, error) {
	report := runReport{Notebook: j.saved.Path, Status: "failed", Cells: []cellReport{}}
	name := strings.TrimSuffix(filepath.Base(j.saved.Path), ".ipynb")
	if j.output != "" {
		if err := os.MkdirAll(filepath.Dir(j.output), 0o755); err != nil {
			report.Error = err.Error()
			return report, err
		}
	}
	execution := a.execution(p, flags.kernel, j.output, j.html)
	execution.Timeout = flags.timeout
	execution.Progress = func(e notebook.Event) {
		cellProgress(printer, j.fresh, e)
		if e.Seconds >= 0 {
			report.Cells = append(report.Cells, cellReport{e.Cell + 1, e.Seconds})
		}
	}
	printer.Line("notebook", "%s", j.saved.Path)
	start := time.Now()
	fresh, err := execution.Run(ctx, j.fresh)
	report.Seconds = time.Since(start).Seconds()
	if fresh != nil {
		report.Executed, report.HTML = j.output, j.html
	}
	if err != nil {
		report.Error = err.Error()
		return report, err
	}
	report.Status = "ok"
	if flags.check {
		if report.Checks, err = notebook.Compare(j.saved, fresh); err != nil {
			report.Status, report.Error = "wrong", err.Error()
			return report, err
		}
		var wrong []string
		for _, c := range report.Checks {
			printer.Line("check", "%v", c)
			if c.Wrong != "" {
				wrong = append(wrong, c.Name)
			}
		}
		if len(wrong) > 0 {
			err := fmt.Errorf("%d of %d checked numbers are wrong: %s", len(wrong), len(report.Checks), strings.Join(wrong, ", "))
			report.Status, report.Error = "wrong", err.Error()
			return report, err
		}
	}
	if !flags.json {
		fmt.Fprintf(a.out, "%s: ok, %d cells, %.1f s%s\n", name, len(report.Cells), report.Seconds, checked(report.Checks))
		if j.output != "" {
			fmt.Fprintf(a.out, "  executed notebook: %s\n", place.Short(j.output))
		}
		if j.html != "" {
			fmt.Fprintf(a.out, "  page:              %s\n", place.Short(j.html))
		}
	}
	return report, nil
}

func checked(comparisons []notebook.Comparison) string {
	if len(comparisons) == 0 {
		return ""
	}
	return fmt.Sprintf(", %d checked numbers hold", len(comparisons))
}

// execution is how this program executes notebooks: with the prepared Jupyter. The history is that of people.
func (a *app) execution(p place.Place, kernel, output, html string) notebook.Execution {
	return notebook.Execution{
		Python: p.PythonExe(),
		Env:    append(session.JupyterEnv(p, os.Environ()), session.History+"=off"),
		Kernel: kernel,
		Output: output,
		HTML:   html,
	}
}

// cellProgress says which cell has ended, how long it took, and how it begins.
func cellProgress(printer *progress.Printer, n *notebook.Notebook, e notebook.Event) {
	if e.Seconds < 0 {
		return
	}
	state := ""
	if e.Failed {
		state = "FAILED "
	}
	printer.Line("cell", "%2d/%d %6.1f s  %s%s", e.Cell+1, len(n.Cells), e.Seconds, state, firstLine(n.Cells[e.Cell].Source))
}

// firstLine returns the first line that says something, shortened.
func firstLine(source string) string {
	const most = 70
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		if line == "" || line == "%%" || strings.HasPrefix(line, "import") || line == ")" || strings.HasPrefix(line, `"`) {
			continue
		}
		if runes := []rune(line); len(runes) > most {
			line = string(runes[:most-1]) + "…"
		}
		return line
	}
	return ""
}
