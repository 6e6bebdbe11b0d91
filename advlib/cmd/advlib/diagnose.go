package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/diagnose"
	"advlab/advlib/lab"
)

// examination is the flags of the command diagnose.
type examination struct {
	modelFlags
	dataFlags
	norm, eps                string
	attack, attackFile       string
	only, skip               []string
	queries, samples, points int
	failOn, advice           string
	seed                     uint64
	fresh, quiet             bool
	format, output           string
}

func newDiagnose() *cobra.Command {
	var e examination
	cmd := &cobra.Command{
		Use:     "diagnose",
		Short:   "Ask whether a robust accuracy is real, by the field's checklist",
		Long:    diagnoseHelp(),
		Example: diagnoseExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("diagnose takes flags only, not %q: name the model with --model and the data with --data", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	e.flags(cmd.Flags())
	return cmd
}

// flags are those of the command.
func (e *examination) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	e.modelFlags.add(f)
	e.dataFlags.add(f, labelled, 200)
	f.StringVar(&e.norm, "norm", "linf", "norm of the perturbation: linf, l2 or l1")
	f.StringVar(&e.eps, "eps", "", "budget ε, in units of the box: 0.1 or 8/255")
	f.StringVar(&e.attack, "attack", "",
		"the attack that the robust accuracy rests on (default: APGD-50 on the margin towards nine classes; see the help)")
	f.StringVar(&e.attackFile, "attack-file", "", "that attack in JSON, as attack.JSON writes it")
	f.StringSliceVar(&e.only, "only", nil, "run these checks only, separated by commas")
	f.StringSliceVar(&e.skip, "skip", nil, "leave these checks out")
	f.IntVar(&e.queries, "queries", 1000, "budget of black-box attacks for each example")
	f.IntVar(&e.samples, "samples", 10_000,
		"random points around the 16 examples that noise brings nearest to falling; a tenth around the others")
	f.IntVar(&e.points, "points", 64, "examples of the binarisation test")
	f.StringVar(&e.failOn, "fail-on", "", "masking: exit with status 1 if masking is suspected, or a check that decides was not run")
	f.StringVar(&e.advice, "advice", "", "file to write the attacks to that failed checks advise, as --attack-file reads them")
	f.Uint64Var(&e.seed, "seed", 0, "seed of all randomness; the same seed gives the same numbers")
	f.StringVar(&e.format, "format", "", "text, json or html (default: by the ending of --output, or text)")
	f.StringVarP(&e.output, "output", "o", "", "file to write the diagnosis to; - or nothing means the standard output")
	f.BoolVar(&e.fresh, "fresh", false, "do not go on from what an interrupted diagnosis has left")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "no progress on the standard error")
}

// diagnoseHelp is the text of the command, with the checks that there are.
func diagnoseHelp() string {
	var checks strings.Builder
	for _, c := range diagnose.Checks() {
		mark := " "
		if c.Decides {
			mark = "*"
		}
		fmt.Fprintf(&checks, "  %2d %s %-13s %s\n", c.Number, mark, c.Name, c.Asks)
	}
	return `diagnose runs the checklist of Carlini, Athalye, Pintor, Zimmermann and their co-authors on a model and
the attack that its robust accuracy rests on, and says for each check what was measured, when it passes, and what to do
next. It never says that a model is robust: what was measured is consistent with real robustness, or gradient masking is
suspected, and then the robust accuracy is an upper bound. Masking is suspected if one of the checks marked * fails.

Models and data are given as to advlib evaluate, whose help says more. Only the first 200 examples are taken, unless
--limit says otherwise: a diagnosis runs some forty attacks. Without --attack it is of APGD with 50 steps on the margin
towards each of the nine most likely classes; of a random model, in expectation; of one without a gradient, of Square.

What a failed check advises is Go to paste; --advice FILE writes the attacks among it for --attack-file, of this command
and of advlib evaluate.

Checks (--only, --skip):
` + strings.TrimRight(checks.String(), "\n") + `

With --fail-on masking the program exits with status 1 if masking is suspected. A check marked * that was not run counts
as if it had failed, since it would have been what fails; one that does not apply does not count.

Exit status:
  0    done; with --fail-on masking, no check that decides failed, and all that apply were run
  1    masking is suspected, or not ruled out, and --fail-on masking is given
  2    unknown command or flag, or a file that is missing, damaged or does not fit
  3    something that is needed is missing
  130  interrupted (Ctrl-C, SIGTERM); what was found is printed. The same command goes on from there`
}

