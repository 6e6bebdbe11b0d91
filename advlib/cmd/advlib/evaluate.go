package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
)

// evaluation is the flags of the command.
type evaluation struct {
	model, store, data     string
	norm, preset, format   string
	eps, attacks, box      []string
	layout, logits, output string
	scale, backend         string
	classes                []string
	stripSoftmax, quiet    bool
	seed                   uint64
	batch, limit           int
	minRobust              float64
}

func newEvaluate() *cobra.Command {
	var e evaluation
	cmd := &cobra.Command{
		Use:   "evaluate",
		Short: "Attack a model on labelled data, and report its robust accuracy",
		Long: `evaluate runs attacks on a model and reports, for each budget ε, the accuracy that is left: under each
attack, and in the worst case over all of them, example by example. It is an upper bound on the true robust
accuracy, which a better attack lowers.

The model is a file in ONNX (opset 8 to 20) that returns logits, or, with --store, one that package zoo trained
and package lab kept. A function written in a notebook cannot be rebuilt from the command line: what is kept of
a model are its weights, and of the store's only the configurations of the zoo, zoo.MLP and zoo.CNN, say
what they are weights of. Evaluate such a model in its notebook, or export it.

The data is a file of NumPy's, numpy.savez("test.npz", x=x, y=y): x are the inputs [n, ...], y the n labels,
counted from 0. Preprocessing belongs inside of the model: x and ε are in the units of --box.

Attacks (--attacks, separated by commas). Those without a budget look for the nearest adversarial example,
once for all ε, and count at an ε when it lies within:
` + listed(attacks) + `

Presets (--preset, without --attacks):
` + listed(presets) + `

Formats (--format, or by the ending of --output): text, json (schema advlab.report/1), csv (a row for each
example and attack), html.

` + exitStatuses,
		Example: `  advlib evaluate --model m.onnx --data test.npz --eps 8/255
  advlib evaluate --model m.onnx --data test.npz --norm l2 --eps 0.5,1 --attacks pgd,cw --limit 200
  advlib evaluate --model m.onnx --data test.npz --scale 1/255 --eps 0.1 --output report.html
  advlib evaluate --model m.onnx --data test.npz --eps 0.1 --preset standard --min-robust 0.4   # gate a CI
  advlib evaluate --store 3f9c21 --data digits.npz --eps 0.1 --format csv`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("evaluate takes flags only, not %q: name the model with --model and the data with --data", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&e.model, "model", "", "model in ONNX")
	f.StringVar(&e.store, "store", "", "model of the store, by the beginning of its key")
	f.StringVar(&e.data, "data", "", "labelled examples, .npz with x and y")
	f.StringVar(&e.scale, "scale", "1", "factor for x: 1/255 brings bytes to 0..1")
	f.IntVar(&e.limit, "limit", 0, "use the first N examples only; 0 means all")
	f.StringSliceVar(&e.box, "box", []string{"0", "1"}, "lowest and highest value of an input: LO,HI")
	f.StringVar(&e.norm, "norm", "linf", "norm of the perturbation: linf, l2 or l1")
	f.StringSliceVar(&e.eps, "eps", nil, "budgets ε, in units of the box: 0.01,0.02 or 8/255")
	f.StringSliceVar(&e.attacks, "attacks", nil, "attacks, separated by commas: "+names(attacks))
	f.StringVar(&e.preset, "preset", "standard", "set of attacks: "+names(presets))
	f.Uint64Var(&e.seed, "seed", 0, "seed of all randomness; the same seed gives the same numbers")
	f.IntVar(&e.batch, "batch", 128, "most examples attacked at once")
	f.StringVar(&e.layout, "layout", "file", "axes of the data: file (as the model's file), channels-last or channels-first")
	f.StringVar(&e.logits, "logits", "", "name of the model's output with the logits, if it has several")
	f.BoolVar(&e.stripSoftmax, "strip-softmax", false, "leave out the softmax that the model ends with")
	f.StringSliceVar(&e.classes, "classes", nil, "names of the classes, separated by commas")
	f.StringVar(&e.backend, "backend", "", "where to compute: auto, xla:cpu, xla:cuda or go (default: ADVLAB_BACKEND, or the best there is)")
	f.StringVar(&e.format, "format", "", "text, json, csv or html (default: by the ending of --output, or text)")
	f.StringVarP(&e.output, "output", "o", "", "file to write the report to; - or nothing means the standard output")
	f.Float64Var(&e.minRobust, "min-robust", 0, "fail if the robust accuracy at any ε is below this share, 0..1")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "no progress on the standard error")
	return cmd
}

