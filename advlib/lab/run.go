package lab

import (
	"context"
	"errors"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"advlab/advlib"
)

// Run is [advlib.Settings.Run] whose result is kept: the same attack on the same classifier, with the same weights, and
// examples is not run again, and one that was killed continues. What cannot be part of a recipe, such as an attack
// defined in a cell, whose code the library does not know, is run each time, and Notify told.
func Run(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, a advlib.Attack) (*advlib.Result, error) {
	return Settings{}.Run(ctx, c, e, a)
}

// Settings are the conditions of a measurement whose result is kept: lab.Settings{Seed: 3}.Run is advlib's with the
// same fields.
type Settings advlib.Settings

// Run is the function [Run] under these settings.
func (settings Settings) Run(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, a advlib.Attack) (*advlib.Result, error) {
	s := advlib.Settings(settings)
	if c == nil || a == nil || e == nil || e.X == nil {
		return s.Run(ctx, c, e, a) // says what is missing
	}
	name := fmt.Sprintf("%v on %s, %s", a, c.Name(), e.Name)
	run := journaled(s, c, name, func(ctx context.Context, s advlib.Settings) (*advlib.Result, error) { return s.Run(ctx, c, e, a) })
	r, err := measurement(s, c, e, name, map[string]any{"attack": a})
	if err != nil {
		Notify(fmt.Sprintf("%s is not kept: %v", name, err))
		return run(ctx)
	}
	var made *advlib.Result
	kept, err := Keep(ctx, Results, r, func(ctx context.Context) (*advlib.Result, error) {
		v, err := run(ctx)
		made = v
		return v, err
	})
	if err != nil {
		return made, err // what was found before it was cancelled
	}
	return kept, nil
}

// Evaluate is [advlib.Settings.Evaluate] whose report is kept, with its key in the report; see [Run].
func Evaluate(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, attacks []advlib.Attack,
	certifiers ...advlib.Certifier) (*advlib.Report, error) {
	return Settings{}.Evaluate(ctx, c, e, attacks, certifiers...)
}

// Evaluate is the function [Evaluate] under these settings.
func (settings Settings) Evaluate(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, attacks []advlib.Attack,
	certifiers ...advlib.Certifier) (*advlib.Report, error) {
	s := advlib.Settings(settings)
	if c == nil || e == nil || e.X == nil {
		return s.Evaluate(ctx, c, e, attacks, certifiers...)
	}
	name := fmt.Sprintf("report of %s on %s", c.Name(), e.Name)
	evaluate := journaled(s, c, name, func(ctx context.Context, s advlib.Settings) (*advlib.Report, error) {
		return s.Evaluate(ctx, c, e, attacks, certifiers...)
	})
	r, err := measurement(s, c, e, name, map[string]any{"attacks": attacks, "certifiers": certifiers, "alone": s.Alone, "balls": s.Balls})
	if err != nil {
		Notify(fmt.Sprintf("%s is not kept: %v", name, err))
		return evaluate(ctx)
	}
	var made *advlib.Report
	report, key, err := keep(ctx, Reports, r, func(ctx context.Context) (*advlib.Report, error) {
		v, err := evaluate(ctx)
		made = v
		return v, err
	})
	if err != nil {
		return made, err // with what was found before it was cancelled, or what contradicts itself
	}
	report.Key = key
	return report, nil
}

// journaled is a measurement with a journal, which is empty again once it is done.
func journaled[T any](s advlib.Settings, c *advlib.Classifier, name string,
	measure func(ctx context.Context, s advlib.Settings) (T, error)) func(context.Context) (T, error) {
	return func(ctx context.Context) (T, error) {
		if s.Journal != nil {
			return measure(ctx, s)
		}
		j, err := NewJournal(ctx, c, name)
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

// measurement is the recipe of something measured on a classifier and examples.
func measurement(s advlib.Settings, c *advlib.Classifier, e *advlib.Examples, name string, configuration map[string]any) (Recipe, error) {
	r := Recipe{Name: name, Backend: c.Backend(), Parts: map[string]string{
		"data":       e.Hash(),
		"data name":  e.Name,
		"seed":       fmt.Sprint(s.Seed),
		"batch size": fmt.Sprint(s.BatchSize),
	}}
	if s.Strict {
		r.Parts["strict"] = "true"
	}
	var err error
	if r.Parts["classifier"], err = Classifier(c); err != nil {
		return r, err
	}
	for part, v := range configuration {
		if r.Parts[part], err = Describe(v); err != nil {
			return r, fmt.Errorf("%s: %w", part, err)
		}
	}
	return r, nil
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
