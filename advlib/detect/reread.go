package detect

import (
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
)

// reread is where a detector comes from that [Screened.Reread] has made.
type reread struct {
	of       *Screened
	inverted bool
}

// Graph implements [Score]: that of the detector as it was fitted, on its own classifier, whatever is answered now.
func (r reread) Graph(_ *advlib.Model, x, _ *graph.Node) *graph.Node {
	score := r.of.score.Graph(advlib.NewModel(r.of.of), x, r.of.of.LogitsGraph(x))
	if r.inverted {
		return Neg(score)
	}
	return score
}

// Reread returns the detector with another classifier's answers, and an attack on s made one on that, for tests of
// attacks such as the binarisation test of Zimmermann et al. (2022), arXiv:2206.13991. C takes the same inputs, and may
// have other classes; scores stay those of the classifier that the detector was fitted to. Inverted, their sign is
// changed, and exactly what was accepted is rejected and the other way round, but that an input whose score is not a
// number stays rejected.
//
// Guides are examples of the classes of c, in place of the clean examples whose features an attack may match, see
// [Evasion].Match; where none is accepted, nothing is matched, and that attack is the selective one.
//
// In the attack, this detector and the classifiers that belong to it are replaced wherever exported fields hold them.
// It is an error if it is transferred from another classifier, or evades another detector.
func (s *Screened) Reread(
	c *advlib.Classifier, guides *advlib.Examples, inverted bool, a advlib.Attack,
) (advlib.Screener, advlib.Attack, error) {
	fail := func(err error) (advlib.Screener, advlib.Attack, error) {
		return nil, nil, fmt.Errorf("detect: %v: %w", s.method, err)
	}
	if c == nil || a == nil {
		return fail(fmt.Errorf("the classifier %v and the attack %v: give both", c, a))
	}
	if err := advlib.SameInputs(c, s); err != nil {
		return fail(err)
	}
	if err := guides.Check(advlib.Spec{Name: c.Name(), Input: c.Input(), Box: c.Box(), Domain: c.Domain()}, c.Classes()); err != nil {
		return fail(fmt.Errorf("the guides: %w", err))
	}
	t := s.reread(c, guides, inverted)
	m := move{from: s, to: t, classifiers: map[*advlib.Classifier]*advlib.Classifier{nil: nil, s.of: c}}
	behind, err := s.Classifier()
	if err != nil {
		return fail(err)
	}
	m.classifiers[behind] = c
	if mean, err := s.mean(); err != nil {
		return fail(err)
	} else if mean != nil {
		if m.classifiers[mean], err = t.mean(); err != nil {
			return fail(err)
		}
	}
	moved, err := m.value(reflect.ValueOf(a))
	if err != nil {
		return fail(fmt.Errorf("%v: %w", a, err))
	}
	b := moved.Interface().(advlib.Attack)
	if _, err := b.Threat(t); err != nil {
		return fail(fmt.Errorf("%v: %w", a, err))
	}
	return t, b, nil
}

func (s *Screened) reread(c *advlib.Classifier, guides *advlib.Examples, inverted bool) *Screened {
	t := &Screened{
		Threshold: s.Threshold, Rate: s.Rate, method: s.method, score: reread{s, inverted}, data: s.data, clean: slices.Clone(s.clean), of: c,
	}
	t.data.Clean = guides
	if inverted {
		// −score is accepted where score > threshold, and the threshold itself is not.
		t.Threshold, t.Rate = math.Nextafter(-s.Threshold, math.Inf(-1)), 1-s.Rate
		for i, v := range s.clean {
			t.clean[len(t.clean)-1-i] = -v
		}
	}
	return t
}

// fitted returns the detector as it was fitted: s, or what it was made from by [Screened.Reread].
func (s *Screened) fitted() *Screened {
	if r, ok := s.score.(reread); ok {
		return r.of
	}
	return s
}

// move makes attacks on one detector attacks on another.
type move struct {
	from, to    *Screened
	classifiers map[*advlib.Classifier]*advlib.Classifier
}

// value returns a copy of a value in which detector and classifiers are the others.
func (m move) value(v reflect.Value) (reflect.Value, error) {
	switch held := v.Interface().(type) {
	case *Screened:
		if held != nil && held != m.from {
			return v, fmt.Errorf("it evades another detector, %s", held.Name())
		}
		if held == nil {
			return v, nil
		}
		return reflect.ValueOf(m.to), nil
	case *advlib.Classifier:
		other, ok := m.classifiers[held]
		if !ok {
			return v, fmt.Errorf("it works on %s, whose last layer is not known", held.Name())
		}
		return reflect.ValueOf(other), nil
	case Joint:
		held.Targets = min(held.Targets, m.to.of.Classes()-1)
		v = reflect.ValueOf(held)
	}
	w := reflect.New(v.Type()).Elem()
	w.Set(v)
	var err error
	into := func(to, from reflect.Value) {
		moved, bad := m.value(from)
		if to.Set(moved); err == nil {
			err = bad
		}
	}
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			into(w, v.Elem())
		}
	case reflect.Pointer:
		if _, attacks := v.Interface().(advlib.Attack); attacks && !v.IsNil() {
			w.Set(reflect.New(v.Type().Elem()))
			into(w.Elem(), v.Elem())
		}
	case reflect.Slice:
		if !v.IsNil() {
			w.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		for i := range v.Len() {
			into(w.Index(i), v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				into(w.Field(i), v.Field(i))
			}
		}
	}
	return w, err
}
