package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/defense"
	"advlab/advlib/lab"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// hardened is the flags of the command harden.
type hardened struct {
	dataFlags
	architecture        string
	method, norm, eps   string
	box, classes        []string
	domain              string
	normalisation       normalisation
	epochs, batch       int
	rate, warmUp        float64
	ascents             int
	stepSize            string
	beta, lambda, gamma float64
	awp, noStop         bool
	replays             int
	temperature, held   float64
	cleanShare          float64
	seed                uint64
	meets               string
	backend             string
	fresh, quiet        bool
}

// trainer is a method by which a model is hardened.
type trainer interface {
	fmt.Stringer
	Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error)
}

// method is a name of --method, and the flags that it alone knows.
type method struct {
	name, about string
	flags       []string
	make        func(h hardened, at defense.AdversarialTraining) trainer
}

// steps are the flags of methods that ascend.
var steps = []string{"ascents", "step-size", "warm-up"}

var methods = []method{
	{"at", "adversarial training by PGD (Madry et al. 2018)", append([]string{"clean", "awp", "gamma"}, steps...),
		func(h hardened, at defense.AdversarialTraining) trainer {
			if h.awp {
				return defense.ByObjective{Objective: defense.AWP{Gamma: h.gamma}, Adversary: at}
			}
			return at
		}},
	{"trades", "TRADES (Zhang et al. 2019)", append([]string{"beta", "awp", "gamma"}, steps...),
		func(h hardened, at defense.AdversarialTraining) trainer {
			t := defense.TRADES{Ball: at.Ball, Beta: h.beta, Ascents: at.Ascents, StepSize: at.StepSize, WarmUp: at.WarmUp, NoWarmUp: at.NoWarmUp}
			if h.awp {
				return defense.ByObjective{Objective: defense.AWP{Objective: t, Gamma: h.gamma}}
			}
			return t
		}},
	{"mart", "MART (Wang et al. 2020)", append([]string{"lambda", "awp", "gamma"}, steps...),
		func(h hardened, at defense.AdversarialTraining) trainer {
			t := defense.MART{Ball: at.Ball, Lambda: h.lambda, Ascents: at.Ascents, StepSize: at.StepSize, WarmUp: at.WarmUp, NoWarmUp: at.NoWarmUp}
			if h.awp {
				return defense.ByObjective{Objective: defense.AWP{Objective: t, Gamma: h.gamma}}
			}
			return t
		}},
	{"free", "free adversarial training (Shafahi et al. 2019), Linf only", []string{"replays", "warm-up"},
		func(h hardened, at defense.AdversarialTraining) trainer {
			return defense.Free{Ball: at.Ball, Replays: h.replays, WarmUp: at.WarmUp, NoWarmUp: at.NoWarmUp}
		}},
	{"fast", "fast adversarial training (Wong et al. 2020), stopped when it collapses", []string{"warm-up", "no-stop"},
		func(h hardened, at defense.AdversarialTraining) trainer {
			return defense.Fast{Ball: at.Ball, WarmUp: at.WarmUp, NoWarmUp: at.NoWarmUp, NoStop: h.noStop}
		}},
	{"distillation", "defensive distillation (Papernot et al. 2016), which hides gradients and protects from nothing",
		[]string{"temperature"}, func(h hardened, _ defense.AdversarialTraining) trainer {
			return defense.Distillation{T: h.temperature}
		}},
	{"natural", "no defence, to compare with", nil,
		func(hardened, defense.AdversarialTraining) trainer { return defense.Natural{} }},
}

func newHarden() *cobra.Command {
	var h hardened
	cmd := &cobra.Command{
		Use:   "harden",
		Short: "Train a model of the zoo so that it withstands attacks, and keep it",
		Long: `harden trains a model on labelled data by a defence, and keeps it in the store of package lab, where evaluate and
serve find it. The key under which it is kept is printed on the standard output, and nothing else; how clean and robust
accuracy rise on examples that are held back, on the standard error. The weights of the best epoch are kept, also when the
training diverges later. The same command trains once: after that it says the key.

The data, --scale, --mean, --std and --domain are those of evaluate, whose help explains them. With --domain, every example
that is trained on is admissible: fixed features stay, whole numbers stay whole. What is said by --mean, --std, --box
and --domain must be said to evaluate, too: it is not kept with the weights.

Architectures (--architecture): cnn:16,32 is a convolution of each number of channels, and 100 units (zoo.CNN), mlp:100,100
layers of so many units (zoo.MLP). Without it, images become cnn:16,32 and all else mlp:100,100.

Methods (--method):
` + listedMethods() + `

What is left out of --epochs, --batch and --learning-rate follows from the number of examples: see defense.Recipe.

` + exitStatuses,
		Example: `  advlib harden --data train.npz --method trades --norm linf --eps 0.3
  advlib harden --data train.npz --scale 1/255 --architecture cnn:32,64 --norm linf --eps 8/255 --awp
  advlib harden --data flows.npz --domain flows.json --norm linf --eps 0.1
  advlib evaluate --store $(advlib harden --data train.npz --eps 0.1) --data test.npz --eps 0.1 --preset autoattack`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("harden takes flags only, not %q: name the data with --data and the defence with --method", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return h.run(cmd) },
	}
	h.add(cmd.Flags())
	return cmd
}

