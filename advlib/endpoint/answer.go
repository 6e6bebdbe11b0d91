package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// answer makes an answer of a row.
func (e *Endpoint) answer(r row) (advlib.Answer, error) {
	s := &e.signature
	if r.rejected() {
		return advlib.Answer{Kind: advlib.Rejected}, nil
	}
	switch s.Returns {
	case advlib.Label:
		k, err := e.label(r)
		return advlib.Answer{Kind: advlib.Label, Label: k}, err
	case advlib.TopClasses:
		if len(r.names) == 0 || len(r.names) != len(r.numbers) {
			return advlib.Answer{}, fmt.Errorf("it answers with %d names of classes and %d probabilities", len(r.names), len(r.numbers))
		}
		a := advlib.Answer{Kind: advlib.TopClasses, Scores: scores(r.numbers)}
		for _, name := range r.names {
			k, err := e.class(name)
			if err != nil {
				return a, err
			}
			a.Top = append(a.Top, k)
		}
		return a, nil
	}
	z := scores(r.numbers)
	if len(z) == 1 && s.Classes == 2 {
		z = []float32{0, z[0]}
		if e.returns == advlib.Probabilities {
			z[0] = 1 - z[1]
		}
	}
	if len(z) != s.Classes || len(r.names) > 0 {
		return advlib.Answer{}, fmt.Errorf("it answers with %d scores and %d names for %d classes", len(r.numbers), len(r.names), s.Classes)
	}
	return advlib.Answer{Kind: s.Returns, Scores: z}, nil
}

func scores(v []float64) []float32 {
	z := make([]float32, len(v))
	for i, f := range v {
		z[i] = float32(f)
	}
	return z
}

// label reads the class of an input.
func (e *Endpoint) label(r row) (int32, error) {
	if len(r.names) > 0 {
		return e.class(r.names[0])
	}
	if len(r.numbers) != 1 {
		return 0, fmt.Errorf("it answers with %d numbers where there should be one label", len(r.numbers))
	}
	k := r.numbers[0]
	if k != math.Round(k) || k < 0 || k >= float64(e.signature.Classes) {
		return 0, fmt.Errorf("it answers with the label %g, and there are the classes 0 to %d: say how many there are by %v", k,
			e.signature.Classes-1, classesName)
	}
	return int32(k), nil
}

// class finds a class by its name, or by its number.
func (e *Endpoint) class(name string) (int32, error) {
	if i := slices.Index(e.signature.ClassNames, name); i >= 0 {
		return int32(i), nil
	}
	var k int32
	if _, err := fmt.Sscanf(name, "%d", &k); err == nil && fmt.Sprint(k) == name && k >= 0 && int(k) < e.signature.Classes {
		return k, nil
	}
	return 0, fmt.Errorf("it answers with the class %.60q, which is none of the names %q: give all names in their order by %v", name,
		e.signature.ClassNames, classNamesName)
}

// repeats is how often each of the first inputs is asked.
var repeats = []int{4, 2}

// probes are the first two inputs.
func (e *Endpoint) probes() [][]float32 {
	s := e.signature
	size := product(s.Input)
	if p := e.spec.Probe; p != nil && p.Len() >= len(repeats) {
		flat := tensors.MustCopyFlatData[float32](p.First(len(repeats)).X)
		return [][]float32{flat[:size], flat[size:]}
	}
	limits := s.Limits()
	r := rand.New(rand.NewPCG(1, 2))
	x := [][]float32{make([]float32, size), make([]float32, size)}
	if s.Domain == nil {
		for i := range size {
			x[0][i] = float32((s.Box.Lo + s.Box.Hi) / 2)
			x[1][i] = limits.Clamp(i, s.Box.Lo+r.Float64()*(s.Box.Hi-s.Box.Lo), x[0][i])
		}
		return x
	}
	at := 0
	for _, f := range s.Domain {
		for k, share := range []float64{0.5, r.Float64()} {
			switch {
			case f.OneHot > 0:
				x[k][at+int(share*float64(f.OneHot))] = 1
			case f.Step > 0:
				x[k][at] = float32(f.Lo + f.Step*math.Round(share*(f.Hi-f.Lo)/f.Step))
			default:
				x[k][at] = float32(f.Lo + share*(f.Hi-f.Lo))
			}
		}
		at += max(1, f.OneHot)
	}
	// Derived features follow from the others.
	if e, err := advlib.NewExamples("probes", slices.Concat(x...), s.Input, make([]int32, len(x))); err == nil {
		if e, err = s.Domain.Recompute(e); err == nil {
			flat := tensors.MustCopyFlatData[float32](e.X)
			return [][]float32{flat[:size], flat[size:]}
		}
	}
	return x // a domain that makes no sense is refused by who uses it
}

