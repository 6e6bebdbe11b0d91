package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/defense"
	"advlab/advlib/detect"
	"advlab/advlib/lab"
	"advlab/advlib/show"
	"advlab/advlib/zoo"
)

func newDetect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "detect",
		Short: "Fit detectors of adversarial inputs, apply them, and measure them",
		Long: `detect puts a detector of adversarial inputs in front of a model. "detect fit" fits one to clean examples, and keeps
it in the store of package lab, beside the models; "detect apply" says of each input of a file whether it is rejected;
"detect report" attacks model and detector together, by attacks that do not know the detector and by one that does.

The model is named by the flags of evaluate, whose help explains them. They must be given each time: the store keeps the
detector, and not how its model is read. A detector before a model with other features is refused.`,
		Example: fitExamples + "\n" + applyExamples + "\n" + detectReportExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("there is no %q of detect: there are fit, apply, report", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDetectFit(), newDetectApply(), newDetectReport())
	return cmd
}

// flagsOnly refuses arguments that are no flags.
func flagsOnly(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return misuse("%s takes flags only, not %q: name the model with --model and the data with --data", what, args[0])
		}
		return nil
	}
}

const detectExits = `Exit status:
  0    done
  2    unknown command or flag, or a file that is missing, damaged or does not fit
  3    something that is needed is missing, or it could not be computed
  130  interrupted (Ctrl-C, SIGTERM)`

// fitting is the flags of detect fit.
type fitting struct {
	modelFlags
	dataFlags
	clean              string
	held, rate         float64
	method, methodFile string
	attack, norm, eps  string
	seed               uint64
	quiet              bool
}

const fitExamples = `  advlib detect fit --model m.onnx --data train.npz --clean held.npz --method density
  advlib detect fit --model m.onnx --data train.npz --method lid --eps 0.2 --rate 0.01`