func listedMethods() string {
	var b strings.Builder
	for _, m := range methods {
		flags := ""
		if len(m.flags) > 0 {
			flags = ": --" + strings.Join(m.flags, ", --")
		}
		fmt.Fprintf(&b, "  %-12s %s%s\n", m.name, m.about, flags)
	}
	return strings.TrimRight(b.String(), "\n")
}

// add are the flags of the command.
func (h *hardened) add(f *pflag.FlagSet) {
	f.SortFlags = false
	h.dataFlags.add(f, "labelled examples to train and validate on, .npz with x and y", 0)
	f.StringVar(&h.architecture, "architecture", "", "cnn:16,32 or mlp:100,100 (default: by the shape of the data)")
	f.StringVar(&h.method, "method", "at", "defence: at, trades, mart, free, fast, distillation, natural")
	f.StringVar(&h.norm, "norm", "linf", "norm of the perturbation: linf, l2 or l1")
	f.StringVar(&h.eps, "eps", "", "budget ε that is hardened against, in units of the box: 0.3 or 8/255")
	f.StringSliceVar(&h.box, "box", []string{"0", "1"}, "lowest and highest value of an input: LO,HI")
	f.StringVar(&h.domain, "domain", "", "file in JSON that says what an attacker may change of each feature")
	h.normalisation.add(f, "in units of the box, such as 0.485 or 123.675/255")
	f.StringSliceVar(&h.classes, "classes", nil, "names of the classes, separated by commas")
	f.IntVar(&h.epochs, "epochs", 0, "how many times all examples are seen (default: by their number)")
	f.IntVar(&h.batch, "batch", 0, "examples in a step (default: by their number)")
	f.Float64Var(&h.rate, "learning-rate", 0, "the largest learning rate of Adam (default: 0.003, of fast training 0.01)")
	f.Float64Var(&h.held, "held", 0.1, "share of the examples that is held back to validate on")
	f.IntVar(&h.ascents, "ascents", 10, "steps of the inner attack")
	f.StringVar(&h.stepSize, "step-size", "", "length of its steps (default: 2.5·ε/ascents)")
	f.Float64Var(&h.warmUp, "warm-up", 0.5, "share of the training during which ε grows from 0, 0..1; 0: none")
	f.StringVar(&h.meets, "adversary-meets", "inference", "how the model runs while it is attacked: inference, or batch-statistics")
	f.Float64Var(&h.cleanShare, "clean", 0, "share of each batch that stays as it is")
	f.Float64Var(&h.beta, "beta", 6, "weight of the divergence of TRADES")
	f.Float64Var(&h.lambda, "lambda", 5, "weight of the divergence of MART")
	f.BoolVar(&h.awp, "awp", false, "perturb the weights, too (Wu et al. 2020)")
	f.Float64Var(&h.gamma, "gamma", 0.005, "size of the perturbation of the weights")
	f.IntVar(&h.replays, "replays", 8, "times that free training replays a batch")
	f.BoolVar(&h.noStop, "no-stop", false, "let fast training collapse, and keep its last weights")
	f.Float64Var(&h.temperature, "temperature", 0, "temperature of distillation, such as 100; it must be given")
	f.Uint64Var(&h.seed, "seed", 0, "seed of all randomness; the same seed gives the same weights")
	f.StringVar(&h.backend, "backend", "", "where to compute: auto, xla:cpu, xla:cuda or go (default: ADVLAB_BACKEND, or the best there is)")
	f.BoolVar(&h.fresh, "fresh", false, "train again, though it is kept")
	f.BoolVarP(&h.quiet, "quiet", "q", false, "no progress on the standard error")
}

// hardening is what the flags ask for, checked.
type hardening struct {
	hardened
	by         trainer
	ball       advlib.Ball // unset where there is none
	validation training.Validation
	source     source
	file       examplesFile
	layers     []int
	cnn        bool
}

