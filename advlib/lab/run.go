package lab

import (
	"context"
	"errors"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"advlab/advlib"
)

// Run is [advlib.Settings.Run] whose result is kept: the same attack on the same classifier, with the same weights, and
// examples is not run again, and one that was killed continues. What cannot be part of a recipe, such as an attack
// defined in a cell, or a victim that is a Go function, whose code the library does not know, is run each time, and
// Notify told. See [Victim].
func Run(ctx context.Context, v advlib.Victim, e *advlib.Examples, a advlib.Attack) (*advlib.Result, error) {
	return Settings{}.Run(ctx, v, e, a)
}

// Settings are the conditions of a measurement whose result is kept: lab.Settings{Seed: 3}.Run is advlib's with the
// same fields.
type Settings advlib.Settings

// Run is the function [Run] under these settings.
func (settings Settings) Run(ctx context.Context, v advlib.Victim, e *advlib.Examples, a advlib.Attack) (*advlib.Result, error) {
	s := advlib.Settings(settings)
	if missing(v) || a == nil || e == nil || e.X == nil {
		return s.Run(ctx, v, e, a) // says what is missing
	}
	name := fmt.Sprintf("%v on %s, %s", a, v.Name(), e.Name)
	run := journaled(s, v, name, func(ctx context.Context, s advlib.Settings) (*advlib.Result, error) { return s.Run(ctx, v, e, a) })
	r, err := measurement(s, v, e, name, map[string]any{"attack": a})
	if err != nil {
		Notify(fmt.Sprintf("%s is not kept: %v", name, err))
		return run(ctx)
	}
	var made *advlib.Result
	kept, err := Keep(ctx, Results, r, func(ctx context.Context) (*advlib.Result, error) {
		var err error
		made, err = run(ctx)
		return made, err
	})
	if err != nil {
		return made, err // what was found before it was cancelled
	}
	return kept, nil
}

// Evaluate is [advlib.Settings.Evaluate] whose report is kept, with its key in the report; see [Run].
func Evaluate(
	ctx context.Context, v advlib.Victim, e *advlib.Examples, attacks []advlib.Attack, certifiers ...advlib.Certifier,
) (*advlib.Report, error) {
	return Settings{}.Evaluate(ctx, v, e, attacks, certifiers...)
}

// Evaluate is the function [Evaluate] under these settings.
func (settings Settings) Evaluate(
	ctx context.Context, v advlib.Victim, e *advlib.Examples, attacks []advlib.Attack, certifiers ...advlib.Certifier,
) (*advlib.Report, error) {
	s := advlib.Settings(settings)
	if missing(v) || e == nil || e.X == nil {
		return s.Evaluate(ctx, v, e, attacks, certifiers...)
	}
	name := fmt.Sprintf("report of %s on %s", v.Name(), e.Name)
	evaluate := journaled(s, v, name, func(ctx context.Context, s advlib.Settings) (*advlib.Report, error) {
		return s.Evaluate(ctx, v, e, attacks, certifiers...)
	})
	r, err := measurement(s, v, e, name, map[string]any{"attacks": attacks, "certifiers": certifiers, "alone": s.Alone, "balls": s.Balls})
	if err != nil {
		Notify(fmt.Sprintf("%s is not kept: %v", name, err))
		return evaluate(ctx)
	}
	var made *advlib.Report
	report, key, err := keep(ctx, Reports, r, func(ctx context.Context) (*advlib.Report, error) {
		var err error
		made, err = evaluate(ctx)
		return made, err
	})
	if err != nil {
		return made, err // with what was found before it was cancelled, or what contradicts itself
	}
	report.Key = key
	return report, nil
}

// journaled is a measurement with a journal, which is empty again once it is done.
func journaled[T any](
	s advlib.Settings, on advlib.Victim, name string, measure func(ctx context.Context, s advlib.Settings) (T, error),
) func(context.Context) (T, error) {
	return func(ctx context.Context) (T, error) {
		if s.Journal != nil {
			return measure(ctx, s)
		}
		j, err := NewJournal(ctx, on, name)
		if err != nil {
			Notify(fmt.Sprintf("%s is not kept while it is measured: %v", name, err))
			return measure(ctx, s)
		}
		s.Journal = j
		v, err := measure(ctx, s)
		if n := j.Recalled(); n > 0 {
			Notify(fmt.Sprintf("%s continues one that was interrupted: %d of its pieces were kept", name, n))
		}
		if err == nil || errors.Is(err, advlib.ErrContradiction) {
			j.Clear()
		}
		return v, err
	}
}

// missing tells a victim that is nil.
func missing(v advlib.Victim) bool {
	c, ok := v.(*advlib.Classifier)
	return v == nil || ok && c == nil
}

