package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/endpoint"
	"advlab/advlib/lab"
	"advlab/advlib/oracle"
)

// asking is the flags of the command attack.
type asking struct {
	endpoint.Spec
	protocol, template string
	headers            []string
	dataFlags
	box                              []string
	domain                           string
	norm                             string
	eps, attacks                     []string
	attackFile                       string
	queries, batch                   int
	price                            float64
	seed                             uint64
	alone, strict, fresh, dry, quiet bool
	format, output                   string
	outputName, backendName          string
}

// protocols are those of --protocol.
var protocols = map[string]func() *endpoint.Template{
	"open-inference": func() *endpoint.Template { return nil },
	"tensorflow":     endpoint.TensorFlowServing,
	"mlflow":         endpoint.MLflow,
}

// queryAttacks are the attacks that only ask.
var queryAttacks = asked(attack.Index())

func asked(t attack.Listing) (all []choice) {
	for _, c := range attacks {
		i := slices.IndexFunc(t, func(e attack.Listed) bool {
			return slices.ContainsFunc(e.Commands, func(k attack.Command) bool { return k.Name == c.name })
		})
		if k := t[i].Knowledge; k != attack.Gradients && k != attack.Inner {
			all = append(all, c)
		}
	}
	return all
}

func newAttack() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:     "attack",
		Short:   "Attack a model behind a server, within a budget of queries",
		Long:    attackHelp(),
		Example: attackExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("attack takes flags only, not %q: name the server with --url and the attack with --attack", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd) },
	}
	a.flags(cmd.Flags())
	return cmd
}

// flags are those of the command.
func (a *asking) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&a.URL, "url", "", "address of the server, such as http://127.0.0.1:8080")
	f.StringVar(&a.Model, "model", "", "name of the model on the server")
	f.StringVar(&a.Version, "model-version", "", "version of the model (default: the server chooses)")
	f.StringVar(&a.protocol, "protocol", "open-inference", "how the server is asked: open-inference, tensorflow or mlflow")
	f.StringVar(&a.template, "template", "", "file in JSON that says how another server is asked")
	a.dataFlags.add(f, labelled, 0)
	f.StringSliceVar(&a.box, "box", []string{"0", "1"}, "lowest and highest value of an input: LO,HI")
	f.StringVar(&a.domain, "domain", "", "file in JSON that says what an attacker may change of each feature")
	f.StringSliceVar(&a.attacks, "attack", nil, "attacks, separated by commas: "+names(queryAttacks))
	f.StringVar(&a.attackFile, "attack-file", "", "attacks in JSON, one or a list, as attack.JSON writes them")
	f.StringVar(&a.norm, "norm", "l2", "norm of the perturbation: linf, l2, l1 or l0")
	f.StringSliceVar(&a.eps, "eps", nil, "budgets ε, in units of the box: 0.01,0.02 or 8/255")
	f.IntVar(&a.queries, "queries", 1000, "most inputs that are answered about one example, to each attack")
	f.Float64Var(&a.price, "price", 0, "price of one input that is sent, in any currency")
	f.Uint64Var(&a.seed, "seed", 0, "seed of all randomness; the same seed asks the same questions")
	f.IntVar(&a.batch, "batch", 128, "most examples attacked at once")
	f.BoolVar(&a.alone, "alone", false, "run each attack on all examples, to compare attacks")
	f.StringVar(&a.InputName, "input-name", "", "name of the model's input, if the server does not say it")
	f.IntSliceVar(&a.InputShape, "input-shape", nil, "shape of one input as the server takes it, such as 28,28,1 (default: that of the data)")
	f.StringVar(&a.Datatype, "dtype", "", "datatype of inputs, such as FP32 or UINT8, if the server does not say it (default: FP32)")
	f.StringVar(&a.outputName, "model-output", "", "name of the output that is read, if the model has several")
	f.StringVar(&a.Returns, "returns", "", "what the answers are: logits, probabilities, one-logit or label (default: what they look like)")
	f.StringSliceVar(&a.ClassNames, "classes", nil, "names of the classes, separated by commas")
	f.IntVar(&a.Classes, "num-classes", 0, "number of classes, for answers that are labels only (default: the labels of the data)")
	f.StringVar(&a.Token, "token-env", "", "environment variable with the bearer token")
	f.StringSliceVar(&a.headers, "header-env", nil, "headers from environment variables, as X-Api-Key=VARIABLE")
	f.StringVar(&a.Proxy, "proxy", "", "address of a proxy (default: HTTP_PROXY, HTTPS_PROXY and NO_PROXY)")
	f.StringVar(&a.CA, "ca", "", "file in PEM with certificates of authorities that are trusted besides the system's")
	f.IntVar(&a.Batch, "per-request", 1, "inputs in one request")
	f.IntVar(&a.Concurrency, "concurrency", 8, "requests under way at once")
	f.Float64Var(&a.Rate, "rate", 0, "most requests per second; 0 means any number")
	f.DurationVar(&a.Timeout, "timeout", 30*time.Second, "most time for one attempt of a request")
	f.DurationVar(&a.Patience, "patience", 2*time.Minute, "most time for a request, all attempts and pauses together")
	f.BoolVar(&a.Retry500, "retry-500", false, "send a request again that was answered with status 500, too")
	f.IntVar(&a.RejectStatus, "reject-status", 0, "status by which the server rejects an input, such as 403; other statuses are errors")
	f.BoolVar(&a.Gzip, "gzip", false, "compress requests")
	f.BoolVar(&a.Random, "random", false, "the server answers at random: keep no answer")
	f.BoolVar(&a.Forget, "forget", false, "keep no answers, so that an attack that is interrupted begins anew")
	f.BoolVar(&a.fresh, "fresh", false, "forget the answers that were kept before")
	f.BoolVar(&a.strict, "strict", false, "fail if scores are not finite for an example; otherwise it is left out, and named")
	f.BoolVar(&a.dry, "dry-run", false, "print the first request, with secrets masked, and send no input")
	f.StringVar(&a.format, "format", "", "text, json, csv, html or svg (default: by the ending of --output, or text)")
	f.StringVarP(&a.output, "output", "o", "", "file to write the report to; - or nothing means the standard output")
	f.StringVar(&a.backendName, "backend", "",
		"where attacks compute: auto, xla:cpu, xla:cuda or go (default: ADVLAB_BACKEND, or the best there is)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress on the standard error")
}

