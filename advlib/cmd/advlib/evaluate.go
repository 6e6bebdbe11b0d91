package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/impact"
	"advlab/advlib/lab"
	"advlab/advlib/report"
)

// evaluation is the flags of the command.
type evaluation struct {
	modelFlags
	dataFlags
	norm, preset, format string
	eps, attacks         []string
	certify              []string
	output               string
	attackFile           string
	quiet                bool
	alone, fresh, strict bool
	seed                 uint64
	batch                int
	certifyTimeout       time.Duration
	minRobust            float64
	minCertified         float64
	lowerBound           bool
	impact               string
}

func newEvaluate() *cobra.Command {
	var e evaluation
	cmd := &cobra.Command{
		Use:     "evaluate",
		Short:   "Attack a model on labelled data, certify it, and report its robust accuracy",
		Long:    evaluateHelp(),
		Example: evaluateExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("evaluate takes flags only, not %q: name the model with --model and the data with --data", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	e.flags(cmd.Flags())
	return cmd
}

// flags are those of the command.
func (e *evaluation) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	e.modelFlags.add(f)
	e.dataFlags.add(f, labelled, 0)
	f.StringVar(&e.norm, "norm", "linf", "norm of the perturbation: linf, l2, l1 or l0")
	f.StringSliceVar(&e.eps, "eps", nil, "budgets ε, in units of the box: 0.01,0.02 or 8/255")
	f.StringSliceVar(&e.attacks, "attacks", nil, "attacks, separated by commas: "+names(attacks))
	f.StringVar(&e.attackFile, "attack-file", "", "attacks in JSON, one or a list, as attack.JSON writes them")
	f.StringVar(&e.preset, "preset", "standard", "set of attacks: "+names(presets))
	f.StringSliceVar(&e.certify, "certify", nil, "certificates, separated by commas: "+strings.Join(certify.Index().Names(), ", "))
	f.BoolVar(&e.alone, "alone", false, "run each attack on all examples, to compare attacks")
	f.Uint64Var(&e.seed, "seed", 0, "seed of all randomness; the same seed gives the same numbers")
	f.IntVar(&e.batch, "batch", 128, "most examples attacked at once")
	f.StringVar(&e.impact, "impact", "", "add what the attacks bring about, with the costs of wrong answers in this file in JSON")
	f.StringVar(&e.format, "format", "", "text, json, csv, html or svg (default: by the ending of --output, or text)")
	f.StringVarP(&e.output, "output", "o", "", "file to write the report to; - or nothing means the standard output")
	f.DurationVar(&e.certifyTimeout, "certify-timeout", time.Minute, "time for each example of --certify complete, at each ε")
	f.Float64Var(&e.minRobust, "min-robust", 0, "fail if the robust accuracy at any ε is below this share, 0..1")
	f.Float64Var(&e.minCertified, "min-certified", 0, "fail if the certified accuracy at any ε is below this share, 0..1")
	f.BoolVar(&e.lowerBound, "lower-bound", false, "compare --min-robust and --min-certified with the lower end of the 95 % interval")
	f.BoolVar(&e.strict, "strict", false, "fail if the model's logits are not finite for an example; otherwise it is left out, and named")
	f.BoolVar(&e.fresh, "fresh", false, "do not go on from what an interrupted evaluation has left")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "no progress on the standard error")
}