func newDetectFit() *cobra.Command {
	var f fitting
	cmd := &cobra.Command{
		Use:   "fit",
		Short: "Fit a detector to a model and clean examples, and keep it",
		Long: `fit fits a detector to clean examples, and sets its threshold so that the share --rate of clean inputs is rejected. It
is kept in the store of package lab with the examples; the key by which apply and report find it is printed on the
standard output, and nothing else.

The examples of --data may be those that the model was trained on. The threshold is set on others, which --clean names:
examples that the model has seen look more normal than those to come. Without --clean the share --held of the data is
held back for it.

Methods (--method); those with * learn from adversarial examples where --eps says how large, made by --attack out of a
quarter of the data, and those with ** always do:
` + listedDetectors() + `

With --method-file the method is read from JSON, with its fields as the library documents them, such as
  {"method": "FeatureSqueezing", "Squeezers": [{"transform": "BitDepth", "Bits": 3}, {"transform": "Gaussian", "Sigma": 0.6}]}

` + detectExits,
		Example: fitExamples,
		Args:    flagsOnly("detect fit"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.add(cmd.Flags())
	return cmd
}

func listedDetectors() string {
	var b strings.Builder
	for _, m := range detect.Methods() {
		mark := ""
		if m.Learns {
			mark = "**"
		}
		if m.Optional {
			mark = "*"
		}
		fmt.Fprintf(&b, "  %-12s %-2s %s\n", m.Name, mark, m.About)
	}
	return strings.TrimRight(b.String(), "\n")
}

func detectorNames() string {
	var all []string
	for _, m := range detect.Methods() {
		all = append(all, m.Name)
	}
	return strings.Join(all, ", ")
}

func (f *fitting) add(s *pflag.FlagSet) {
	s.SortFlags = false
	f.modelFlags.add(s)
	f.dataFlags.add(s, "clean labelled examples to fit it to, .npz with x and y", 0)
	s.StringVar(&f.clean, "clean", "", "other clean examples, which set the threshold (default: some of the data)")
	s.Float64Var(&f.held, "held", 0.2, "without --clean, the share of the data that is held back to set the threshold")
	s.Float64Var(&f.rate, "rate", 0.05, "share of clean inputs that may be rejected, between 0 and 1")
	s.StringVar(&f.method, "method", "", "detector: "+detectorNames())
	s.StringVar(&f.methodFile, "method-file", "", "detector in JSON, as detect.JSON writes it")
	s.StringVar(&f.attack, "attack", "pgd", "attack that makes the adversarial examples to learn from: "+names(attacks))
	s.StringVar(&f.norm, "norm", "linf", "norm of the perturbation of these: linf, l2, l1 or l0")
	s.StringVar(&f.eps, "eps", "", "budget ε of these, in units of the box: 0.1 or 8/255")
	s.Uint64Var(&f.seed, "seed", 0, "seed of all randomness; the same seed gives the same detector")
	s.BoolVarP(&f.quiet, "quiet", "q", false, "no progress on the standard error")
}

// fitPlan is what the flags ask for, checked.
type fitPlan struct {
	fitting
	source
	file, others examplesFile
	by           detect.Method
	learn        *choice
	ball         advlib.Ball
}

// check refuses flags before anything is read or computed.
func (f fitting) check(cmd *cobra.Command) (fitPlan, error) {
	p := fitPlan{fitting: f}
	set := cmd.Flags().Changed
	var err error
	if p.source, err = f.modelFlags.check(cmd); err != nil {
		return p, err
	}
	if p.file, err = f.dataFlags.check(); err != nil {
		return p, err
	}
	switch {
	case f.method == "" && f.methodFile == "":
		return p, misuse("--method is missing: there are %s", detectorNames())
	case f.method != "" && f.methodFile != "":
		return p, misuse("--method and --method-file are both given: one detector is fitted")
	case !(f.rate > 0 && f.rate < 1):
		return p, misuse("--rate: %g is not between 0 and 1: it is the share of clean inputs that may be rejected", f.rate)
	case set("held") && f.clean != "":
		return p, misuse("--held is given together with --clean: nothing is held back where other examples set the threshold")
	case !(f.held > 0 && f.held < 1):
		return p, misuse("--held: %g is not between 0 and 1: it is the share of the examples that is held back", f.held)
	case (set("attack") || set("norm")) && f.eps == "":
		return p, misuse("--attack and --norm are given without --eps: they say by which adversarial examples a detector learns")
	}
	if f.clean != "" {
		if p.others, err = f.dataFlags.file("clean", f.clean); err != nil {
			return p, err
		}
		p.others.First = 0
	}
	learns, optional := false, false
	if p.by, learns, optional, err = f.chosen(); err != nil {
		return p, err
	}
	switch {
	case learns && !optional && f.eps == "":
		return p, misuse("--eps is missing: %v learns from adversarial examples, and this says how large they are", p.by)
	case !learns && f.eps != "":
		return p, misuse("--eps is given, but %v learns from clean examples alone: leave it out", p.by)
	}
	if f.eps != "" {
		if err := p.teacher(); err != nil {
			return p, err
		}
	}
	return p, f.use()
}

// chosen returns the method, and whether it learns from adversarial examples.
func (f fitting) chosen() (m detect.Method, learns, optional bool, err error) {
	if f.methodFile != "" {
		text, err := os.ReadFile(f.methodFile)
		if err != nil {
			return nil, false, false, misuse("--method-file: %w", err)
		}
		if m, err = detect.FromJSON(text); err != nil {
			return nil, false, false, misuse("--method-file: %s: %w", f.methodFile, err)
		}
	}
	for _, n := range detect.Methods() {
		if m == nil && n.Name == f.method || m != nil && fmt.Sprintf("%T", n.Method) == fmt.Sprintf("%T", m) {
			if m == nil {
				m = n.Method
			}
			return m, n.Learns, n.Optional, nil
		}
	}
	return nil, false, false, misuse("--method: there is no detector %q: there are %s", f.method, detectorNames())
}

// teacher reads how the adversarial examples are made.
func (p *fitPlan) teacher() error {
	norm, err := normOf(p.norm)
	if err != nil {
		return err
	}
	eps, err := budgets([]string{p.eps})
	if err != nil {
		return err
	}
	c, err := find("attack", p.attack, attacks, norm)
	if err != nil {
		return err
	}
	p.ball, p.learn = norm.Ball(eps[0]), &c
	return nil
}

func (f fitting) run(cmd *cobra.Command) error {
	p, err := f.check(cmd)
	if err != nil {
		return err
	}
	return p.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
}

// run fits; the key goes to out, what is to be said of it to said.
func (p fitPlan) run(ctx context.Context, out, said io.Writer) error {
	c, e, err := p.source.open(p.file)
	if err != nil {
		return err
	}
	d := detect.Data{Train: e, Rate: p.rate, Settings: advlib.Settings{Seed: p.seed}}
	if p.others.Path == "" {
		order := rand.New(rand.NewPCG(p.seed, 7)).Perm(e.Len())
		n := min(max(1, int(p.held*float64(e.Len()))), e.Len()-1)
		held, rest := order[:n], order[n:]
		slices.Sort(held)
		slices.Sort(rest)
		d.Clean, d.Train = e.Select(held), e.Select(rest)
	} else {
		if d.Clean, err = p.others.read(); err != nil {
			return err
		}
		if err := p.others.fit(c, d.Clean, p.named.classes); err != nil {
			return err
		}
	}
	if p.learn != nil {
		d.Attack = p.learn.make(p.ball, c.Classes())[0]
	}
	progress := newProgress(said, p.quiet)
	defer progress.hear()()
	progress.line("%v before %s, on %d examples of %s, threshold on %d others, backend %s", p.by, c.Name(), d.Train.Len(), e.Name,
		d.Clean.Len(), backend.InfoOf(c.Backend()).Name)
	d.Settings.OnProgress = progress.update
	s, err := detect.Screen(ctx, c, p.by, d)
	progress.clear()
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return statusError{misused, err}
	}
	key, err := s.Keep(ctx)
	if err != nil {
		return err
	}
	o, err := detect.Inspection{}.Run(ctx, s, d.Clean)
	if err != nil {
		return err
	}
	progress.line("kept: an input is rejected where its score is above %.4g; of the clean examples %v are accepted and classified rightly, "+
		"without the detector %v", s.Threshold, o.Clean, o.Accuracy)
	if o.Clean.Value() < o.Accuracy.Value()-s.Rate-0.05 {
		progress.say("what %v changes in accepted inputs costs that much: it is trained too little for these data; give it more Epochs, a "+
			"smaller BatchSize or a higher LearningRate by --method-file", p.by)
	}
	fmt.Fprintf(out, "%.12s\n", key)
	return nil
}

// open reads examples and the model that takes them.
func (s source) open(f examplesFile) (*advlib.Classifier, *advlib.Examples, error) {
	e, err := f.read()
	if err != nil {
		return nil, nil, err
	}
	if _, err := backend.Open(); err != nil {
		return nil, nil, err
	}
	c, err := s.classifier(e.Shape())
	if err != nil {
		return nil, nil, err
	}
	if err := s.checkUnits(f, e); err != nil {
		return nil, nil, err
	}
	return c, e, f.fit(c, e, s.named.classes)
}

// restore returns the detector of --detector before a model.
func restore(ctx context.Context, c *advlib.Classifier, key string) (*detect.Screened, error) {
	s, err := detect.Restore(ctx, c, key)
	if err == nil || ctx.Err() != nil {
		return s, err
	}
	return nil, statusError{misused, fmt.Errorf("--detector: %w%s", err, otherDetectors(key))}
}

// otherDetectors lists what there is where a key names nothing.
func otherDetectors(key string) string {
	entries, err := lab.List()
	if err != nil {
		return ""
	}
	var there strings.Builder
	for _, e := range entries {
		if e.Kind != "detector" || e.Damaged != "" {
			continue
		}
		if strings.HasPrefix(e.Key, key) {
			return "" // what is wrong is something else
		}
		fmt.Fprintf(&there, "\n  %.12s  %s", e.Key, e.Name)
	}
	if there.Len() == 0 {
		return "; none is kept in the store: fit one by advlib detect fit"
	}
	return "; there are" + there.String()
}

// applying is the flags of detect apply.
type applying struct {
	modelFlags
	dataFlags
	detector       string
	format, output string
}

const applyExamples = `  advlib detect apply --model m.onnx --detector 3f9c21 --data inputs.npz --output verdicts.csv`

func newDetectApply() *cobra.Command {
	var a applying
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Say of each input of a file whether a detector rejects it",
		Long: `apply says of each input its score, whether it is rejected, and which class the model gives it. The data needs no
labels. p is the share of clean inputs with a score at least as high: small for what looks adversarial.

Formats (--format, or by the ending of --output): csv (a row for each input: example, class, score, p, rejected), json
(schema advlab.verdicts/1), text (how many are rejected, and which).

` + detectExits,
		Example: applyExamples,
		Args:    flagsOnly("detect apply"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.run(cmd) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	a.modelFlags.add(f)
	f.StringVar(&a.detector, "detector", "", "detector of the store, by the beginning of its key")
	f.StringVar(&a.data, "data", "", "inputs, .npz with x")
	f.StringVar(&a.x, "x", "", "name of the array of inputs, if it is not x or another usual one")
	f.StringVar(&a.scale, "scale", "1", "factor for x: 1/255 brings bytes to 0..1")
	f.IntVar(&a.limit, "limit", 0, "use the first N inputs only; 0 means all")
	f.StringVar(&a.format, "format", "", "csv, json or text (default: by the ending of --output, or csv)")
	f.StringVarP(&a.output, "output", "o", "", "file to write to; - or nothing means the standard output")
	return cmd
}

// verdictsOf is what apply says.
type verdictsOf struct {
	Schema    string       `json:"schema"`
	Model     string       `json:"model"`
	Detector  string       `json:"detector"`
	Threshold float64      `json:"threshold"`
	Rate      float64      `json:"rate"`
	Data      string       `json:"data"`
	Inputs    []verdictRow `json:"inputs"`
}

// verdictRow is what is said of an input; Class is −1 where a logit is not finite.
type verdictRow struct {
	Example  int     `json:"example"`
	Class    int32   `json:"class"`
	Score    float64 `json:"score"`
	P        float64 `json:"p"`
	Rejected bool    `json:"rejected"`
}

// verdictForms are the formats of apply.
var verdictForms = map[string]func(w io.Writer, v verdictsOf) error{
	"csv": func(w io.Writer, v verdictsOf) error {
		c := csv.NewWriter(w)
		rows := [][]string{{"example", "class", "score", "p", "rejected"}}
		for _, r := range v.Inputs {
			rows = append(rows, []string{strconv.Itoa(r.Example), fmt.Sprint(r.Class), strconv.FormatFloat(r.Score, 'g', -1, 64),
				strconv.FormatFloat(r.P, 'g', -1, 64), strconv.FormatBool(r.Rejected)})
		}
		return c.WriteAll(rows)
	},
	"json": func(w io.Writer, v verdictsOf) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	},
	"text": func(w io.Writer, v verdictsOf) error {
		rejected := advlib.Rate{Of: len(v.Inputs)}
		var which strings.Builder
		for _, r := range v.Inputs {
			if r.Rejected {
				rejected.Count++
				fmt.Fprintf(&which, "  input %d, taken for class %d: score %.4g, p %.2g\n", r.Example, r.Class, r.Score, r.P)
			}
		}
		_, err := fmt.Fprintf(w, "%s before %s: of %d inputs of %s %d are rejected, %v %s, by a threshold of %.4g for %.4g %% of clean "+
			"inputs\n%s", v.Detector, v.Model, len(v.Inputs), v.Data, rejected.Count, rejected, rejected.Interval(), v.Threshold, 100*v.Rate,
			which.String())
		return err
	},
}

func (a applying) run(cmd *cobra.Command) error {
	source, err := a.modelFlags.check(cmd)
	if err != nil {
		return err
	}
	if a.detector == "" {
		return misuse("--detector is missing: name one of the store by its key, as advlib detect fit prints it")
	}
	file, err := a.dataFlags.check()
	if err != nil {
		return err
	}
	form, err := named(verdictForms, a.format, a.output, "csv", "csv, json, text")
	if err != nil {
		return err
	}
	if err := writable(a.output); err != nil {
		return statusError{misused, fmt.Errorf("--output: %w", err)}
	}
	if err := a.use(); err != nil {
		return err
	}
	x, err := file.Inputs()
	if err != nil {
		return statusError{misused, fmt.Errorf("--data: %w", err)}
	}
	n := x.Shape().Dimensions[0]
	e := &advlib.Examples{Name: a.data, X: x, Y: make([]int32, n)}
	if _, err := backend.Open(); err != nil {
		return err
	}
	c, err := source.classifier(e.Shape())
	if err != nil {
		return err
	}
	if err := source.checkUnits(file, e); err != nil {
		return err
	}
	if err := file.fit(c, e, nil); err != nil {
		return err
	}
	ctx := cmd.Context()
	s, err := restore(ctx, c, a.detector)
	if err != nil {
		return err
	}
	v := verdictsOf{"advlab.verdicts/1", c.Name(), s.String(), s.Threshold, s.Rate, a.data, []verdictRow{}}
	verdicts, err := s.Verdicts(ctx, x)
	if err != nil {
		return err
	}
	seen, err := s.Inspect(ctx, x)
	if err != nil {
		return err
	}
	for i, one := range verdicts {
		v.Inputs = append(v.Inputs, verdictRow{i, seen[i].Answer.Class(), one.Score, one.P, one.Flagged})
	}
	return writeWhole(cmd.OutOrStdout(), a.output, "the verdicts", func(w io.Writer) error { return form(w, v) })
}

// inspecting is the flags of detect report.
type inspecting struct {
	modelFlags
	dataFlags
	detector       string
	norm           string
	eps, attacks   []string
	attackFile     string
	best           string
	seed           uint64
	batch          int
	fresh, quiet   bool
	format, output string
}

const detectReportExamples = `  advlib detect report --model m.onnx --detector 3f9c21 --data test.npz --eps 0.1,0.2 --output report.html
  advlib detect report --model m.onnx --detector 3f9c21 --data test.npz --eps 0.2 --attacks fgm,pgd,square --best harden`

func newDetectReport() *cobra.Command {
	var i inspecting
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Attack a model with its detector, by attacks that know it and that do not",
		Long: `report measures the model behind its detector as what it is, a classifier that may reject: accuracy with and without
the detector, how many clean inputs are rejected, and how many adversarial ones, with ROC, AUC and the rate at 5 % false
positives. An example is robust if its clean input is accepted and classified rightly, and no input that an attack found
in the ball is accepted and misclassified.

The attacks of --attacks do not know the detector: they run on the model alone, and their results are shown to the whole.
Beside them there is always the adaptive attack of this detector. What only the former see is not security.

With --best the result is held against what it would imply (Tramèr 2022, arXiv:2107.11630): a detector that is more robust
at ε than the best classifier at ε/2 would make a better classifier, too, and so its attack was most likely too weak. It
never passes. --best names that classifier: a file in ONNX, a key of the store, both read by the flags of the model, or
harden, which trains one at ε/2 on the examples that the detector was fitted to.

Only the first 200 examples are taken, unless --limit says otherwise. A report that is interrupted goes on from what it
had found when the same command is given again; --fresh begins anew. Formats are those of evaluate; svg has the
detector's curves and scores.

` + detectExits,
		Example: detectReportExamples,
		Args:    flagsOnly("detect report"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return i.run(cmd) },
	}
	i.add(cmd.Flags())
	return cmd
}