// attackHelp is the text of the command, with the attacks that there are.
func attackHelp() string {
	return `attack asks a model behind a server, and reports how far each example has to be changed for the
model to get it wrong, what that took in queries, and what it cost. The budget, --queries, is of the inputs that are
answered about one example, the original and the returned one included, to each attack. What is billed are the inputs
that were sent: fewer where an answer was known, more where a request had to be repeated.

Answers are kept in the user's cache directory, or in ADVLAB_CACHE. An attack that is interrupted, or killed, goes on
when the same command is given again, and pays for no answer twice; one question shows that the model is still the same.
A server whose answers to the same question differ is noticed, and taken for random: nothing of it is kept.

The server is one of the Open Inference Protocol v2 (MLServer, Triton, KServe, advlib serve), or with --protocol one of
TensorFlow Serving or MLflow. --template names a file that describes another one:

  {"path": "/predict", "body": {"images": "$inputs"}, "inputs": "png", "answer": "$.results[*].scores"}

The body is the request. In it "$inputs" stands for the list of inputs, "$input" for the only one, "$shape" for the shape
of all. Inputs are nested, flat, or png: 8-bit images in base64. The answer is a JSONPath (RFC 9535) of one list with a
row for each input, or of a row at each place. A row is scores, a label, or classes with their probabilities. {model}
and {version} in the path stand for --model and --model-version.

Where the server takes whole numbers, as UINT8, and the box is that of 0 and 1, bytes are sent, and attacks keep to steps of
1/255. Secrets are read from the environment: they are not shown, not kept, and sent to no other host.

Attacks (--attack). Those without a budget ε look for the nearest adversarial example, and need no --eps. Labels alone
are not enough for those that ask for scores:
` + listed(queryAttacks) + `

Formats (--format, or by the ending of --output): text, json (schema advlab.report/2), csv, html, svg (accuracy against ε).

Exit status:
  0    done
  2    unknown command or flag, a file that does not fit, or a server that is not as it was said to be
  3    the server failed in the middle of the attack; what was answered is kept
  130  interrupted (Ctrl-C, SIGTERM); what was found is printed`
}

const attackExamples = `  advlib attack --url http://127.0.0.1:8080 --model m --data t.npz --attack hopskipjump --queries 1000 --price 0.001
  advlib attack --url http://127.0.0.1:8080 --model digits --data test.npz --attack square --norm linf --eps 0.1 --dry-run
  advlib attack --url https://models.example --template t.json --token-env TOKEN --data test.npz --attack rays --norm linf`

// order is what the flags of attack ask for, checked.
type order struct {
	asking
	source  source
	norm    advlib.Norm
	balls   []advlib.Ball
	choices []choice
	format  format
	file    examplesFile
}