// meet asks the first questions, and finds out what the answers are.
func (e *Endpoint) meet(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = joinClose(err, e)
		}
	}()
	if !e.spec.Forget && !e.signature.Random {
		if e.kept, err = openKept(fmt.Sprintf("%s %s", e.client.root, e.protocol.identity()), e.spec.Fresh); err != nil {
			return err
		}
	}
	var probes [][]float64
	for _, x := range e.probes() {
		v, err := e.inputs.sent(x)
		if err != nil {
			return err
		}
		probes = append(probes, v)
	}
	said, err := e.recall(ctx, probes)
	if said == nil && err == nil {
		said, err = e.first(ctx, probes)
	}
	if err != nil {
		return err
	}
	if err := e.understand(slices.Concat(said...)); err != nil {
		return err
	}
	e.look(said)
	if e.kept == nil {
		return nil
	}
	if e.signature.Random {
		err = e.kept.close()
		e.kept = nil
		return err
	}
	for i, v := range probes {
		if err := e.kept.put(e.inputs.key(v), said[i][0]); err != nil {
			return err
		}
	}
	return nil
}

// first asks the first questions, and returns the answers to each.
func (e *Endpoint) first(ctx context.Context, probes [][]float64) ([][]row, error) {
	var ask [][]float64
	said := make([][]row, len(probes))
	var to []*row
	for i, v := range probes {
		said[i] = make([]row, repeats[i])
		for k := range said[i] {
			ask, to = append(ask, v), append(to, &said[i][k])
		}
	}
	err := e.send(ctx, ask, func(i int, r row) error {
		*to[i] = r
		return nil
	})
	if status := new(statusError); errors.As(err, &status) && slices.Contains([]int{400, 422, 500}, status.status) {
		err = fmt.Errorf("%w; it was sent inputs of shape %v and datatype %s: are they what it takes? See %v and %v", err, e.inputs.server,
			e.inputs.datatype.name, inputShapeName, datatypeName)
	}
	return said, err
}

// recall returns the answers to the first questions that are kept, if one more shows that they still hold; else
// nothing is kept any more.
func (e *Endpoint) recall(ctx context.Context, probes [][]float64) ([][]row, error) {
	if e.kept == nil {
		return nil, nil
	}
	var said [][]row
	for _, v := range probes {
		r, ok := e.kept.get(e.inputs.key(v))
		if !ok {
			break
		}
		said = append(said, []row{*r})
	}
	at := len(said) - 1
	if at < 0 {
		return nil, nil
	}
	if err := e.send(ctx, probes[at:at+1], func(_ int, r row) error {
		said[at] = append(said[at], r)
		return nil
	}); err != nil {
		return nil, err
	}
	if _, apart := differ(said[at]); apart > rounding {
		e.note("the server answers otherwise than when its answers were kept: its model is another one now, and is asked anew")
		return nil, e.kept.renew()
	}
	if len(said) < len(probes) {
		return nil, nil
	}
	return said, nil
}

func joinClose(err error, e *Endpoint) error {
	if closed := e.Close(); closed != nil {
		return fmt.Errorf("%w; and %w", err, closed)
	}
	return err
}

func (e *Endpoint) note(sentence string) {
	e.signature.Notes = append(e.signature.Notes, sentence)
}

// understand decides what the answers are.
func (e *Endpoint) understand(said []row) error {
	s := &e.signature
	if slices.ContainsFunc(said, row.rejected) {
		return fmt.Errorf("it rejects the first questions, and so does not say what its answers are: give %v", probeName)
	}
	width := len(said[0].numbers)
	for _, r := range said {
		for k, v := range r.numbers {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("its answer to one of the first questions is not finite: score %d is %g", k, v)
			}
		}
		if len(r.names) == 0 && len(r.numbers) != width {
			return fmt.Errorf("it answers with %d numbers, and then with %d", width, len(r.numbers))
		}
	}
	e.returns = returning[e.spec.Returns]
	if e.spec.Returns == "" {
		var err error
		if e.returns, err = e.kind(said); err != nil {
			return err
		}
	}
	named := len(said[0].names) > 0
	switch {
	case named && width > 0:
		e.returns = advlib.TopClasses
	case named:
		e.returns = advlib.Label
	}
	s.Returns = e.returns
	switch e.returns {
	case advlib.OneLogit:
		if width != 1 {
			return fmt.Errorf("it answers with %d numbers, and not with one logit", width)
		}
		s.Returns, s.Classes = advlib.Logits, 2
	case advlib.Logits, advlib.Probabilities:
		classes := max(2, width)
		if s.Classes != 0 && s.Classes != classes {
			return fmt.Errorf("it answers with %d scores, and there should be %d classes", width, s.Classes)
		}
		if width == 1 && e.returns == advlib.Logits {
			return fmt.Errorf("it answers with one number, which are no logits of classes: say what it is by %v", returnsName)
		}
		s.Classes = classes
	default:
		if s.Classes == 0 {
			s.Classes = e.classes
		}
		if p := e.spec.Probe; s.Classes == 0 && p != nil && e.returns == advlib.Label {
			s.Classes = int(slices.Max(p.Y)) + 1
			e.note(fmt.Sprintf("labels only do not say how many classes there are: those of the examples are 0 to %d", s.Classes-1))
		}
		if s.Classes == 0 {
			return fmt.Errorf("it answers with %v only, which does not say how many classes there are: give their number by %v", e.returns,
				classesName)
		}
	}
	e.note(fmt.Sprintf("%s: it answers with %s", e.protocol.name(), e.kindName()))
	for _, r := range said {
		if a, err := e.answer(r); err != nil {
			return err
		} else if a.Kind == advlib.Probabilities || a.Kind == advlib.TopClasses {
			for _, p := range a.Scores {
				if p < -slack || p > 1+slack {
					return fmt.Errorf("it answers with the score %g, which is no probability: say what it is by %v", p, returnsName)
				}
			}
		}
	}
	return nil
}