func (i *inspecting) add(f *pflag.FlagSet) {
	f.SortFlags = false
	i.modelFlags.add(f)
	f.StringVar(&i.detector, "detector", "", "detector of the store, by the beginning of its key")
	i.dataFlags.add(f, labelled, 200)
	f.StringVar(&i.norm, "norm", "linf", "norm of the perturbation: linf or l2")
	f.StringSliceVar(&i.eps, "eps", nil, "budgets ε, in units of the box: 0.01,0.02 or 8/255")
	f.StringSliceVar(&i.attacks, "attacks", []string{"pgd"}, "attacks that do not know the detector, separated by commas: "+names(attacks))
	f.StringVar(&i.attackFile, "attack-file", "", "such attacks in JSON, one or a list, as attack.JSON writes them")
	f.StringVar(&i.best, "best", "", "the most robust classifier at ε/2 that is known: a file in ONNX, a key of the store, or harden")
	f.Uint64Var(&i.seed, "seed", 0, "seed of all randomness; the same seed gives the same numbers")
	f.IntVar(&i.batch, "batch", 128, "most examples attacked at once")
	f.StringVar(&i.format, "format", "", "text, json, csv, html or svg (default: by the ending of --output, or text)")
	f.StringVarP(&i.output, "output", "o", "", "file to write the report to; - or nothing means the standard output")
	f.BoolVar(&i.fresh, "fresh", false, "do not go on from what an interrupted report has left")
	f.BoolVarP(&i.quiet, "quiet", "q", false, "no progress on the standard error")
}