// measurement is the recipe of something measured on a victim and examples.
func measurement(s advlib.Settings, v advlib.Victim, e *advlib.Examples, name string, configuration map[string]any) (Recipe, error) {
	r := Recipe{Name: name, Backend: backendOf(v), Parts: map[string]string{
		"data":       e.Hash(),
		"data name":  e.Name,
		"seed":       fmt.Sprint(s.Seed),
		"batch size": fmt.Sprint(s.BatchSize),
	}}
	if v.Signature().Random {
		r.Parts["draws"] = fmt.Sprint(s.Draws)
	}
	if s.Strict {
		r.Parts["strict"] = "true"
	}
	var err error
	if r.Parts["classifier"], err = Victim(v); err != nil {
		return r, err
	}
	for part, v := range configuration {
		if r.Parts[part], err = Describe(v); err != nil {
			return r, fmt.Errorf("%s: %w", part, err)
		}
	}
	return r, nil
}

// Victim returns a text for a recipe that changes with anything that changes the victim's answers. Of a classifier that
// is [Classifier]; of a view in package oracle, it is that of the victim underneath and what is seen of it; of another
// one, its signature with the text that its method
//
//	Fingerprint() string
//
// returns, which oracle.Fingerprint gives it. It is an error where there is no such text, and where answers are random:
// what was kept would stand for draws that nobody can draw again.
func Victim(v advlib.Victim) (string, error) {
	if c, err := advlib.WhiteBox(v); err == nil {
		return Classifier(c)
	}
	if v.Signature().Random {
		return "", fmt.Errorf("lab: %s answers at random, by no seed", v.Name())
	}
	s := v.Signature()
	about := fmt.Sprintf("%s, inputs %v, box %v, domain %+v, classes %d %q, returns %v, queries %d",
		v.Name(), s.Input, s.Box, []advlib.Feature(s.Domain), s.Classes, s.ClassNames, s.Returns, s.Queries)
	if p, ok := v.(interface{ Fingerprint() string }); ok && p.Fingerprint() != "" {
		return fmt.Sprintf("%s, fingerprint %q", about, p.Fingerprint()), nil
	}
	if under, what := underneath(v); what != "" {
		text, err := Victim(under)
		return fmt.Sprintf("%s: %q of %s", about, what, text), err
	}
	return "", fmt.Errorf("lab: what %s answers is not known to the library: give it a text that changes with its answers, "+
		"by oracle.Fingerprint", v.Name())
}

// underneath returns the victim that a view is of, and what is seen of it; "" if v is none, or cannot say.
func underneath(v advlib.Victim) (advlib.Victim, string) {
	if u, ok := v.(interface {
		Underneath() (advlib.Victim, string)
	}); ok {
		return u.Underneath()
	}
	return nil, ""
}

// backendOf returns where a victim computes, as far as is known.
func backendOf(v advlib.Victim) compute.Backend {
	if c, err := advlib.WhiteBox(v); err == nil {
		return c.Backend()
	}
	if under, _ := underneath(v); under != nil {
		return backendOf(under)
	}
	return nil
}

// Classifier returns a text for a recipe that changes with anything that changes the classifier's answers or gradients:
// its graph with gradient, its weights, its box; and with its name and those of its classes, which reports show.
func Classifier(c *advlib.Classifier) (string, error) {
	var text string
	differentiable := c.Differentiable() == nil
	input := shapes.Make(dtypes.Float32, append([]int{advlib.Bucket(1)}, c.Input()...)...)
	err := c.Trace(func(g *Graph) {
		x := Parameter(g, "x", input)
		z := c.LogitsGraph(x)
		// The gradient shows what a custom gradient does. Its direction is an input, so that nothing is folded away.
		d := Parameter(g, "d", z.Shape())
		outputs := []*Node{z}
		if differentiable {
			outputs = append(outputs, Gradient(ReduceAllSum(Mul(z, d)), x)[0])
		}
		text = graphText(c.Store(), outputs)
	})
	if err != nil {
		return "", fmt.Errorf("lab: tracing the classifier %s: %w", c.Name(), err)
	}
	weights, err := Variables(c.Store())
	if err != nil {
		return "", err
	}
	names := make([]string, c.Classes())
	for k := range names {
		names[k] = c.ClassName(k)
	}
	domain := ""
	if d := c.Domain(); d != nil {
		domain = fmt.Sprintf(", domain %+v", []advlib.Feature(d))
	}
	return fmt.Sprintf("%s, box %v%s, classes %q, weights %s, graph %s", c.Name(), c.Box(), domain, names, weights, digest([]byte(text))), nil
}