const diagnoseExamples = `  advlib diagnose --model m.onnx --data test.npz --eps 8/255
  advlib diagnose --model m.onnx --data test.npz --norm l2 --eps 0.5 --attack pgd --output page.html
  advlib diagnose --model m.onnx --data test.npz --eps 0.1 --only gradients,loss,black-box --fail-on masking
  advlib diagnose --model m.onnx --data test.npz --eps 0.1 --attack pgd --advice next.json
  advlib evaluate --model m.onnx --data test.npz --eps 0.1 --attack-file next.json`

// diagnosisForms are the formats of --format.
var diagnosisForms = map[string]func(w io.Writer, d *diagnose.Diagnosis) error{
	"text": func(w io.Writer, d *diagnose.Diagnosis) error {
		_, err := io.WriteString(w, d.String())
		return err
	},
	"json": func(w io.Writer, d *diagnose.Diagnosis) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(d)
	},
	"html": func(w io.Writer, d *diagnose.Diagnosis) error {
		_, err := fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>%s</title>\n<body "+
			"style=\"font-family:sans-serif\">\n%s</body>\n</html>\n", html.EscapeString(d.Classifier), d.HTML())
		return err
	},
}

// examinationPlan is what the flags ask for, checked.
type examinationPlan struct {
	examination
	source
	ball   advlib.Ball
	choice *choice // nil for the default attack
	file   examplesFile
	form   func(w io.Writer, d *diagnose.Diagnosis) error
}

// check refuses flags before anything is read or computed.
func (e examination) check(cmd *cobra.Command) (examinationPlan, error) {
	p := examinationPlan{examination: e}
	var err error
	if p.source, err = e.modelFlags.check(cmd); err != nil {
		return p, err
	}
	if p.file, err = e.dataFlags.check(); err != nil {
		return p, err
	}
	switch {
	case e.eps == "":
		return p, misuse("--eps is missing: give the budget of the perturbation, such as 8/255")
	case e.failOn != "" && e.failOn != "masking":
		return p, misuse("--fail-on: %q is not known: there is masking", e.failOn)
	case e.attack != "" && e.attackFile != "":
		return p, misuse("--attack and --attack-file are both given: one attack is meant")
	case e.queries < 0 || e.samples < 0 || e.points < 0:
		return p, misuse("--queries, --samples and --points must not be below 0")
	}
	for _, name := range slices.Concat(e.only, e.skip) {
		if !slices.Contains(diagnose.Names(), name) {
			return p, misuse("there is no check %q: there are %s", name, strings.Join(diagnose.Names(), ", "))
		}
	}
	norm, err := normOf(e.norm)
	if err != nil {
		return p, err
	}
	eps, err := budgets([]string{e.eps})
	if err != nil {
		return p, err
	}
	if p.ball = norm.Ball(eps[0]); norm == advlib.L0 {
		return p, misuse("--norm: a diagnosis is for one of L1, L2 or Linf, not for L0")
	}
	var chosen []choice
	switch {
	case e.attack != "":
		chosen, err = picked([]string{e.attack}, "", norm)
	case e.attackFile != "":
		chosen, err = inFile(e.attackFile, []advlib.Ball{p.ball})
	}
	if err != nil {
		return p, err
	}
	if len(chosen) > 1 {
		return p, misuse("--attack-file has %d attacks: one is diagnosed", len(chosen))
	}
	if len(chosen) == 1 {
		p.choice = &chosen[0]
	}
	name := e.format
	if name == "" {
		name = strings.TrimPrefix(filepath.Ext(e.output), ".")
		if _, ok := diagnosisForms[name]; !ok {
			name = "text"
		}
	}
	if p.form = diagnosisForms[name]; p.form == nil {
		return p, misuse("--format: there is no format %q: there are text, json, html", name)
	}
	if err := writable(e.output); err != nil {
		return p, statusError{misused, fmt.Errorf("--output: %w", err)}
	}
	if e.advice != "" {
		if err := writable(e.advice); err != nil {
			return p, statusError{misused, fmt.Errorf("--advice: %w", err)}
		}
	}
	return p, e.use()
}