// inspectPlan is what the flags ask for, checked.
type inspectPlan struct {
	inspecting
	source
	file    examplesFile
	balls   []advlib.Ball
	choices []choice
	format  format
	against *advlib.Classifier // that --best names, unless one is hardened
}

// check refuses flags before anything is read or computed.
func (i inspecting) check(cmd *cobra.Command) (inspectPlan, error) {
	p := inspectPlan{inspecting: i}
	var err error
	if p.source, err = i.modelFlags.check(cmd); err != nil {
		return p, err
	}
	if i.detector == "" {
		return p, misuse("--detector is missing: name one of the store by its key, as advlib detect fit prints it")
	}
	if p.file, err = i.dataFlags.check(); err != nil {
		return p, err
	}
	if strings.EqualFold(filepath.Ext(i.best), ".onnx") {
		if _, err := os.Stat(i.best); err != nil {
			return p, misuse("--best: %w", err)
		}
	}
	norm, err := normOf(i.norm)
	switch {
	case err != nil:
		return p, err
	case norm != advlib.Norm(advlib.Linf) && norm != advlib.Norm(advlib.L2):
		return p, misuse("--norm: the attack that knows the detector is for linf and l2, not for %s", i.norm)
	case i.batch < 1:
		return p, misuse("--batch: %d is below 1", i.batch)
	}
	eps, err := budgets(i.eps)
	if err != nil {
		return p, err
	}
	for _, ε := range eps {
		p.balls = append(p.balls, norm.Ball(ε))
	}
	if cmd.Flags().Changed("attacks") || i.attackFile == "" {
		if p.choices, err = picked(i.attacks, "", norm); err != nil {
			return p, err
		}
	}
	if i.attackFile != "" {
		more, err := inFile(i.attackFile, p.balls)
		if err != nil {
			return p, err
		}
		p.choices = append(p.choices, more...)
	}
	forms := map[string]format{"svg": writeDetection}
	for name, form := range formats {
		if name != "svg" {
			forms[name] = form
		}
	}
	if p.format, err = named(forms, i.format, i.output, "text", "text, json, csv, html, svg"); err != nil {
		return p, err
	}
	if err = writable(i.output); err != nil {
		return p, statusError{misused, fmt.Errorf("--output: %w", err)}
	}
	return p, i.use()
}

