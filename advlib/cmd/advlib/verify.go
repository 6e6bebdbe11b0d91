package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/onnx"
	"advlab/advlib/vnnlib"
)

// verification is the flags of the command.
type verification struct {
	onnx, vnnlib, output, backend string
	timeout                       float64
	batch, maxValues              int
	seed                          uint64
	quiet                         bool
	normalisation                 normalisation
}

// newVerify returns the command of a program that began at start.
func newVerify(start time.Time) *cobra.Command {
	var v verification
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove a property of a network, or find a counterexample",
		Long: `verify decides whether a network has an unsafe output for an input in a box, as the verification
competition (VNN-COMP) asks it: the network is a file in ONNX, the property one in VNN-LIB 1.0, both plain or
compressed by gzip. It prints one of

  unsat     no input of the box has an unsafe output: the property holds
  sat       there is such an input; it follows, with the network's outputs, as ((X_0 v) … (Y_0 v) …)
  unknown   neither was shown
  timeout   neither was shown in time

on the standard output; how it was found, or why not, goes to the standard error. A network whose input is in double
precision is run in float64, every other in float32.

unsat holds for every input that the file's numbers may be rounded to, and for the network as it is computed: in
whatever order its sums are formed, with fused multiply-add or without. The values of a counterexample lie in the
box, exactly; rounded to the network's precision they are what it was run on. It is printed a third of a second after it was
found at the latest; whether it was proven to be one in every order of summation by then, the standard error says.

With --mean and --std the network is one of inputs that (x − mean)/std is done to first: the property, and a
counterexample, are in the units of x, such as pixels in 0..1.

A search for counterexamples comes first, then bounds (CROWN, then α-CROWN). What they leave open is split until each
part is decided: the box where there are up to 16 inputs, else the signs of ReLUs. With an operation that cannot be
bounded, there is the search alone.

Exit status:
  0    unsat
  1    sat
  2    unknown command or flag, or a file that is missing, damaged or does not fit
  3    something that is needed is missing, or the network cannot be computed
  4    unknown, which an operation that cannot be bounded may be the reason of, or timeout
  130  interrupted`,
		Example: `  advlib verify --onnx ACASXU_run2a_1_1_batch_2000.onnx --vnnlib prop_3.vnnlib --timeout 60
  advlib verify --onnx net.onnx.gz --vnnlib prop.vnnlib.gz --timeout 300 --quiet --output result.txt`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("verify takes flags only, not %q: name the network with --onnx and the property with --vnnlib", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return v.run(cmd, start) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&v.onnx, "onnx", "", "network, in ONNX")
	f.StringVar(&v.vnnlib, "vnnlib", "", "property, in VNN-LIB 1.0")
	v.normalisation.add(f, "in the property's units")
	f.Float64Var(&v.timeout, "timeout", 300,
		"seconds from the program's start until timeout is printed, whatever is being read, compiled or computed then")
	f.IntVar(&v.batch, "batch", 512, "most boxes bounded at once")
	f.IntVar(&v.maxValues, "max-values", 0, "most values that one input may lead to in one place of the network (default: 67108864)")
	f.Uint64Var(&v.seed, "seed", 0, "seed of the search for counterexamples")
	f.StringVar(&v.backend, "backend", "", "where to compute: auto, xla:cpu, xla:cuda or go (default: ADVLAB_BACKEND, or the best there is)")
	f.StringVarP(&v.output, "output", "o", "", "file to write the answer to; - or nothing means the standard output")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "nothing but errors on the standard error")
	return cmd
}

// check refuses flags before anything is read.
func (v verification) check() error {
	switch {
	case v.onnx == "":
		return misuse("--onnx is missing: name a network in ONNX")
	case v.vnnlib == "":
		return misuse("--vnnlib is missing: name a property in VNN-LIB")
	case !(v.timeout > 0) || math.IsInf(v.timeout, 0) || v.timeout > 1e8:
		return misuse("--timeout: %g is not a number of seconds above 0", v.timeout)
	case v.batch < 1 || v.batch > 1<<16:
		return misuse("--batch: %d is not between 1 and %d", v.batch, 1<<16)
	}
	if err := writable(v.output); err != nil {
		return statusError{misused, fmt.Errorf("--output: %w", err)}
	}
	if v.backend != "" {
		if err := backend.Use(v.backend); err != nil {
			return statusError{misused, fmt.Errorf("--backend: %w", err)}
		}
	}
	return nil
}

