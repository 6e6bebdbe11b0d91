package advlib

import (
	"fmt"
	"math"
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/internal/option"
)

// Feature describes one feature of an input: which values it may have, what an attacker may change of it, and what a
// change costs.
//
// There are three kinds. A feature with OneHot is a category. One with a Step takes the values Lo, Lo + Step, …, Hi:
// whole numbers, counts, grades, the bytes of an image. All others take any value from Lo to Hi.
type Feature struct {
	// Name is shown in error messages, such as "age".
	Name string `json:"name"`
	// Lo and Hi are the ends of the range, rounded to float32, in which the inputs are. If both are 0 they are those of
	// the classifier's Box.
	Lo float64 `json:"lo"`
	Hi float64 `json:"hi"`
	// Step, if above 0, is the distance of two values that the feature may have; 1 for whole numbers. Hi must be Lo plus
	// whole steps. Of values so large that float32 does not hold each, those that it holds are meant.
	Step float64 `json:"step"`
	// OneHot, if above 0, makes the feature a category, in that many coordinates of which one is 1 and the others are 0.
	OneHot int `json:"one_hot"`
	// Change says in which direction an attacker may change the feature; a category may be Fixed or EitherWay.
	Change Change `json:"change"`
	// Scale is the change that costs 1: norms measure |x′ − x|/Scale. 0 means 1. A change of category costs 1/Scale,
	// whichever it is.
	Scale float64 `json:"scale"`
	// Formula, if set, makes the feature derived: what it is of the others, such as "ratio(errors, count)". See [Domain].
	Formula string `json:"formula,omitempty"`
}

// Domain describes the features of a classifier's inputs in their order, each of one coordinate, categories of several:
// see [Spec]. Attacks then look for adversarial examples among the inputs that an attacker could really make, and
// whatever [Settings.Run] returns is one of those: fixed features equal those of the original bit for bit, features
// with a step have one of their values, categories are one of theirs. Run refuses originals that are not in the domain,
// with the feature's name.
//
// # What a perturbation measures
//
// Norms are those of a vector with one entry for each feature, not for each coordinate:
//
//	|x′ − x| / Scale    for a feature of one coordinate
//	1 / Scale           for a category that has changed, whichever it has become; 0 for one that has not
//
// so that a change of category costs 1/Scale in L1 and Linf, contributes 1/Scale² under the root of L2, and is one
// feature in L0, where scales are of no account. Radii of balls and distances of results are in this unit.
//
// # What attacks see
//
// With ranges and directions alone, attacks work on the inputs themselves, within [Limits]. With steps, categories or
// scales they work on (x − Lo)/Scale, and on what follows. Every coordinate u of such a point stands for the admissible
// value that is reached on the way from the original x to u: the last one for a feature with steps; for a category the
// one whose coordinate has risen by 1/Scale, the most of several, else that of the original, whose own coordinate does
// not move. So what a point stands for is never farther from the original than the point, a point inside a ball stands
// for an input inside, and attacks judge the very inputs that Run returns. Gradients go straight through (Bengio et al.
// 2013, arXiv:1308.3432, section 4): that of a step is that of its line, that of a rising category is its own minus
// that of the category that the point stands for.
//
// A change of category in an L1 or L2 ball is all or nothing: it needs most of a small budget in one coordinate, and
// attacks that spread the budget over many (PGD in L1) miss it. Take attacks of minimal norm beside them, such as
// attack.FMN, whose results count in any ball.
//
// # Derived features
//
// A record has features that are functions of others: rates, ratios, lengths, counts of what is counted elsewhere, too.
// An attacker cannot choose them. A feature with a Formula is never moved by an attack. It is computed anew for every
// input that an attack asks about, or that is trained on, and in what Run returns it equals its formula bit for bit. It
// has no weight in a perturbation; its gradient goes on to the features that it is of. Originals in which a derived
// feature is not what its formula gives are refused, with both values: see [Domain.Recompute].
//
//	{"name": "error_rate", "formula": "round(ratio(errors, count), 2)"}
//
// A formula has numbers, the names of features ('in quotes' if they are not of letters, digits and _), + - * / and
// parentheses, comparisons, which are 1 or 0, name[k], which is 1 if a category is its k-th, counted from 0, and the
// functions abs(a), min(a, b, …), max(a, b, …), floor(a), ceil(a), round(a) and round(a, digits), halves upwards,
// ratio(a, b), which is a/b, and 0 where b is 0, and if(condition, a, b). It is computed in float64, as it is written,
// and rounded to float32 at the end. It must be finite wherever the ranges of its features let it be: that is checked.
// What is derived from features that are derived is allowed, in a circle it is not.
//
// Leave out Step, OneHot, Scale and Change of a derived feature. Lo and Hi, if set, are for [Domain.Normalize] alone.
// Certificates of balls are refused in such a domain, for they take coordinates to be free of each other.
type Domain []Feature