func (e examination) run(cmd *cobra.Command) error {
	p, err := e.check(cmd)
	if err != nil {
		return err
	}
	return p.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
}

// run diagnoses; what is found goes to out, what is to be said of it to progress.
func (p examinationPlan) run(ctx context.Context, out, progress io.Writer) error {
	examples, err := p.file.read()
	if err != nil {
		return err
	}
	if _, err := backend.Open(); err != nil {
		return err
	}
	c, err := p.classifier(examples.Shape())
	if err != nil {
		return err
	}
	if err := p.source.checkUnits(p.file, examples); err != nil {
		return err
	}
	if err := p.file.fit(c, examples, p.named.classes); err != nil {
		return err
	}
	bar := newProgress(progress, p.quiet)
	bar.line("%s on %d examples of %s, backend %s", c.Name(), examples.Len(), examples.Name, backend.InfoOf(c.Backend()).Name)
	s := diagnose.Settings{Ball: p.ball, Only: p.only, Skip: p.skip, Queries: p.queries, Samples: p.samples, Points: p.points, Seed: p.seed,
		OnCheck: func(k diagnose.Check, at, of int) { bar.line("check %d of %d: %s", at, of, k.Name) }}
	if p.choice != nil {
		s.Attack = p.choice.make(p.ball, c.Classes())[0]
	}
	keeping := ctx
	if p.fresh {
		keeping = lab.Fresh(ctx)
	}
	journal, err := lab.NewJournal(keeping, c, "diagnosis of "+c.Name()+" on "+examples.Name)
	if err != nil {
		bar.say("nothing is kept, should it be interrupted: %v", err)
	} else {
		s.Journal = journal
	}
	d, err := s.Run(ctx, c, examples)
	bar.clear()
	if d == nil {
		return err
	}
	if err := p.write(out, d); err != nil {
		return err
	}
	if err != nil {
		return statusError{interrupted, errors.New("interrupted: the diagnosis is of what was found until then; give the same command " +
			"again to go on from there")}
	}
	if journal != nil {
		journal.Clear()
	}
	if p.advice != "" {
		text, err := json.MarshalIndent(d.Advice(), "", " ")
		if err == nil {
			err = renameio.WriteFile(p.advice, append(text, '\n'), 0o644)
		}
		if err != nil {
			return fmt.Errorf("writing the advised attacks: %w", err)
		}
	}
	return p.judge(progress, d)
}

// write writes the diagnosis whole, to the file or to out, or leaves what was there.
func (p examinationPlan) write(out io.Writer, d *diagnose.Diagnosis) error {
	return writeWhole(out, p.output, "the diagnosis", func(w io.Writer) error { return p.form(w, d) })
}

// judge is what --fail-on asks for.
func (p examinationPlan) judge(progress io.Writer, d *diagnose.Diagnosis) error {
	if p.failOn == "" {
		return nil
	}
	if d.Masking() {
		fmt.Fprintln(progress, "advlib: --fail-on masking: masking is suspected")
		return exitStatus(tooLow)
	}
	for _, f := range d.With(diagnose.NotRun) {
		if f.Decides {
			fmt.Fprintf(progress, "advlib: --fail-on masking: the check %s, which decides, was not run: %s\n", f.Name, f.Why)
			return exitStatus(tooLow)
		}
	}
	return nil
}
