package main

import (
	"fmt"
	"os"

	"advlab/advlib"
	"advlab/advlib/onnx"
)

// classifier returns the model that the flags name, for examples of that shape.
func (p plan) classifier(e *advlib.Examples) (*advlib.Classifier, error) {
	if p.store != "" {
		return p.kept(e)
	}
	layout, err := layoutOf(p.layout)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.model); err != nil {
		return nil, statusError{misused, fmt.Errorf("--model: %w", err)}
	}
	c, err := onnx.Load(p.model, onnx.Options{Box: p.box, Domain: p.features, Classes: p.classes, Layout: layout, Input: e.Shape(),
		Normalisation: p.normalise, Output: p.logits, StripSoftmax: p.stripSoftmax, Returns: p.returns(), MaxValues: p.maxValues})
	if err != nil {
		return nil, statusError{misused, fmt.Errorf("--model: %w", err)}
	}
	return c, nil
}

// returns is what the model returns, by the flags.
func (e evaluation) returns() advlib.Returns {
	switch {
	case e.probabilities:
		return advlib.Probabilities
	case e.oneLogit:
		return advlib.OneLogit
	}
	return advlib.Logits
}