func writeDetection(w io.Writer, r *advlib.Report) error {
	picture, err := show.Detection(r)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, picture.SVG())
	return err
}

func (i inspecting) run(cmd *cobra.Command) error {
	p, err := i.check(cmd)
	if err != nil {
		return err
	}
	return p.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
}

// run measures; what is found goes to out, what is to be said of it to said.
func (p inspectPlan) run(ctx context.Context, out, said io.Writer) error {
	c, e, err := p.source.open(p.file)
	if err != nil {
		return err
	}
	s, err := restore(ctx, c, p.detector)
	if err != nil {
		return err
	}
	if p.best != "" && p.best != "harden" {
		if p.against, err = p.rival(c); err != nil {
			return err
		}
	}
	var all []advlib.Attack
	for _, a := range attacksOn(p.balls, p.choices, c.Classes()) {
		all = append(all, s.Shown(a))
	}
	for _, b := range p.balls {
		all = append(all, s.Adaptive(b))
	}
	for _, a := range all {
		if _, err := a.Threat(s); err != nil {
			return statusError{misused, fmt.Errorf("%v: %w", a, err)}
		}
	}
	progress := newProgress(said, p.quiet)
	defer progress.hear()()
	progress.line("%s on %d examples of %s, %d attacks, backend %s", s.Name(), e.Len(), e.Name, len(all), backend.InfoOf(c.Backend()).Name)
	r, err := p.measure(ctx, progress, s, e, all)
	if r == nil || err != nil && !r.Interrupted {
		return err
	}
	if writeErr := writeTo(out, p.output, p.format, r); writeErr != nil {
		return writeErr
	}
	if err != nil {
		return statusError{interrupted, errors.New("interrupted: the report is of what was found until then; give the same command " +
			"again to go on from there")}
	}
	return nil
}