// evaluateHelp is the text of the command, with the attacks and certificates that there are.
func evaluateHelp() string {
	return `evaluate runs attacks on a model and reports, for each budget ε, the accuracy that is left in the
worst case over all of them, example by example. It is an upper bound on the true robust accuracy, which a better
attack lowers. Each attack is run only on the examples that those before it left standing, so its line says what is
left after it; with --alone each is run on all examples, for a table that compares attacks. The worst case is the same.

The model is a file in ONNX (opset 8 to 28) that returns logits, or, with --store, one that package zoo or
advlib harden trained and package lab kept. A function written in a notebook cannot be rebuilt from the command line: what is kept of
a model are its weights, and of the store's only the configurations of the zoo, zoo.MLP and zoo.CNN, say
what they are weights of. Evaluate such a model in its notebook, or export it.

The data is a file of NumPy's, numpy.savez("test.npz", x=x, y=y): x are the inputs [n, ...], y the n labels,
counted from 0. Arrays of other names are taken where they can be but one pair (images and labels, test_images and
test_labels, x_test and y_test, data and target, arr_0 and arr_1), or are named by --x and --y; one-hot labels, and floats
that are whole numbers, are taken as what they are, and it is said. With --limit the rest is not read. What comes
before the model is said by flags, in this order:

  --scale    brings the data to the units of --box, in which ε, distances, certificates and --domain are:
             --scale 1/255 for pixels stored as bytes, with the box 0,1
  --mean,    make the model one of such inputs: (x − mean)/std is computed inside of it, with one number or with one
  --std      for each channel, as torchvision.transforms.Normalize does outside of it. They are in the units of
             the box too: 123.675,116.28,103.53 for bytes is 123.675/255,116.28/255,103.53/255 after --scale 1/255
  --layout   moves the axes of the data to where the model has them. Without it the shapes say how, where they
             leave one way

What comes behind the model, where it does not return logits:

  --logits         names the output, if there are several
  --strip-softmax  leaves out the softmax or sigmoid at its end, which changes no prediction
  --probabilities  takes the logarithms of its probabilities, as of an average of softmaxes; of one number, p of
                   class 1, those of 1−p and p. A probability that is 0 in float32 counts as 1.2e-38 and has no gradient,
                   so that attacks are weaker than they look; the report says on how many examples. A softmax or sigmoid at
                   the end is left out instead
  --one-logit      takes 0 and z as the logits, for a binary model that returns one logit z of class 1

With --domain, a file such as

  [{"name": "age", "lo": 18, "hi": 100, "step": 1, "change": "rise only", "scale": 10},
   {"name": "job", "one_hot": 4, "change": "fixed"},
   {"name": "income", "lo": 0, "hi": 1e6, "scale": 1e5}]

attacks and certificates keep to what an attacker could really make of the inputs: an object for each feature in their
order, of one value, with "one_hot" of several; ranges from lo to hi, else those of --box; only every "step" from lo on;
"change" either way, fixed, rise only or fall only; ε counts in each feature's "scale", else 1. What is a function of
others, {"name": "rate", "formula": "ratio(errors, count)"}, follows them: "go doc advlib.Domain" has the formulas.

An evaluation that is interrupted, or killed, goes on from what it had found when the same command is given again;
--fresh begins anew. What is kept for that lies in the user's cache directory, or in ADVLAB_CACHE, until it is done.

Attacks (--attacks, separated by commas). Those without a budget look for the nearest adversarial example,
once for all ε, and count at an ε when it lies within. They are for Linf, L2 and L1 unless it says otherwise. In L0, ε
is a number of values that may change:
` + listed(attacks) + `

With --attack-file attacks are read from JSON, one or a list, with fields as the library documents them, such as
  [{"attack": "PGD", "Steps": 200, "Restarts": 3}, {"attack": "FMN", "Steps": 500}]
One that has no "Ball" or "Norm" of its own takes --norm and each ε.

Presets (--preset, without --attacks and --attack-file):
` + listed(presets) + `

Certificates (--certify, separated by commas) prove for each example that nothing within ε changes its class, for the
outputs as they are computed in float32. The certified accuracy is a lower bound of the true robust accuracy. In L0 there
are none. The last of these looks for counterexamples too, which count for the robust accuracy, and goes on for at most
--certify-timeout with each example:
` + certifiers() + `

With --impact the report is followed by what the attacks bring about at the largest ε: accuracy of each class and what is
taken for what, before and after; what wrong answers cost, and how often an attacker reaches those that matter; how
confident wrong answers are, and calibration; and harmless changes of the same size. The file has the costs:

  {"unit": "€", "default": 1, "pairs": [{"truth": "stop", "answer": "speed limit 50", "cost": 1000}]}

with classes by their names or numbers; {} counts each wrong answer as 1. Each pair is attacked on purpose, by PGD. In json
it is the field "impact" of the report; csv and svg are of it alone: a row for each example, and its pictures.

Formats (--format, or by the ending of --output): text, json (schema advlab.report/2), csv (a row for each example and
attack, and for each example and certificate), html (with --certify also the picture, and a verdict on each example), svg
(accuracy against ε).

With --min-robust the program fails if the robust accuracy at any ε is lower, so that it can gate a CI, and with
--min-certified if the accuracy that is certified by any of the methods is. The accuracy is that of the examples given; with
--lower-bound the lower end of its 95 % confidence interval (Wilson) is compared, which holds for the data's distribution
but for 1 in 40 tries. It also fails, and says which example, if one is both certified and broken: then a number is wrong.

` + exitStatuses
}

