package main

import (
	"fmt"
	"os"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/onnx"
)

// modelFlags are the flags that say which model is meant, and what its inputs and outputs are.
type modelFlags struct {
	model, store                          string
	layout, logits                        string
	stripSoftmax, probabilities, oneLogit bool
	maxValues                             int
	box, classes                          []string
	domain                                string
	normalisation                         normalisation
	backend                               string
}

func (m *modelFlags) add(f *pflag.FlagSet) {
	f.StringVar(&m.model, "model", "", "model in ONNX")
	f.StringVar(&m.store, "store", "", "model of the store, by the beginning of its key")
	f.StringVar(&m.layout, "layout", "auto",
		"axes of the data: file (as the model's file), channels-last, channels-first, or auto (the one that fits)")
	f.StringVar(&m.logits, "logits", "", "name of the model's output with the logits, if it has several")
	f.BoolVar(&m.stripSoftmax, "strip-softmax", false, "leave out the softmax or sigmoid that the model ends with")
	f.BoolVar(&m.probabilities, "probabilities", false, "the model returns probabilities: their logarithms are the logits")
	f.BoolVar(&m.oneLogit, "one-logit", false, "the model returns one number, the logit of class 1: the logits are 0 and that")
	f.IntVar(&m.maxValues, "max-values", 0, "most values that one input may lead to in one place of the model (default: 67108864)")
	f.StringSliceVar(&m.box, "box", []string{"0", "1"}, "lowest and highest value of an input: LO,HI")
	f.StringVar(&m.domain, "domain", "", "file in JSON that says what an attacker may change of each feature")
	m.normalisation.add(f, "in units of the box, such as 0.485 or 123.675/255")
	f.StringSliceVar(&m.classes, "classes", nil, "names of the classes, separated by commas")
	f.StringVar(&m.backend, "backend", "", "where to compute: auto, xla:cpu, xla:cuda or go (default: ADVLAB_BACKEND, or the best there is)")
}

// source is a model that flags name, checked but not read.
type source struct {
	named modelFlags
	box   advlib.Box
	// features is the domain, nil if there is nothing but the box.
	features advlib.Domain
	// normalise is done inside of the model, nil if nothing is.
	normalise *advlib.Normalisation
	layout    onnx.Layout
}

// check refuses flags before anything is read.
func (m modelFlags) check(cmd *cobra.Command) (source, error) {
	s := source{named: m}
	var err error
	switch {
	case m.model == "" && m.store == "":
		return s, misuse("--model is missing: name a file in ONNX, or a model of the store with --store")
	case m.model != "" && m.store != "":
		return s, misuse("--model and --store are both given: one model is meant")
	case m.probabilities && m.oneLogit:
		return s, misuse("--probabilities and --one-logit are both given: the model returns one of the two")
	case (m.probabilities || m.oneLogit) && m.store != "":
		return s, misuse("--probabilities and --one-logit are for a model in ONNX: those of the store return logits")
	}
	if s.box, err = boxOf(m.box); err != nil {
		return s, err
	}
	if s.features, err = domainOf(m.domain); err != nil {
		return s, err
	}
	if s.features != nil && !cmd.Flags().Changed("box") { // the box is then the one around all ranges
		for i := range s.features {
			if f := &s.features[i]; f.OneHot == 0 && f.Lo == 0 && f.Hi == 0 {
				f.Lo, f.Hi = s.box.Lo, s.box.Hi
			}
		}
		s.box = advlib.Box{}
	}
	if s.normalise, err = m.normalisation.of(cmd); err != nil {
		return s, err
	}
	s.layout, err = layoutOf(m.layout)
	return s, err
}

// use makes the backend that is named the one that computes.
func (m modelFlags) use() error {
	if m.backend == "" {
		return nil
	}
	if err := backend.Use(m.backend); err != nil {
		return statusError{misused, fmt.Errorf("--backend: %w", err)}
	}
	return nil
}

// classifier returns the model, for inputs of that shape; nil for those that its file says.
func (s source) classifier(input []int) (*advlib.Classifier, error) {
	m := s.named
	if m.store != "" {
		return s.kept(input)
	}
	if _, err := os.Stat(m.model); err != nil {
		return nil, statusError{misused, fmt.Errorf("--model: %w", err)}
	}
	c, err := onnx.Load(m.model, onnx.Options{Box: s.box, Domain: s.features, Classes: m.classes, Layout: s.layout, Input: input,
		Normalisation: s.normalise, Output: m.logits, StripSoftmax: m.stripSoftmax, Returns: m.returns(), MaxValues: m.maxValues})
	if err != nil {
		return nil, statusError{misused, fmt.Errorf("--model: %w", err)}
	}
	return c, nil
}

// returns is what the model returns, by the flags.
func (m modelFlags) returns() advlib.Returns {
	switch {
	case m.probabilities:
		return advlib.Probabilities
	case m.oneLogit:
		return advlib.OneLogit
	}
	return advlib.Logits
}

// checkUnits refuses bytes where the box is that of fractions.
func (s source) checkUnits(f examplesFile, e *advlib.Examples) error {
	if f.Scale != 1 || s.features != nil || s.box.Hi >= 255 {
		return nil
	}
	bytes, largest := true, float32(0)
	tensors.MustConstFlatData(e.X, func(flat []float32) {
		for _, v := range flat {
			bytes = bytes && v >= 0 && v <= 255 && v == float32(uint8(v))
			largest = max(largest, v)
		}
	})
	if !bytes || s.box.Contains(largest) {
		return nil
	}
	too := " (--mean and --std are in these units too)"
	if s.named.model == "" && s.named.store == "" {
		too = ""
	}
	return misuse("--%s: %s: x holds bytes, whole numbers up to %g, and the box is %v: give --scale 1/255, so that x is in [0, 1]%s, "+
		"or --box 0,255", f.flag, f.Path, largest, s.box, too)
}