// check refuses flags before anything is read or asked.
func (a asking) check(cmd *cobra.Command) (order, error) {
	o := order{asking: a}
	var err error
	switch set := cmd.Flags().Changed; {
	case a.URL == "":
		return o, misuse("--url is missing: give the server's address, such as http://127.0.0.1:8080")
	case len(a.attacks) == 0 && a.attackFile == "":
		return o, misuse("--attack is missing: there are %s", names(queryAttacks))
	case a.template != "" && set("protocol"):
		return o, misuse("--protocol and --template are both given: choose one")
	case a.queries < 3:
		return o, misuse("--queries: %d leaves nothing for an attack: one query is about the original, and one about what is returned",
			a.queries)
	case !(a.price >= 0):
		return o, misuse("--price: %g is below 0", a.price)
	case a.batch < 1:
		return o, misuse("--batch: %d is below 1", a.batch)
	case len(a.ClassNames) > 0 && set("num-classes") && a.Classes != len(a.ClassNames):
		return o, misuse("--num-classes: %d, but --classes has %d names", a.Classes, len(a.ClassNames))
	}
	if o.file, err = a.dataFlags.check(); err != nil {
		return o, err
	}
	if o.norm, err = normOf(a.norm); err != nil {
		return o, err
	}
	if len(a.eps) > 0 {
		eps, err := budgets(a.eps)
		if err != nil {
			return o, err
		}
		for _, ε := range eps {
			o.balls = append(o.balls, o.norm.Ball(ε))
		}
	}
	if o.choices, err = o.chosen(); err != nil {
		return o, err
	}
	if o.source.box, err = boxOf(a.box); err != nil {
		return o, err
	}
	if o.source.features, err = domainOf(a.domain); err != nil {
		return o, err
	}
	if o.format, err = formatOf(a.format, a.output); err != nil {
		return o, err
	}
	if err = writable(a.output); err != nil {
		return o, statusError{misused, fmt.Errorf("--output: %w", err)}
	}
	if a.backendName != "" {
		if err := backend.Use(a.backendName); err != nil {
			return o, statusError{misused, fmt.Errorf("--backend: %w", err)}
		}
	}
	return o, o.server()
}

// chosen returns the attacks that are named.
func (o *order) chosen() (all []choice, err error) {
	for _, name := range o.attacks {
		c, err := find("attack", name, queryAttacks, o.norm)
		if err != nil {
			return nil, err
		}
		if !c.minimal && len(o.balls) == 0 {
			return nil, misuse("--eps is missing: --attack %s looks for an adversarial example in a ball", name)
		}
		all = append(all, c)
	}
	if o.attackFile == "" {
		return all, nil
	}
	more, err := inFile(o.attackFile, o.within())
	return append(all, more...), err
}

// within are the balls in which attacks are made. Those that need none are given the norm by one of radius 1.
func (o *order) within() []advlib.Ball {
	if len(o.balls) == 0 {
		return []advlib.Ball{o.norm.Ball(1)}
	}
	return o.balls
}

// server completes how the server is asked.
func (o *order) server() error {
	make, ok := protocols[o.protocol]
	if !ok {
		return misuse("--protocol: there is no protocol %q: there are open-inference, tensorflow, mlflow", o.protocol)
	}
	o.Template = make()
	if o.template != "" {
		text, err := os.ReadFile(o.template)
		if err != nil {
			return misuse("--template: %v", err)
		}
		if o.Template, err = endpoint.ReadTemplate(text); err != nil {
			return misuse("--template: %s: %w", o.template, err)
		}
	}
	o.Headers = map[string]string{}
	for _, h := range o.headers {
		name, variable, ok := strings.Cut(h, "=")
		if !ok {
			return misuse("--header-env: %q: give a header and an environment variable, as X-Api-Key=VARIABLE", h)
		}
		o.Headers[name] = variable
	}
	o.Returns = strings.ReplaceAll(o.Returns, "-", " ")
	o.Output, o.Fresh = o.outputName, o.asking.fresh
	o.Box, o.Domain = o.source.box, o.source.features
	return nil
}

func (a asking) run(cmd *cobra.Command) error {
	o, err := a.check(cmd)
	if err != nil {
		return err
	}
	return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
}