// question is what the files and the backend make up.
type question struct {
	property *vnnlib.Property
	network  *onnx.Network
	source   certify.Source
}

// read reads the files and opens the backend.
func (v verification) read(normalise *advlib.Normalisation) (q question, err error) {
	if q.property, err = vnnlib.Open(v.vnnlib); err != nil {
		return q, statusError{misused, fmt.Errorf("--vnnlib: %w", err)}
	}
	n, err := onnx.Open(v.onnx, onnx.Options{Normalisation: normalise, MaxValues: v.maxValues})
	if err != nil {
		return q, statusError{misused, fmt.Errorf("--onnx: %w", err)}
	}
	q.network = n
	size := 1
	for _, d := range n.Input() {
		size *= d
	}
	if size != q.property.Inputs || n.Outputs() != q.property.Outputs {
		return q, misuse("the property is of %d inputs and %d outputs, the network takes %v and returns %d: they do not belong "+
			"together", q.property.Inputs, q.property.Outputs, n.Input(), n.Outputs())
	}
	b, err := backend.Open()
	if err != nil {
		return q, err
	}
	q.source = certify.Source{Name: n.Name(), Graph: n.Graph, Store: n.Store(), Input: n.Input(), Backend: b}
	if n.Double() {
		q.source.Store, err = n.WideStore()
	}
	return q, err
}