// check refuses flags before anything is read.
func (h hardened) check(cmd *cobra.Command) (p hardening, err error) {
	p = hardening{hardened: h}
	set := cmd.Flags().Changed
	at := slices.IndexFunc(methods, func(m method) bool { return m.name == h.method })
	if at < 0 {
		return p, misuse("--method: there is no method %q: there are at, trades, mart, free, fast, distillation, natural", h.method)
	}
	chosen := methods[at]
	for _, m := range methods {
		for _, flag := range m.flags {
			if set(flag) && !slices.Contains(chosen.flags, flag) {
				return p, misuse("--%s is given with --method %s, which has none: leave it out", flag, h.method)
			}
		}
	}
	if p.file, err = h.dataFlags.check(); err != nil {
		return p, err
	}
	if err := h.ranges(set, chosen); err != nil {
		return p, err
	}
	if p.ball, err = h.budget(set); err != nil {
		return p, err
	}
	hardens := p.ball.Check() == nil
	if set("held") || !hardens { // else defense.Recipe does it
		if p.validation.Held = h.held; hardens {
			p.validation.Attack = attack.PGD{Ball: p.ball, Steps: 20}
		}
	}
	adversary := defense.AdversarialTraining{Ball: p.ball, Ascents: h.ascents, WarmUp: h.warmUp, NoWarmUp: h.warmUp == 0, Clean: h.cleanShare}
	if h.stepSize != "" {
		if adversary.StepSize, err = number("step-size", h.stepSize); err != nil {
			return p, err
		}
		if adversary.StepSize <= 0 {
			return p, misuse("--step-size: %s is not above 0", h.stepSize)
		}
	}
	p.by = chosen.make(h, adversary)
	if p.cnn, p.layers, err = architecture(h.architecture); err != nil {
		return p, err
	}
	// The model's flags are evaluate's: box, domain and normalisation are read by the same code.
	as := modelFlags{model: "-", layout: "auto", box: h.box, domain: h.domain,
		normalisation: h.normalisation, classes: h.classes, backend: h.backend}
	if p.source, err = as.check(cmd); err != nil {
		return p, err
	}
	p.source.named.model = ""
	if p.source.features != nil && h.method == "free" {
		return p, misuse("--method free does not keep to a --domain: take --method at")
	}
	return p, as.use()
}

// ranges refuses numbers that make no sense.
func (h hardened) ranges(set func(string) bool, chosen method) error {
	switch {
	case set("epochs") && h.epochs < 1:
		return misuse("--epochs: %d is below 1", h.epochs)
	case set("batch") && h.batch < 1:
		return misuse("--batch: %d is below 1", h.batch)
	case set("learning-rate") && !(h.rate > 0):
		return misuse("--learning-rate: %g is not above 0", h.rate)
	case !(h.held > 0 && h.held < 1):
		return misuse("--held: %g is not between 0 and 1: it is the share of the examples that is held back", h.held)
	case h.ascents < 1:
		return misuse("--ascents: %d is below 1", h.ascents)
	case !(h.warmUp >= 0 && h.warmUp < 1):
		return misuse("--warm-up: %g is not in 0..1, 1 left out: it is a share of the training, not a number of epochs", h.warmUp)
	case !(h.cleanShare >= 0 && h.cleanShare < 1):
		return misuse("--clean: %g is not in 0..1, 1 left out: it is the share of each batch that stays as it is", h.cleanShare)
	case !(h.beta > 0):
		return misuse("--beta: %g is not above 0", h.beta)
	case !(h.lambda > 0):
		return misuse("--lambda: %g is not above 0", h.lambda)
	case !(h.gamma > 0):
		return misuse("--gamma: %g is not above 0", h.gamma)
	case set("gamma") && !h.awp:
		return misuse("--gamma is given without --awp: it says how far the weights are perturbed")
	case h.replays < 1:
		return misuse("--replays: %d is below 1", h.replays)
	case chosen.name == "distillation" && !set("temperature"):
		return misuse("--temperature is missing: distillation needs one, the paper takes 1 to 100")
	case chosen.name == "distillation" && !(h.temperature > 0):
		return misuse("--temperature: %g is not above 0: the paper takes 1 to 100", h.temperature)
	case h.meets != "inference" && h.meets != "batch-statistics":
		return misuse("--adversary-meets: there is no %q: there are inference, batch-statistics", h.meets)
	}
	return nil
}

