package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"advlab/advlib"
	"advlab/advlib/onnx"
)

// number reads 0.1, 1e-3, or 8/255.
func number(flag, text string) (float64, error) {
	a, b, fraction := strings.Cut(strings.TrimSpace(text), "/")
	v, err := strconv.ParseFloat(a, 64)
	if err == nil && fraction {
		var under float64
		under, err = strconv.ParseFloat(b, 64)
		v /= under
	}
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, misuse("--%s: %q is not a number: write it as 0.03 or as 8/255", flag, text)
	}
	return v, nil
}

// budgets reads the list of ε.
func budgets(list []string) ([]float64, error) {
	if len(list) == 0 {
		return nil, misuse("--eps is missing: give one budget or several, as in --eps 2/255,8/255")
	}
	var eps []float64
	for _, text := range list {
		ε, err := number("eps", text)
		if err != nil {
			return nil, err
		}
		if ε <= 0 {
			return nil, misuse("--eps: %s: a budget must be above 0", text)
		}
		eps = append(eps, ε)
	}
	return eps, nil
}

func normOf(name string) (advlib.Norm, error) {
	for _, n := range every {
		if strings.EqualFold(n.String(), name) {
			return n, nil
		}
	}
	return nil, misuse("--norm: there is no norm %q: there are linf, l2, l1, l0", name)
}

func boxOf(list []string) (advlib.Box, error) {
	if len(list) != 2 {
		return advlib.Box{}, misuse("--box: %q: give the ends of the range of inputs, as in --box 0,1 or --box=-1,1", strings.Join(list, ","))
	}
	lo, err := number("box", list[0])
	if err != nil {
		return advlib.Box{}, err
	}
	hi, err := number("box", list[1])
	if err == nil && lo >= hi {
		err = misuse("--box: %g is not below %g", lo, hi)
	}
	return advlib.Box{Lo: lo, Hi: hi}, err
}

// normalisation is the flags of what a model wants done to its inputs.
type normalisation struct {
	mean, std []string
	axis      int
}

func (n *normalisation) add(f *pflag.FlagSet, units string) {
	f.StringSliceVar(&n.mean, "mean", nil, "give the model (x − mean)/std: one number, or one for each channel, "+units)
	f.StringSliceVar(&n.std, "std", nil, "give the model (x − mean)/std, as --mean; without it 1")
	f.IntVar(&n.axis, "channel-axis", 0, "axis of the channels of --mean and --std in x, the examples being axis 0; -1 is the last "+
		"(default: found)")
}

// of returns the normalisation, nil if there is none.
func (n normalisation) of(cmd *cobra.Command) (*advlib.Normalisation, error) {
	set := cmd.Flags().Changed
	if !set("mean") && !set("std") {
		if set("channel-axis") {
			return nil, misuse("--channel-axis is given without --mean or --std: it says for which axis they have numbers")
		}
		return nil, nil
	}
	if set("channel-axis") && n.axis == 0 {
		return nil, misuse("--channel-axis: axis 0 are the examples: give 1 for the first behind it, or -1 for the last")
	}
	out := advlib.Normalisation{Axis: n.axis}
	for _, part := range []struct {
		flag string
		list []string
		to   *[]float64
	}{{"mean", n.mean, &out.Mean}, {"std", n.std, &out.Std}} {
		for _, text := range part.list {
			v, err := number(part.flag, text)
			if err != nil {
				return nil, err
			}
			if part.flag == "std" && v <= 0 {
				return nil, misuse("--std: %s: a standard deviation is above 0", text)
			}
			*part.to = append(*part.to, v)
		}
	}
	if a, b := len(out.Mean), len(out.Std); a > 1 && b > 1 && a != b {
		return nil, misuse("--mean has %d numbers and --std %d: give one number, or one for each channel", a, b)
	}
	return &out, nil
}

// domainOf reads the features of a file, none without a name.
func domainOf(file string) (advlib.Domain, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, misuse("--domain: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var domain advlib.Domain
	if err := d.Decode(&domain); err != nil {
		return nil, misuse("--domain: %s: %v: it must be a list of objects with name, lo, hi, step, one_hot, change, scale and "+
			"formula", file, err)
	}
	if len(domain) == 0 || d.More() {
		return nil, misuse("--domain: %s: it must hold one list, of at least one feature", file)
	}
	return domain, nil
}

// layouts are those of --layout.
var layouts = map[string]onnx.Layout{"auto": onnx.FromShapes, "file": onnx.AsFile, "channels-last": onnx.ChannelsLast,
	"channels-first": onnx.ChannelsFirst}

func layoutOf(name string) (onnx.Layout, error) {
	if l, ok := layouts[name]; ok {
		return l, nil
	}
	return 0, misuse("--layout: there is no layout %q: there are auto, file, channels-last (data [n, h, w, c] for a model of "+
		"PyTorch's), channels-first", name)
}