// FitTo returns the domain with what it leaves open taken from examples: features without a range have that from the
// smallest to the largest value in the examples (with a Step, the first and the last value that is not inside),
// features without a scale the width of their range, so that a radius of 0.1 means a tenth of each range. A feature
// that is constant in the examples becomes Fixed, with a range of width 1. Categories without a scale have 1.
//
// Test examples may lie outside of what training examples cover: fit to all of them, or give the ranges.
func (d Domain) FitTo(e *Examples) (Domain, error) {
	if n := product(e.Shape()); n != d.Coordinates() {
		return nil, fmt.Errorf("advlib: the domain has %d coordinates (%d features), the examples %d", d.Coordinates(), len(d), n)
	}
	lo, hi, err := extremes(e.X)
	if err != nil {
		return nil, fmt.Errorf("advlib: %w", err)
	}
	fit := slices.Clone(d)
	at := 0
	for i := range fit {
		f := &fit[i]
		j := at
		at += f.coordinates()
		if f.OneHot > 0 {
			continue
		}
		if f.Formula != "" { // its range is for Normalize alone, and it has no scale
			if f.Lo == 0 && f.Hi == 0 {
				if f.Lo, f.Hi = lo[j], hi[j]; f.Lo == f.Hi {
					f.Hi++
				}
			}
			continue
		}
		if f.Lo == 0 && f.Hi == 0 {
			f.Lo, f.Hi = lo[j], hi[j]
			if f.Step > 0 {
				f.Lo, f.Hi = f.Step*math.Floor(f.Lo/f.Step+levelSlack), f.Step*math.Ceil(f.Hi/f.Step-levelSlack)
			}
			if f.Lo == f.Hi {
				f.Hi, f.Change = f.Lo+max(1, f.Step), Fixed
			}
		}
		if f.Scale == 0 && f.Hi > f.Lo {
			f.Scale = f.Hi - f.Lo
		}
	}
	return fit, nil
}

// Normalize maps each coordinate of x [n, d...] from its feature's range to [0, 1]: preprocessing for a model of
// tabular data, to be called in its Logits. Features must have their ranges, as from [Domain.FitTo] or
// [Classifier.Domain].
func (d Domain) Normalize(x *Node) *Node {
	dims := x.Shape().Dimensions
	var lo, factor []float32
	for i, f := range d {
		if !(f.Lo < f.Hi) && f.OneHot == 0 {
			panic(fmt.Errorf("advlib: domain: feature %d, %q, has no range to normalize: give Lo and Hi, or call FitTo", i, f.Name))
		}
		for range f.coordinates() {
			width := f.Hi - f.Lo
			if f.OneHot > 0 {
				width = 1
			}
			lo, factor = append(lo, float32(f.Lo)), append(factor, float32(1/width))
		}
	}
	row := func(v []float32) *Node {
		return BroadcastToDims(ConstTensor(x.Graph(), tensors.FromFlatDataAndDimensions(v, append([]int{1}, dims[1:]...)...)), dims...)
	}
	return Mul(Sub(x, row(lo)), row(factor))
}