// budget is the ball that is hardened against, unset for methods that need none.
func (h hardened) budget(set func(string) bool) (advlib.Ball, error) {
	if h.method == "natural" || h.method == "distillation" {
		if set("eps") || set("norm") {
			return advlib.Ball{}, misuse("--eps and --norm are given with --method %s, which has no ball: leave them out", h.method)
		}
		return advlib.Ball{}, nil
	}
	norm, err := normOf(h.norm)
	if err != nil {
		return advlib.Ball{}, err
	}
	if h.eps == "" {
		return advlib.Ball{}, misuse("--eps is missing: give the budget that is hardened against, as in --eps 8/255")
	}
	ε, err := number("eps", h.eps)
	switch {
	case err != nil:
		return advlib.Ball{}, err
	case ε <= 0:
		return advlib.Ball{}, misuse("--eps: %s: a budget must be above 0", h.eps)
	case norm == advlib.Norm(advlib.L0):
		return advlib.Ball{}, misuse("--norm: l0 has no steepest ascent: harden in linf, l2 or l1")
	case h.method == "free" && norm != advlib.Norm(advlib.Linf):
		return advlib.Ball{}, misuse("--method free steps in linf: take --method at for --norm %s", h.norm)
	}
	return norm.Ball(ε), nil
}

// architecture reads cnn:16,32; without a text there are no layers.
func architecture(text string) (cnn bool, layers []int, err error) {
	if text == "" {
		return false, nil, nil
	}
	kind, list, _ := strings.Cut(text, ":")
	if kind != "cnn" && kind != "mlp" {
		return false, nil, misuse("--architecture: %q is neither cnn:16,32 nor mlp:100,100", text)
	}
	for _, word := range strings.Split(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return false, nil, misuse("--architecture: %q: %q is no number of units: write cnn:16,32 or mlp:100,100", text, word)
		}
		layers = append(layers, n)
	}
	return kind == "cnn", layers, nil
}

// build completes the model for inputs of a shape.
func (p hardening) build(input []int) (training.Model, error) {
	const smallest = 8 // of two convolutions that halve
	if p.layers == nil {
		p.cnn = len(input) == 3 && min(input[0], input[1]) >= smallest
		if p.layers = []int{100, 100}; p.cnn {
			p.layers = []int{16, 32}
		}
	}
	m := zoo.MLP(p.layers...)
	if p.cnn {
		m = zoo.CNN(p.layers...)
	}
	if p.epochs > 0 || p.ball.Check() == nil {
		m.Epochs = p.epochs
	}
	m.BatchSize, m.LearningRate, m.Seed = p.batch, p.rate, p.seed
	m.Box, m.Domain = p.source.box, p.source.features
	if p.meets == "batch-statistics" {
		m.AdversaryMeets = training.BatchStatistics
	}
	m.Validation = p.validation
	if n := p.source.normalise; n != nil {
		fitted, err := n.Fit(input)
		if err != nil {
			return m, statusError{misused, err}
		}
		inner := m.Build
		m.Build = func(classes int) advlib.LogitsFn {
			logits := inner(classes)
			return func(scope *model.Scope, x *graph.Node) *graph.Node { return logits(scope, fitted.Rounded().Apply(x)) }
		}
	}
	return m, nil
}

func (h hardened) run(cmd *cobra.Command) error {
	p, err := h.check(cmd)
	if err != nil {
		return err
	}
	examples, err := p.file.read()
	if err != nil {
		return err
	}
	if _, err := backend.Open(); err != nil {
		return err
	}
	if err := p.source.checkUnits(p.file, examples); err != nil {
		return err
	}
	examples.Classes = p.classes
	m, err := p.build(examples.Shape())
	if err != nil {
		return err
	}
	return p.train(cmd.Context(), m, examples, cmd.OutOrStdout(), cmd.ErrOrStderr())
}

// train trains, and says on out under which key the model is kept.
func (p hardening) train(ctx context.Context, m training.Model, e *advlib.Examples, out, said io.Writer) error {
	progress := newProgress(said, p.quiet)
	defer progress.hear()()
	if p.fresh {
		ctx = lab.Fresh(ctx)
	}
	trained := false
	if m.Progress = io.Discard; progress.terminal && !p.quiet {
		m.Progress = said // a bar, with the epochs above it
	}
	m.OnEpoch = func(r training.Record) {
		if trained = trained || !r.Done; !r.Done && m.Progress == io.Discard {
			progress.line("%v", r.Epochs[len(r.Epochs)-1])
		}
	}
	progress.line("%s by %v, on %d examples of %s", m.Name, p.by, e.Len(), e.Name)
	t, err := p.by.Train(ctx, m, e)
	if err != nil {
		return err
	}
	if !trained && t.Key != "" {
		progress.line("trained before; --fresh trains again")
	}
	if t.Stopped != "" {
		progress.line("stopped: %s", t.Stopped)
	}
	if best, ok := t.Best(); ok {
		progress.line("kept: %s", strings.TrimSuffix(best.String(), ", the best so far"))
	}
	if t.Key == "" {
		return fmt.Errorf("the model is trained, but the store could not keep it")
	}
	fmt.Fprintf(out, "%.12s\n", t.Key)
	return nil
}