// run does what is ordered; what is found goes to out, what is to be said of it to progress.
func (o order) run(ctx context.Context, out, progress io.Writer) (err error) {
	examples, err := o.file.read()
	if err != nil {
		return err
	}
	if err := o.source.checkUnits(o.file, examples); err != nil {
		return err
	}
	o.Input, o.Probe = examples.Shape(), examples
	examples.Classes = o.ClassNames
	if o.dry {
		text, err := endpoint.FirstRequest(ctx, o.Spec)
		if err != nil {
			return refusal(ctx, err)
		}
		_, err = io.WriteString(out, text)
		return err
	}
	if _, err := backend.Open(); err != nil {
		return err
	}
	e, err := endpoint.Open(ctx, o.Spec)
	if err != nil {
		return refusal(ctx, err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if examples, err = e.Fit(examples); err != nil {
		return statusError{misused, fmt.Errorf("--data: %w", err)}
	}
	report, err := o.measure(ctx, progress, e, examples)
	if report == nil || err != nil && !report.Interrupted {
		if err != nil && ctx.Err() == nil && e.Fingerprint() != "" {
			err = fmt.Errorf("%w; what was answered is kept: the same command goes on from there", err)
		}
		return err
	}
	if writeErr := writeTo(out, o.output, o.format, report); writeErr != nil {
		return writeErr
	}
	if err != nil {
		return statusError{interrupted, fmt.Errorf("interrupted: the report is of what was found until then; give the same command " +
			"again to go on from there")}
	}
	return nil
}

// refusal is an error before the first question of an attack.
func refusal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return statusError{misused, err}
}

// made are the attacks, with the budget of queries where they take one.
func (o order) made(classes int) []advlib.Attack {
	all := attacksOn(o.within(), o.choices, classes)
	for i, a := range all {
		v := reflect.New(reflect.TypeOf(a)).Elem()
		v.Set(reflect.ValueOf(a))
		if v.Kind() != reflect.Struct {
			continue
		}
		if f := v.FieldByName("Queries"); f.IsValid() && f.Kind() == reflect.Int && f.IsZero() {
			f.SetInt(int64(o.queries))
			all[i] = v.Interface().(advlib.Attack)
		}
	}
	return all
}

// measure attacks, from what an interrupted attack has left on.
func (o order) measure(ctx context.Context, out io.Writer, e *endpoint.Endpoint, x *advlib.Examples) (*advlib.Report, error) {
	victim := oracle.Budget(e, o.queries)
	s := victim.Signature()
	attacks := o.made(s.Classes)
	if err := x.Check(advlib.Spec{Name: e.Name(), Input: s.Input, Box: s.Box, Domain: s.Domain}, s.Classes); err != nil {
		return nil, statusError{misused, fmt.Errorf("--data: %s: %w", o.data, err)}
	}
	for _, a := range attacks {
		_, err := a.Threat(victim)
		if err == nil && errors.As(advlib.GivesScores(victim), new(*advlib.NoScoresError)) && o.needsScores(a) {
			err = advlib.GivesScores(victim)
		}
		if err != nil {
			return nil, statusError{misused, fmt.Errorf("%v: %w", a, err)}
		}
	}
	progress := newProgress(out, o.quiet)
	progress.line("%s on %d examples of %s, %d attacks, at most %s", e.Name(), x.Len(), x.Name, len(attacks),
		o.most(x.Len()*len(attacks)))
	for _, note := range slices.Concat(s.Notes, s.Warnings) {
		progress.line("%s", note)
	}
	if n := e.Known(); n > 0 {
		progress.line("%d answers are known from before", n)
	}
	defer progress.hear()()
	settings := advlib.Settings{Seed: o.seed, BatchSize: o.batch, Alone: o.alone, Strict: o.strict, Balls: o.balls,
		OnProgress: progress.update, Price: 1000 * o.price}
	keeping := ctx
	if o.fresh {
		keeping = lab.Fresh(ctx)
	}
	journal, err := lab.NewJournal(keeping, victim, e.Name()+" on "+x.Name)
	if err != nil {
		progress.say("nothing is kept, should it be interrupted: %v", err)
	} else {
		settings.Journal = journal
	}
	report, err := settings.Evaluate(ctx, victim, x, attacks)
	progress.clear()
	if journal != nil && err == nil {
		journal.Clear()
	}
	bill := fmt.Sprintf("bill of this run, first questions included: %v", e.Bill())
	if report != nil {
		report.Notes = append(report.Notes, bill)
	}
	if o.price > 0 {
		bill += fmt.Sprintf("; at %g for an input sent, %.6g", o.price, o.price*float64(e.Sent()))
	}
	progress.line("%s", bill)
	return report, err
}

// most says what n searches may cost at most.
func (o order) most(n int) string {
	text := fmt.Sprintf("%d × %d = %d queries", n, o.queries, n*o.queries)
	if o.price > 0 {
		text += fmt.Sprintf(", %.6g at %g each", float64(n*o.queries)*o.price, o.price)
	}
	return text
}

// needsScores tells whether labels are too little for an attack.
func (o order) needsScores(a advlib.Attack) bool {
	name := reflect.TypeOf(a).Name()
	return slices.ContainsFunc(attack.Index(), func(e attack.Listed) bool { return e.Attack == name && e.Knowledge == attack.Scores })
}