// run decides in time, counted from start. Neither a file that is being read nor a graph that is being compiled can be
// interrupted, so that what goes on at the deadline is left behind: the program ends.
func (v verification) run(cmd *cobra.Command, start time.Time) error {
	if err := v.check(); err != nil {
		return err
	}
	normalise, err := v.normalisation.of(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(cmd.Context(), start.Add(v.limit()))
	defer cancel()
	log := cmd.ErrOrStderr()
	if v.quiet {
		log = io.Discard
	}
	line := func(format string, args ...any) {
		fmt.Fprintf(log, "[%6.1f s] %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
	type read struct {
		question
		err error
	}
	files := make(chan read, 1)
	go func() {
		q, err := v.read(normalise)
		files <- read{q, err}
	}()
	var q question
	select {
	case r := <-files:
		if r.err != nil {
			return r.err
		}
		q = r.question
	case <-ctx.Done():
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		line("unknown: the time was up before the files were read and the backend was open")
		return v.finish(cmd, "timeout\n", undecided)
	}
	line("%s, inputs %v, %d outputs, %d boxes, backend %s", q.source.Name, q.source.Input, q.network.Outputs(),
		len(q.property.Cases), q.source.Backend.Name())
	for _, note := range q.network.Notes() {
		line("%s", note)
	}
	if len(q.property.Cases) == 0 {
		line("the property contradicts itself, so that no input is unsafe")
	}
	last := time.Now()
	verdict, err := certify.VerifyProperty(ctx, certify.Question{Model: q.source, Property: q.property}, certify.Options{
		Timeout: -1, Batch: v.batch, Seed: v.seed,
		OnProgress: func(p advlib.Progress) {
			if time.Since(last) > beat {
				last = time.Now()
				line("%d boxes bounded, %d left, %.3g %% of the volume is safe", p.Done, p.Total-p.Done, 100*p.Share)
			}
		},
	})
	if err != nil {
		return err
	}
	line("%v", verdict)
	if verdict.Status == advlib.Falsified {
		line("%s", holds(verdict))
	}
	if err := cmd.Context().Err(); err != nil && verdict.Status == advlib.Unknown {
		return err
	}
	text, status, err := answer(verdict, q.property, q.network.Double())
	if err != nil {
		return err
	}
	return v.finish(cmd, text, status)
}

// limit is the time for all but the program's end, when the system takes back what a compiler may hold.
func (v verification) limit() time.Duration {
	all := time.Duration(v.timeout * float64(time.Second))
	return all - min(all/10, 200*time.Millisecond)
}

// holds says what is known of a counterexample.
func holds(v *certify.Decision) string {
	if v.AnyOrder {
		return "the counterexample is one however the network's sums are ordered and rounded: bounds at this input prove it"
	}
	return "the counterexample is one as the network is computed here, in a pass of its own; that it is one in every order of " +
		"summation is not proven"
}

// finish writes the answer.
func (v verification) finish(cmd *cobra.Command, text string, status int) (err error) {
	if v.output == "" || v.output == "-" {
		_, err = io.WriteString(cmd.OutOrStdout(), text)
	} else {
		err = renameio.WriteFile(v.output, []byte(text), 0o644)
	}
	if err != nil {
		return err
	}
	if status != done {
		return exitStatus(status)
	}
	return nil
}

// exitStatus is an exit status that is no error: nothing is said about it.
type exitStatus int

func (s exitStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// answer writes the verdict in the competition's format.
func answer(v *certify.Decision, p *vnnlib.Property, double bool) (text string, status int, err error) {
	switch {
	case v.Status == advlib.Verified:
		return "unsat\n", done, nil
	case v.Status == advlib.Unknown && v.TimedOut:
		return "timeout\n", undecided, nil
	case v.Status == advlib.Unknown:
		return "unknown\n", undecided, nil
	}
	bits := 32
	if double {
		bits = 64
	}
	var lines []string
	x, err := inBox(v.Counterexample, v.Outputs, p, bits)
	if err != nil {
		return "", failed, err
	}
	for i, s := range x {
		lines = append(lines, fmt.Sprintf("(X_%d %s)", i, s))
	}
	for k, y := range v.Outputs {
		lines = append(lines, fmt.Sprintf("(Y_%d %s)", k, strconv.FormatFloat(y, 'f', -1, bits)))
	}
	return "sat\n(" + strings.Join(lines, "\n") + ")\n", counterexample, nil
}

// inBox writes an input so that the numbers written are in a box of the property for which the outputs are unsafe,
// exactly, and rounded to the network's precision, by way of float64 or not, are the input.
func inBox(x, outputs []float64, p *vnnlib.Property, bits int) ([]string, error) {
	var problem error
	// A box from 1/3 to 1/3 has no decimal in it: the one next to it must do.
	for _, slack := range []*big.Rat{new(big.Rat), lastDigit} {
		for _, c := range p.Cases {
			if !c.IsUnsafe(outputs) {
				continue // a box next to it may hold another number that is rounded to the same input
			}
			written := make([]string, len(x))
			ok := true
			for i, v := range x {
				if written[i], ok = writtenBetween(v, new(big.Rat).Sub(c.Lower[i], slack), new(big.Rat).Add(c.Upper[i], slack), bits); !ok {
					problem = fmt.Errorf("X_%d = %v of the counterexample cannot be written as a decimal between %s and %s", i, v,
						vnnlib.Decimal(c.Lower[i]), vnnlib.Decimal(c.Upper[i]))
					break
				}
			}
			if ok {
				return written, nil
			}
		}
	}
	return nil, problem
}

// digits of a bound that is no decimal, and 1 in the last of them.
const digits = 40

var lastDigit = new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(digits), nil))

func writtenBetween(v float64, lower, upper *big.Rat, bits int) (string, bool) {
	candidates := []string{strconv.FormatFloat(v, 'f', -1, bits), strconv.FormatFloat(v, 'f', -1, 64)}
	for _, bound := range []*big.Rat{lower, upper} {
		if s := vnnlib.Decimal(bound); !strings.Contains(s, "/") {
			candidates = append(candidates, s)
			continue
		}
		// Rounded up or down in the last digit: one is inside.
		for _, shifted := range []*big.Rat{bound, new(big.Rat).Add(bound, lastDigit), new(big.Rat).Sub(bound, lastDigit)} {
			candidates = append(candidates, shifted.FloatString(digits))
		}
	}
	for _, s := range candidates {
		exact, ok := new(big.Rat).SetString(s)
		if !ok || exact.Cmp(lower) < 0 || exact.Cmp(upper) > 0 {
			continue
		}
		wide, err := strconv.ParseFloat(s, 64)
		direct, err2 := strconv.ParseFloat(s, bits)
		if err == nil && err2 == nil && direct == v && (bits == 64 && wide == v || bits == 32 && float64(float32(wide)) == v) {
			return s, true
		}
	}
	return "", false
}