const evaluateExamples = `  advlib evaluate --model m.onnx --data test.npz --eps 8/255
  advlib evaluate --model m.onnx --data test.npz --norm l2 --eps 0.5,1 --attacks pgd,cw --limit 200
  advlib evaluate --model m.onnx --data test.npz --scale 1/255 --eps 0.1 --output report.html
  advlib evaluate --model m.onnx --data test.npz --scale 1/255 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --eps 2/255
  advlib evaluate --model m.onnx --data test.npz --eps 0.01,0.02,0.05 --certify ibp,crown --output report.html
  advlib evaluate --model m.onnx --data test.npz --eps 0.1 --preset standard --min-robust 0.4   # gate a CI
  advlib evaluate --model m.onnx --data test.npz --eps 0.02 --certify crown,complete --certify-timeout 10s --min-certified 0.8
  advlib evaluate --store 3f9c21 --data digits.npz --eps 0.1 --format csv`

// plan is what the flags ask for, checked.
type plan struct {
	evaluation
	source
	norm    advlib.Norm
	balls   []advlib.Ball
	file    examplesFile
	choices []choice
	proofs  []advlib.Certifier
	format  format
	form    string // its name, empty for text
	costs   impact.Costs
	impacts *impact.Report // once it is measured
}

// check refuses flags before anything is read or computed.
func (e evaluation) check(cmd *cobra.Command) (plan, error) {
	p := plan{evaluation: e}
	var err error
	if p.source, err = e.modelFlags.check(cmd); err != nil {
		return p, err
	}
	if p.file, err = e.dataFlags.check(); err != nil {
		return p, err
	}
	switch set := cmd.Flags().Changed; {
	case (len(e.attacks) > 0 || e.attackFile != "") && set("preset"):
		return p, misuse("--preset is given together with --attacks or --attack-file: choose one")
	case set("min-robust") && !(e.minRobust >= 0 && e.minRobust <= 1):
		return p, misuse("--min-robust: %g is not a share: give a number from 0 to 1", e.minRobust)
	case set("min-certified") && !(e.minCertified >= 0 && e.minCertified <= 1):
		return p, misuse("--min-certified: %g is not a share: give a number from 0 to 1", e.minCertified)
	case set("min-certified") && len(e.certify) == 0:
		return p, misuse("--min-certified is given without --certify: say how to certify, as in --certify crown")
	case e.lowerBound && !set("min-robust") && !set("min-certified"):
		return p, misuse("--lower-bound is given without --min-robust or --min-certified: it says what these are compared with")
	case e.preset == none && len(e.certify) == 0:
		return p, misuse("--preset none is given without --certify: there is nothing to measure")
	case set("certify-timeout") && !slices.Contains(e.certify, "complete"):
		return p, misuse("--certify-timeout is given without --certify complete: the other methods take the time they need")
	case e.certifyTimeout < time.Millisecond:
		return p, misuse("--certify-timeout: %v is below 1ms: give a time such as 10s", e.certifyTimeout)
	case e.batch < 1:
		return p, misuse("--batch: %d is below 1", e.batch)
	}
	if e.impact != "" {
		if p.costs, err = impact.CostsFile(e.impact); err != nil {
			return p, statusError{misused, fmt.Errorf("--impact: %w", err)}
		}
	}
	if p.norm, err = normOf(e.norm); err != nil {
		return p, err
	}
	eps, err := budgets(e.eps)
	if err != nil {
		return p, err
	}
	for _, ε := range eps {
		p.balls = append(p.balls, p.norm.Ball(ε))
	}
	if p.choices, err = p.chosen(); err != nil {
		return p, err
	}
	if p.proofs, err = proofs(e.certify, p.norm, e.certifyTimeout); err != nil {
		return p, err
	}
	if p.format, err = formatOf(e.format, e.output); err != nil {
		return p, err
	}
	p.form = cmp.Or(e.format, strings.TrimPrefix(filepath.Ext(e.output), "."))
	if err = writable(e.output); err != nil {
		return p, statusError{misused, fmt.Errorf("--output: %w", err)}
	}
	return p, e.use()
}

