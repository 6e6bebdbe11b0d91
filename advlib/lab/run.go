package lab

import (
	"context"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"advlab/advlib"
)

// Run is [advlib.Settings.Run] whose result is kept: the same attack on the same classifier, with the same weights, and
// examples is not run again. What cannot be part of a recipe, such as an attack defined in a cell, whose code the library
// does not know, is run each time, and Notify told.
func Run(ctx context.Context, s advlib.Settings, c *advlib.Classifier, a advlib.Attack, e *advlib.Examples) (*advlib.Result, error) {
	run := func(ctx context.Context) (*advlib.Result, error) { return s.Run(ctx, c, a, e) }
	if c == nil || a == nil || e == nil || e.X == nil {
		return run(ctx) // says what is missing
	}
	name := fmt.Sprintf("%v on %s, %s", a, c.Name(), e.Name)
	r, err := measurement(s, c, e, name, map[string]any{"attack": a})
	if err != nil {
		Notify(fmt.Sprintf("%s is not kept: %v", name, err))
		return run(ctx)
	}
	return Keep(ctx, Results, r, run)
}

// Evaluate is [advlib.Settings.Evaluate] whose report is kept, with its key in the report; see [Run].
func Evaluate(ctx context.Context, s advlib.Settings, c *advlib.Classifier, e *advlib.Examples, attacks []advlib.Attack, certifiers ...advlib.Certifier) (*advlib.Report, error) {
	evaluate := func(ctx context.Context) (*advlib.Report, error) {
		return s.Evaluate(ctx, c, e, attacks, certifiers...)
	}
	if c == nil || e == nil || e.X == nil {
		return evaluate(ctx)
	}
	name := fmt.Sprintf("report of %s on %s", c.Name(), e.Name)
	r, err := measurement(s, c, e, name, map[string]any{"attacks": attacks, "certifiers": certifiers})
	if err != nil {
		Notify(fmt.Sprintf("%s is not kept: %v", name, err))
		return evaluate(ctx)
	}
	report, key, err := keep(ctx, Reports, r, evaluate)
	if err != nil {
		return nil, err
	}
	report.Key = key
	return report, nil
}

// measurement is the recipe of something measured on a classifier and examples.
func measurement(s advlib.Settings, c *advlib.Classifier, e *advlib.Examples, name string, configuration map[string]any) (Recipe, error) {
	r := Recipe{Name: name, Backend: c.Backend(), Parts: map[string]string{
		"data":       e.Hash(),
		"data name":  e.Name,
		"seed":       fmt.Sprint(s.Seed),
		"batch size": fmt.Sprint(s.BatchSize),
	}}
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
	input := shapes.Make(dtypes.Float32, append([]int{advlib.Bucket(1)}, c.Input()...)...)
	err := c.Trace(func(g *Graph) {
		x := Parameter(g, "x", input)
		z := c.LogitsGraph(x)
		// The gradient shows what a custom gradient does. Its direction is an input, so that nothing is folded away.
		d := Parameter(g, "d", z.Shape())
		text = graphText(c.Store(), []*Node{z, Gradient(ReduceAllSum(Mul(z, d)), x)[0]})
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