// measure evaluates, from what an interrupted report has left on.
func (p inspectPlan) measure(
	ctx context.Context, progress *progress, s *detect.Screened, e *advlib.Examples, all []advlib.Attack,
) (*advlib.Report, error) {
	settings := advlib.Settings{Seed: p.seed, BatchSize: p.batch, OnProgress: progress.update}
	keeping := ctx
	if p.fresh {
		keeping = lab.Fresh(ctx)
	}
	journal, err := lab.NewJournal(keeping, s, s.Name()+" on "+e.Name)
	if err != nil {
		progress.say("nothing is kept, should it be interrupted: %v", err)
	} else {
		settings.Journal = journal
	}
	r, err := settings.Evaluate(ctx, s, e, all)
	if err == nil && p.best != "" {
		settings.Journal = nil // it is of this victim
		err = detect.Plausible(ctx, settings, r, func(half advlib.Ball) (*advlib.Classifier, error) {
			if p.against != nil {
				return p.against, nil
			}
			return p.harden(ctx, progress, half, s)
		}, e, nil)
		if err != nil && ctx.Err() != nil {
			r.Interrupted = true
		}
	}
	progress.clear()
	if journal != nil {
		if n := journal.Recalled(); n > 0 {
			progress.line("%d batches were taken from a report that was interrupted", n)
		}
		if err == nil {
			journal.Clear()
		}
	}
	return r, err
}