// chosen returns the attacks that are named, or the preset.
func (p plan) chosen() (all []choice, err error) {
	if len(p.attacks) > 0 || p.attackFile == "" {
		if all, err = picked(p.attacks, p.preset, p.norm); err != nil {
			return nil, err
		}
	}
	if p.attackFile == "" {
		return all, nil
	}
	more, err := inFile(p.attackFile, p.balls)
	return append(all, more...), err
}

func (e evaluation) run(cmd *cobra.Command) error {
	p, err := e.check(cmd)
	if err != nil {
		return err
	}
	return p.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
}

// run does what is planned; what is found goes to out, what is to be said of it to progress.
func (p plan) run(ctx context.Context, out, progress io.Writer) error {
	// Nearly all of the heap is the data, one array without pointers: to collect often costs little, and to let garbage
	// grow until there is as much of it, which is Go's default, costs as much memory again.
	debug.SetGCPercent(25)
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
	attacks, left, err := p.possible(c)
	if err != nil {
		return err
	}
	for _, a := range attacks {
		if _, err := a.Threat(c); err != nil {
			return statusError{misused, fmt.Errorf("%v: %w", a, err)}
		}
	}
	report, err := p.measure(ctx, progress, c, examples, attacks)
	if report != nil && left != "" {
		report.Warnings = append(report.Warnings, left)
	}
	contradicts := errors.Is(err, advlib.ErrContradiction)
	if report == nil || err != nil && !report.Interrupted && !contradicts {
		return err
	}
	if writeErr := p.write(out, report); writeErr != nil {
		return writeErr
	}
	if contradicts {
		return err
	}
	if err != nil {
		return statusError{interrupted, fmt.Errorf("interrupted: the report is of what was found until then; give the same command " +
			"again to go on from there")}
	}
	return p.judge(progress, report)
}

// possible returns the attacks on a classifier, and if some of a preset are left out, because the classifier has no
// gradient, a sentence on it. Attacks that are named must be possible.
func (p plan) possible(c *advlib.Classifier) (all []advlib.Attack, left string, err error) {
	all = attacksOn(p.balls, p.choices, c.Classes())
	var none *advlib.NoGradientError
	if !errors.As(c.Differentiable(), &none) {
		return all, "", nil
	}
	operators := strings.Join(none.Operators, ", ")
	able := slices.DeleteFunc(slices.Clone(all), func(a advlib.Attack) bool {
		_, err := a.Threat(c)
		return errors.As(err, new(*advlib.NoGradientError))
	})
	if len(able) == len(all) {
		return all, "", nil
	}
	if len(p.attacks) > 0 || p.attackFile != "" {
		return nil, "", misuse("%s: the model has no gradient, as its operator %s has none: give --attacks square, which needs none",
			p.asked(), operators)
	}
	if len(able) == 0 && len(all) > 0 {
		square, err := find("attack", "square", attacks, p.norm)
		if err != nil {
			return nil, "", err
		}
		able = attacksOn(p.balls, []choice{square}, c.Classes())
	}
	return able, fmt.Sprintf("the model has no gradient, as its operator %s has none: of --preset %s only Square is run, which "+
		"needs none; the robust accuracy is what "+
		"random search finds", operators, p.preset), nil
}

// asked returns the flags that name attacks.
func (p plan) asked() string {
	var flags []string
	if len(p.attacks) > 0 {
		flags = append(flags, "--attacks "+strings.Join(p.attacks, ","))
	}
	if p.attackFile != "" {
		flags = append(flags, "--attack-file "+p.attackFile)
	}
	return strings.Join(flags, " ")
}