// Recompute returns the examples with their derived features computed from the others. Tables round what they derive,
// and were made by other programs. A note says how many values are others than before, and by how much at most: where
// that is more than rounding, the formula is another than that of who made the table.
func (d Domain) Recompute(e *Examples) (*Examples, error) {
	l, err := d.layout(Box{}, e.Shape())
	if err != nil {
		return nil, fmt.Errorf("advlib: %w", err)
	}
	flat := tensors.MustCopyFlatData[float32](e.X)
	changed, worst, feature := 0, 0., ""
	for row := range slices.Chunk(flat, product(e.Shape())) {
		before := slices.Clone(row)
		l.derive(row)
		for _, v := range l.derived {
			j := l.first[v.feature]
			if row[j] == before[j] {
				continue
			}
			changed++
			if δ := math.Abs(float64(row[j]) - float64(before[j])); !(δ <= worst) {
				worst, feature = δ, l.features[v.feature].Name
			}
		}
	}
	out := *e
	out.X = tensors.FromFlatDataAndDimensions(flat, e.X.Shape().Dimensions...)
	if changed > 0 {
		out.Notes = append(slices.Clone(e.Notes), fmt.Sprintf("%d of %d values of derived features are recomputed; the largest difference "+
			"is %.3g, of %q", changed, e.Len()*len(l.derived), worst, feature))
	}
	return &out, nil
}

// Coordinates is how many coordinates the features take.
func (d Domain) Coordinates() int {
	n := 0
	for _, f := range d {
		n += f.coordinates()
	}
	return n
}

// String describes the domain in a line, such as "41 features: 3 categories, 12 in steps, 9 fixed, scaled".
func (d Domain) String() string {
	count := func(is func(f Feature) bool) (n int) {
		for _, f := range d {
			if is(f) {
				n++
			}
		}
		return n
	}
	s := fmt.Sprintf("%d features", len(d))
	var more []string
	for _, kind := range []struct {
		name string
		is   func(f Feature) bool
	}{
		{"categories", func(f Feature) bool { return f.OneHot > 0 }},
		{"in steps", func(f Feature) bool { return f.Step > 0 }},
		{"derived", func(f Feature) bool { return f.Formula != "" }},
		{"fixed", func(f Feature) bool { return f.Change == Fixed && f.Formula == "" }},
		{"rise only", func(f Feature) bool { return f.Change == RiseOnly }},
		{"fall only", func(f Feature) bool { return f.Change == FallOnly }},
	} {
		if n := count(kind.is); n > 0 {
			more = append(more, fmt.Sprintf("%d %s", n, kind.name))
		}
	}
	if count(func(f Feature) bool { return f.Scale != 0 && f.Scale != 1 }) > 0 {
		more = append(more, "scaled")
	}
	if len(more) > 0 {
		s += ": " + strings.Join(more, ", ")
	}
	return s
}

func (f Feature) coordinates() int { return max(1, f.OneHot) }

func (f Feature) scale() float64 {
	if f.Scale == 0 {
		return 1
	}
	return f.Scale
}

// steps is the number of values of a feature with a Step, but for the first.
func (f Feature) steps() float64 { return math.Round((f.Hi - f.Lo) / f.Step) }

// level returns the number of the value v, value the value of a number.
func (f Feature) level(v float32) float64     { return math.Round((float64(v) - f.Lo) / f.Step) }
func (f Feature) value(level float64) float32 { return float32(f.Lo + level*f.Step) }

// levelSlack is by how much of a step, or of a change of category, a value may miss a level and still count as on it:
// far more than float32 rounds.
const levelSlack = 1e-3

// layout is a domain with all its defaults filled in, and where its features lie in an input.
type layout struct {
	features Domain
	derived  []derivation // in an order in which they can be computed
	first    []int        // the first coordinate of each feature
	shape    []int        // of an input
	box      Box          // around all ranges
}