// harden trains the classifier in a ball that --best asks for.
func (p inspectPlan) harden(ctx context.Context, progress *progress, ball advlib.Ball, s *detect.Screened) (*advlib.Classifier, error) {
	m := zoo.MLP(100, 100)
	if in := s.Signature().Input; len(in) == 3 && min(in[0], in[1]) >= 8 {
		m = zoo.CNN(16, 32)
	}
	e := s.Data().Train
	progress.line("hardening %s in %v on %d examples of %s, as --best asks", m.Name, ball, e.Len(), e.Name)
	m.Box, m.Seed, m.Progress = s.Signature().Box, p.seed, io.Discard
	return defense.AdversarialTraining{Ball: ball}.Fit(ctx, m, e)
}

// rival reads the classifier that --best names, which must take the inputs of the model.
func (p inspectPlan) rival(model *advlib.Classifier) (*advlib.Classifier, error) {
	from := p.source
	from.named.model, from.named.store = p.best, ""
	if !strings.EqualFold(filepath.Ext(p.best), ".onnx") {
		from.named.model, from.named.store = "", p.best
	}
	c, err := from.classifier(model.Input())
	if err == nil {
		err = advlib.SameInputs(c, model)
	}
	if err != nil {
		return nil, statusError{misused, fmt.Errorf("--best: %w", err)}
	}
	return c, nil
}