// measure evaluates, from what an interrupted evaluation has left on, and keeps what it finds until it is done.
func (p *plan) measure(ctx context.Context, out io.Writer, c *advlib.Classifier, e *advlib.Examples,
	attacks []advlib.Attack) (*advlib.Report, error) {
	progress := newProgress(out, p.quiet)
	progress.line("%s on %d examples of %s, %d attacks, backend %s", c.Name(), e.Len(), e.Name, len(attacks), backend.InfoOf(c.Backend()).Name)
	for _, note := range c.Notes() {
		progress.line("%s", note)
	}
	defer progress.hear()()

	settings := advlib.Settings{Seed: p.seed, BatchSize: p.batch, Alone: p.alone, Strict: p.strict, Balls: p.balls,
		OnProgress: progress.update}
	keeping := ctx
	if p.fresh {
		keeping = lab.Fresh(ctx)
	}
	journal, err := lab.NewJournal(keeping, c, c.Name()+" on "+e.Name)
	if err != nil {
		progress.say("nothing is kept, should it be interrupted: %v", err)
	} else {
		settings.Journal = journal
	}
	collection, err := p.collect(&settings, c, e)
	if err != nil {
		return nil, err
	}
	report, err := settings.Evaluate(ctx, c, e, attacks, p.proofs...)
	if err == nil && collection != nil {
		p.impacts, err = collection.Report(ctx, report)
	}
	progress.clear()
	if journal != nil {
		if n := journal.Recalled(); n > 0 {
			progress.line("%d batches were taken from an evaluation that was interrupted", n)
		}
		if err == nil {
			journal.Clear()
		}
	}
	return report, err
}

// collect makes the evaluation keep what the report on its impact needs; nil where none is asked for.
func (p *plan) collect(settings *advlib.Settings, c *advlib.Classifier, e *advlib.Examples) (*impact.Collection, error) {
	if p.impact == "" {
		return nil, nil
	}
	collection, err := impact.Collect(impact.Settings{Settings: *settings, Costs: p.costs}, c, e)
	if err != nil {
		return nil, statusError{misused, fmt.Errorf("--impact: %s: %w", p.impact, err)}
	}
	settings.OnResult = collection.Add
	return collection, nil
}

// judge compares the robust and the certified accuracies, or their lower bounds, with what they must be.
func (p plan) judge(out io.Writer, r *advlib.Report) error {
	err := p.below("robust accuracy", "--min-robust", p.minRobust, r, r.Robust)
	if n := len(r.LeftOut); n > 0 && (p.minRobust > 0 || p.minCertified > 0) {
		fmt.Fprintf(out, "advlib: the accuracies are of the other examples: %d were left out, for which the model's logits are not "+
			"finite; --strict fails on them\n", n)
	}
	if err == nil && p.minRobust > 0 && r.Sanity.Masked() {
		fmt.Fprintln(out, "advlib: --min-robust is reached, but the gradients cannot be trusted: see the line \"sanity\" of the report")
	}
	certified := func(ball report.Named) advlib.Rate {
		rate, _ := r.Certified(ball)
		return rate
	}
	if err := errors.Join(err, p.below("certified accuracy", "--min-certified", p.minCertified, r, certified)); err != nil {
		return statusError{tooLow, err}
	}
	return nil
}

// below returns an error if an accuracy is below its least share in any ball.
func (p plan) below(what, flag string, least float64, r *advlib.Report, accuracy func(report.Named) advlib.Rate) error {
	if least == 0 {
		return nil
	}
	var low []string
	for _, ball := range r.Balls() {
		rate := accuracy(ball)
		value := rate.Value()
		if p.lowerBound {
			value, _ = rate.Wilson()
		}
		if !(value >= least) {
			low = append(low, fmt.Sprintf("%v at %v (%d of %d examples, 95 %% interval %s)", rate, ball, rate.Count, rate.Of, rate.Interval()))
		}
	}
	if len(low) == 0 {
		return nil
	}
	if p.lowerBound {
		what = "lower bound of the " + what
	}
	return fmt.Errorf("the %s is below %s %g: %s", what, flag, least, strings.Join(low, ", "))
}
