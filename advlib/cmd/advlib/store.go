package main

import (
	"fmt"
	"strings"

	"advlab/advlib"
	"advlab/advlib/lab"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// kept rebuilds a model of the zoo from the weights in the store: what it is shows in their shapes and in its name.
func (s source) kept(input []int) (*advlib.Classifier, error) {
	store, entry, err := lab.Read(lab.Models, s.named.store)
	if err != nil {
		return nil, misuse("--store: %s: %s", s.named.store, whyNot(err))
	}
	weights := map[string][]int{}
	for v := range store.IterVariables() {
		weights[strings.TrimPrefix(v.Path(), "/")] = v.Shape().Dimensions
	}
	m, classes, ok := configuration(weights)
	name, _, _ := strings.Cut(entry.Name, " on ")
	name, _, _ = strings.Cut(name, " (") // what it was hardened against
	if !ok || name != m.Name {
		return nil, misuse("--store: %s, %q, is no configuration of the zoo (zoo.MLP or zoo.CNN under its own name): a function "+
			"written in a notebook cannot be rebuilt here; evaluate it there, or export the model to ONNX", entry.Key[:12], entry.Name)
	}
	c, err := advlib.NewClassifier(advlib.Spec{Name: entry.Name, Logits: m.Build(classes), Store: store, Input: input,
		Box: s.box, Domain: s.features, Normalisation: s.normalise, Classes: s.named.classes})
	if err != nil {
		return nil, statusError{misused, fmt.Errorf("--store: %s, for inputs of shape %v: %w", entry.Key[:12], input, err)}
	}
	return c, nil
}

// whyNot says what there is where a key names no model.
func whyNot(err error) string {
	entries, listErr := lab.List()
	if listErr != nil {
		return listErr.Error()
	}
	const most = 10
	var models []string
	for _, e := range entries {
		if e.Kind == lab.Models.Name && e.Damaged == "" {
			models = append(models, fmt.Sprintf("\n  %.12s  %s", e.Key, e.Name))
		}
	}
	if len(models) == 0 {
		return "no model is kept in the store: train one in a notebook, or in a program, with package zoo, or by advlib harden"
	}
	more := ""
	if len(models) > most {
		more = fmt.Sprintf("\n  and %d older ones", len(models)-most)
	}
	return fmt.Sprintf("%v; the newest models are%s%s", err, strings.Join(models[:min(most, len(models))], ""), more)
}

// configuration returns the model of the zoo that has weights of these shapes, and its number of classes.
func configuration(weights map[string][]int) (m training.Model, classes int, ok bool) {
	var channels, units []int
	for k := 0; weights[fmt.Sprintf("conv%d/w", k)] != nil; k++ {
		shape := weights[fmt.Sprintf("conv%d/w", k)]
		channels = append(channels, shape[len(shape)-1])
	}
	for k := len(channels); weights[fmt.Sprintf("dense%d/w", k)] != nil; k++ {
		shape := weights[fmt.Sprintf("dense%d/w", k)]
		units = append(units, shape[len(shape)-1])
	}
	if len(units) == 0 || len(weights) != 2*(len(channels)+len(units)) { // each layer has w and b
		return m, 0, false
	}
	classes, units = units[len(units)-1], units[:len(units)-1]
	switch {
	case len(channels) == 0:
		return zoo.MLP(units...), classes, true
	case len(units) == 1 && units[0] == 100:
		return zoo.CNN(channels...), classes, true
	}
	return m, 0, false
}