// layout checks the domain against the shape of an input, and the box of features without a range; a zero box means
// that there are none.
func (d Domain) layout(box Box, shape []int) (*layout, error) {
	if n := product(shape); n != d.Coordinates() {
		return nil, fmt.Errorf("its domain has %d coordinates (%d features), its inputs %v have %d: describe each feature, in order",
			d.Coordinates(), len(d), shape, n)
	}
	l := &layout{features: slices.Clone(d), shape: shape, box: Box{math.Inf(1), math.Inf(-1)}}
	at, changeable := 0, false
	for i := range l.features {
		f := &l.features[i]
		if err := f.fill(box); err != nil {
			return nil, fmt.Errorf("%s of its domain %w", l.name(i), err)
		}
		l.first = append(l.first, at)
		at += f.coordinates()
		changeable = changeable || f.Change != Fixed
	}
	if !changeable {
		return nil, fmt.Errorf("all %d features of its domain are fixed: there is nothing that an attack may change", len(d))
	}
	if err := l.derivations(); err != nil {
		return nil, err
	}
	for i := range l.features {
		f := &l.features[i]
		if box != (Box{}) && (f.Lo < box.Lo || f.Hi > box.Hi) {
			return nil, fmt.Errorf("%s of its domain has the range [%g, %g], outside of its box %v: leave %v out, and it is the one "+
				"around all ranges", l.name(i), f.Lo, f.Hi, box, option.Name("the Box"))
		}
		l.box.Lo, l.box.Hi = min(l.box.Lo, f.Lo), max(l.box.Hi, f.Hi)
	}
	if box != (Box{}) {
		l.box = box
	}
	return l, nil
}

// fill checks the feature and fills in its defaults.
func (f *Feature) fill(box Box) error {
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	switch {
	case f.Change < EitherWay || f.Change > FallOnly:
		return fmt.Errorf("has the Change %d: give EitherWay, Fixed, RiseOnly or FallOnly", int(f.Change))
	case !finite(f.Scale) || f.Scale < 0:
		return fmt.Errorf("has the Scale %g: give a number above 0, the change that costs 1, or 0 for 1", f.Scale)
	case !finite(f.Step) || f.Step < 0:
		return fmt.Errorf("has the Step %g: give a number above 0, or 0 for a feature that takes any value", f.Step)
	case !finite(f.Lo) || !finite(f.Hi) || f.Lo > f.Hi:
		return fmt.Errorf("has the range [%g, %g]: it is empty or not finite", f.Lo, f.Hi)
	case f.OneHot < 0 || f.OneHot == 1:
		return fmt.Errorf("is a category of %d coordinates: it takes at least 2", f.OneHot)
	}
	f.Scale = f.scale()
	if f.Formula != "" {
		if f.OneHot > 0 || f.Step > 0 || f.Scale != 1 || f.Change != EitherWay && f.Change != Fixed {
			return fmt.Errorf("is derived, as its formula %q says: leave out its Step, OneHot, Scale and Change", f.Formula)
		}
		f.Change = Fixed // for attacks, which see it as it is in the original
		return nil
	}
	if f.OneHot > 0 {
		switch {
		case f.Lo != 0 || f.Hi != 0 && f.Hi != 1 || f.Step != 0:
			return fmt.Errorf("is a category, whose coordinates are 0 and 1: leave Lo, Hi and Step out")
		case f.Change == RiseOnly || f.Change == FallOnly:
			return fmt.Errorf("is a category, which can neither rise nor fall: its change is %v or %v, not %v", EitherWay, Fixed, f.Change)
		}
		f.Hi = 1
		return nil
	}
	if f.Lo == 0 && f.Hi == 0 {
		if box == (Box{}) {
			return fmt.Errorf("has no range: give Lo and Hi, or the Box of the classifier, or take them from the data with Domain.FitTo")
		}
		f.Lo, f.Hi = box.Lo, box.Hi
	}
	f.Lo, f.Hi = float64(float32(f.Lo)), float64(float32(f.Hi))
	if f.Lo == f.Hi {
		f.Change = Fixed
	}
	if f.Step > 0 {
		if n := (f.Hi - f.Lo) / f.Step; math.Abs(n-math.Round(n)) > levelSlack || n > 1<<31 {
			return fmt.Errorf("has the range [%g, %g] and the Step %g: Hi must be Lo plus whole steps, at most 2³¹ of them", f.Lo, f.Hi, f.Step)
		}
		f.Hi = float64(f.value(f.steps()))
	}
	return nil
}

// name names feature i in an error message.
func (l *layout) name(i int) string {
	if n := l.features[i].Name; n != "" {
		return fmt.Sprintf("feature %d, %q,", i, n)
	}
	return fmt.Sprintf("feature %d", i)
}

// feature returns the number of the feature of a coordinate.
func (l *layout) feature(coordinate int) int {
	i, found := slices.BinarySearch(l.first, coordinate)
	if !found {
		i--
	}
	return i
}