// slack is by how much a probability may miss 0 and 1, or their sum 1, by rounding.
const slack = 1e-3

// kindName says what the answers are.
func (e *Endpoint) kindName() string {
	switch e.signature.Returns {
	case advlib.Label:
		return "labels only, so that attacks by scores are not possible"
	case advlib.TopClasses:
		return "some classes and their probabilities, of which log p are the logits"
	case advlib.Probabilities:
		return "probabilities, of which log p are the logits"
	}
	return "logits"
}

// kind guesses what numbers are.
func (e *Endpoint) kind(said []row) (advlib.Returns, error) {
	whole, sums := true, true
	width, miss := len(said[0].numbers), slack
	if d := digitsOf(said); d > 0 { // each score may be off by half a unit of the last digit
		miss += float64(width) / 2 * math.Pow10(-d)
	}
	for _, r := range said {
		sum := 0.
		for _, v := range r.numbers {
			whole = whole && v == math.Round(v)
			sums = sums && v >= 0
			sum += v
		}
		sums = sums && math.Abs(sum-1) <= miss
	}
	switch {
	case width == 1 && whole:
		return advlib.Label, nil
	case width == 1:
		return 0, fmt.Errorf("it answers with one number, such as %g: say by %v whether it is a probability, or one logit, of class 1",
			said[0].numbers[0], returnsName)
	case sums:
		return advlib.Probabilities, nil
	}
	return advlib.Logits, nil
}

// rounding is by how much answers to the same input may differ, relative to the largest of them, so that it is the
// rounding of sums in another order, and no noise.
const rounding = 1e-5

// differ returns the largest difference of the same score in some rows, and relative to the largest score. Of other
// names it is 1.
func differ(rows []row) (spread, relative float64) {
	most := 0.
	for _, r := range rows {
		if !slices.Equal(r.names, rows[0].names) || len(r.numbers) != len(rows[0].numbers) {
			return 1, 1
		}
		for k, v := range r.numbers {
			spread, most = max(spread, math.Abs(v-rows[0].numbers[k])), max(most, math.Abs(v))
		}
	}
	if spread == 0 {
		return 0, 0
	}
	return spread, spread / most
}

// look says what is worth knowing of the answers: whether they are rounded, and whether they are the same each time.
func (e *Endpoint) look(said [][]row) {
	spread, relative := 0., 0.
	for _, rows := range said {
		s, r := differ(rows)
		spread, relative = max(spread, s), max(relative, r)
	}
	label := e.signature.Returns == advlib.Label
	switch {
	case relative > rounding && label:
		e.random("the server answers the same input with other labels")
	case relative > rounding:
		e.random(fmt.Sprintf("the server answers the same input otherwise each time: scores differ by up to %.3g", spread))
	case relative > 0:
		e.note(fmt.Sprintf("the server's answers to the same input differ by rounding, by up to %.2g", spread))
	}
	if digits := digitsOf(slices.Concat(said...)); digits > 0 && !label {
		e.note(fmt.Sprintf("scores have %d digits behind the point, so that attacks by scores see steps", digits))
	}
}

// random takes the server for random.
func (e *Endpoint) random(why string) {
	e.signature.Random = true
	e.signature.Warnings = append(e.signature.Warnings, why+"; it is taken for random, and no answer is kept")
}

// digitsOf returns the number of digits behind the point of scores that seem to be rounded; 0 if they are not, or
// whole.
func digitsOf(said []row) int {
	const most = 5
digits:
	for d := range most + 1 {
		for _, r := range said {
			for _, v := range r.numbers {
				v *= math.Pow10(d)
				if math.Abs(v-math.Round(v)) > 1e-6*max(1, math.Abs(v)) {
					continue digits
				}
			}
		}
		return d
	}
	return 0
}
