package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"

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
		return nil, misuse("--domain: %s: %v: it must be a list of objects with name, lo, hi, step, one_hot, change and scale", file, err)
	}
	if len(domain) == 0 || d.More() {
		return nil, misuse("--domain: %s: it must hold one list, of at least one feature", file)
	}
	return domain, nil
}

var layouts = map[string]onnx.Layout{"file": onnx.AsFile, "channels-last": onnx.ChannelsLast, "channels-first": onnx.ChannelsFirst}

func layoutOf(name string) (onnx.Layout, error) {
	if l, ok := layouts[name]; ok {
		return l, nil
	}
	return 0, misuse("--layout: there is no layout %q: there are file, channels-last (data [n, h, w, c] for a model of PyTorch's), channels-first", name)
}