// check refuses a flat input that is not in the domain.
func (l *layout) check(x []float32) error {
	for i, f := range l.features {
		at := l.first[i]
		v := x[at]
		switch {
		case f.Formula != "":
		case f.OneHot > 0:
			ones := 0
			for k, v := range x[at : at+f.OneHot] {
				if v != 0 && v != 1 {
					return fmt.Errorf("%s is a category, but its coordinate %d is %g: one of its %d coordinates must be 1, the others 0",
						l.name(i), k, v, f.OneHot)
				}
				ones += int(v)
			}
			if ones != 1 {
				return fmt.Errorf("%s is a category, but %d of its %d coordinates are 1: it must be one", l.name(i), ones, f.OneHot)
			}
		case float64(v) < f.Lo || float64(v) > f.Hi:
			return fmt.Errorf("%s is %g, outside of its range [%g, %g]: scale the data to it, or give the feature the range of its "+
				"data", l.name(i), v, f.Lo, f.Hi)
		case f.Step > 0 && v != f.value(f.level(v)):
			return fmt.Errorf("%s is %g, which is not one of its values %g, %g, … %g: the nearest is %g", l.name(i), v, f.Lo,
				f.Lo+f.Step, f.Hi, f.value(f.level(v)))
		}
	}
	for _, d := range l.derived {
		v, want := x[l.first[d.feature]], d.value(l, x)
		if math.Float32bits(v) != math.Float32bits(want) && (v != 0 || want != 0) {
			return fmt.Errorf("%s is %g, and its formula %q gives %g: compute it from the others %v, or mend the formula",
				l.name(d.feature), v, d.text, want, option.Name("by Domain.Recompute"))
		}
	}
	return nil
}

// round moves a flat input inside the ranges to an admissible one: numbers to the nearest, categories to the largest
// coordinate, derived features to what they are of the others.
func (l *layout) round(x []float32) {
	for i, f := range l.features {
		at := l.first[i]
		switch {
		case f.OneHot > 0:
			k := argmax(x[at : at+f.OneHot])
			clear(x[at : at+f.OneHot])
			x[at+int(k)] = 1
		case f.Step > 0:
			x[at] = f.value(f.level(x[at]))
		}
	}
	l.derive(x)
}

// difference returns the change of each feature from x to y, flat inputs, in its scale.
func (l *layout) difference(x, y []float32) []float64 {
	δ := make([]float64, len(l.features))
	for i, f := range l.features {
		at := l.first[i]
		switch {
		case f.Formula != "":
		case f.OneHot > 0:
			if !slices.Equal(x[at:at+f.OneHot], y[at:at+f.OneHot]) {
				δ[i] = 1 / f.Scale
			}
		case f.Step > 0: // by numbers of steps, which float32 does not round
			δ[i] = (f.level(y[at]) - f.level(x[at])) * f.Step / f.Scale
		default:
			δ[i] = (float64(y[at]) - float64(x[at])) / f.Scale
		}
	}
	return δ
}

// encoded tells whether attacks work in other coordinates than the inputs.
func (l *layout) encoded() bool {
	return slices.ContainsFunc(l.features, func(f Feature) bool { return f.Step > 0 || f.OneHot > 0 || f.Scale != 1 || f.Formula != "" })
}

// limits returns the limits of the inputs themselves.
func (l *layout) limits() Limits {
	lim := boxLimits(l.box, l.shape)
	var ranges []Box
	var change []Change
	for _, f := range l.features {
		for range f.coordinates() {
			ranges, change = append(ranges, Box{f.Lo, f.Hi}), append(change, f.Change)
		}
	}
	lim.set(ranges, change, l.span())
	if l.encoded() {
		lim.encoded = true
		lim.raw = fmt.Errorf("its domain has scales, steps, categories or derived features, so attacks work in other coordinates than " +
			"its inputs: call the attack by advlib.Run, which translates")
	}
	return lim
}

// span returns how much each feature can change at most, in its scale.
func (l *layout) span() []float64 {
	span := make([]float64, len(l.features))
	for i, f := range l.features {
		if f.Change != Fixed {
			span[i] = (f.Hi - f.Lo) / f.Scale
		}
	}
	return span
}