// plan is what the flags ask for, checked.
type plan struct {
	evaluation
	norm    advlib.Norm
	eps     []float64
	box     advlib.Box
	scale   float64
	attacks []advlib.Attack
	format  format
}

// check refuses flags before anything is read or computed.
func (e evaluation) check(cmd *cobra.Command) (plan, error) {
	p := plan{evaluation: e}
	var err error
	switch set := cmd.Flags().Changed; {
	case e.model == "" && e.store == "":
		return p, misuse("--model is missing: name a file in ONNX, or a model of the store with --store")
	case e.model != "" && e.store != "":
		return p, misuse("--model and --store are both given: one model is evaluated")
	case e.data == "":
		return p, misuse("--data is missing: name a file .npz with x and y")
	case len(e.attacks) > 0 && set("preset"):
		return p, misuse("--attacks and --preset are both given: choose one")
	case set("min-robust") && !(e.minRobust >= 0 && e.minRobust <= 1):
		return p, misuse("--min-robust: %g is not a share: give a number from 0 to 1", e.minRobust)
	case e.limit < 0:
		return p, misuse("--limit: %d is below 0", e.limit)
	case e.batch < 1:
		return p, misuse("--batch: %d is below 1", e.batch)
	}
	if p.norm, err = normOf(e.norm); err != nil {
		return p, err
	}
	if p.eps, err = budgets(e.eps); err != nil {
		return p, err
	}
	if p.box, err = boxOf(e.box); err != nil {
		return p, err
	}
	if p.scale, err = number("scale", e.scale); err != nil {
		return p, err
	}
	if p.attacks, err = chosen(e.attacks, e.preset, p.norm, p.eps); err != nil {
		return p, err
	}
	if _, err = layoutOf(e.layout); err != nil {
		return p, err
	}
	if p.format, err = formatOf(e.format, e.output); err != nil {
		return p, err
	}
	if err = writable(e.output); err != nil {
		return p, statusError{misused, fmt.Errorf("--output: %w", err)}
	}
	if e.backend != "" {
		if err := backend.Use(e.backend); err != nil {
			return p, statusError{misused, fmt.Errorf("--backend: %w", err)}
		}
	}
	return p, nil
}

func (e evaluation) run(cmd *cobra.Command) error {
	p, err := e.check(cmd)
	if err != nil {
		return err
	}
	examples, err := dataset.NPZScaled(p.data, p.scale)
	if err != nil {
		return statusError{misused, fmt.Errorf("--data: %w", err)}
	}
	if p.limit > 0 {
		examples = examples.First(p.limit)
	}
	if _, err := backend.Open(); err != nil {
		return err
	}
	c, err := p.classifier(examples)
	if err != nil {
		return err
	}
	examples.Classes = p.classes
	if err := examples.Check(advlib.Spec{Name: c.Name(), Input: c.Input(), Box: c.Box()}, c.Classes()); err != nil {
		return statusError{misused, fmt.Errorf("--data: %s: %w", p.data, err)}
	}
	for _, a := range p.attacks {
		if _, err := a.Threat(c); err != nil {
			return statusError{misused, fmt.Errorf("%v: %w", a, err)}
		}
	}
	progress := newProgress(cmd.ErrOrStderr(), p.attacks, p.quiet)
	progress.begin(c, examples)
	report, err := advlib.Settings{Seed: p.seed, BatchSize: p.batch, OnProgress: progress.update}.Evaluate(cmd.Context(), c, examples, p.attacks)
	if report == nil {
		return err
	}
	stopped := err != nil && errors.Is(err, context.Canceled)
	if err != nil && !stopped {
		return err
	}
	if stopped {
		report.Warnings = append(report.Warnings, fmt.Sprintf("interrupted: %d of %d attacks were finished, and the gradients were not checked", len(report.Attacks), len(p.attacks)))
	}
	if writeErr := p.write(cmd.OutOrStdout(), report); writeErr != nil {
		return writeErr
	}
	if stopped {
		return fmt.Errorf("%w after %d of %d attacks", context.Canceled, len(report.Attacks), len(p.attacks))
	}
	return p.judge(report)
}

// judge compares the robust accuracies with --min-robust.
func (p plan) judge(r *advlib.Report) error {
	var low []string
	for _, ball := range r.Balls() {
		if rate := r.Robust(ball); rate.Value() < p.minRobust {
			low = append(low, fmt.Sprintf("%v at %v (%d of %d examples)", rate, ball, rate.Count, rate.Of))
		}
	}
	if len(low) == 0 {
		return nil
	}
	return statusError{tooLow, fmt.Errorf("the robust accuracy is below --min-robust %g: %s", p.minRobust, strings.Join(low, ", "))}
}
