package impact

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
)

// Costs are what wrong answers cost, in a unit of the user's. In JSON:
//
//	{"unit": "€", "default": 1, "pairs": [{"truth": "stop", "answer": "speed limit 50", "cost": 1000}]}
//
// A right answer costs nothing. The zero value counts each wrong answer as 1.
type Costs struct {
	// Unit is what the numbers are in; empty means that they are compared only.
	Unit string `json:"unit,omitempty"`
	// Default is what a wrong answer costs that no pair names; nil means 1.
	Default *float64 `json:"default,omitempty"`
	// Pairs are the mistakes that matter: each is attacked on purpose.
	Pairs []Pair `json:"pairs,omitempty"`
}

// Pair is a mistake: an answer to an input whose truth is another class. Classes are given by their names, or by their
// numbers.
type Pair struct {
	Truth  string  `json:"truth"`
	Answer string  `json:"answer"`
	Cost   float64 `json:"cost"`
}

// ReadCosts reads costs in JSON. Unknown fields are errors: a misspelt one would count as the default.
func ReadCosts(r io.Reader) (Costs, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	var c Costs
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("impact: costs: %w", err)
	}
	if d.More() {
		return c, fmt.Errorf("impact: costs: there is more behind the first object")
	}
	return c, nil
}

// CostsFile reads costs from a file in JSON.
func CostsFile(path string) (Costs, error) {
	f, err := os.Open(path)
	if err != nil {
		return Costs{}, fmt.Errorf("impact: %w", err)
	}
	defer f.Close()
	c, err := ReadCosts(f)
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// table is costs for known classes.
type table struct {
	Costs
	usual    float64
	of       map[[2]int32]float64
	mistakes [][2]int32 // of the pairs, truth and answer
}

// over checks the costs for classes of these names.
func (c Costs) over(names []string) (table, error) {
	t := table{Costs: c, usual: 1, of: map[[2]int32]float64{}}
	if c.Default != nil {
		t.usual = *c.Default
	}
	class := func(name string) (int32, error) {
		if i := slices.Index(names, name); i >= 0 {
			return int32(i), nil
		}
		for i := range names {
			if fmt.Sprint(i) == name {
				return int32(i), nil
			}
		}
		return 0, fmt.Errorf("the costs name the class %q: there are %q, or their numbers from 0 to %d", name, names, len(names)-1)
	}
	if !(t.usual >= 0) || math.IsInf(t.usual, 1) {
		return t, fmt.Errorf("a wrong answer costs %g by default: give a finite number ≥ 0", t.usual)
	}
	for _, p := range c.Pairs {
		truth, err := class(p.Truth)
		if err != nil {
			return t, err
		}
		answer, err := class(p.Answer)
		if err != nil {
			return t, err
		}
		pair := [2]int32{truth, answer}
		_, twice := t.of[pair]
		switch {
		case truth == answer:
			return t, fmt.Errorf("the costs have a pair of %q and itself: a right answer costs nothing", p.Truth)
		case twice:
			return t, fmt.Errorf("the costs have the pair %q, %q twice", p.Truth, p.Answer)
		case !(p.Cost >= 0) || math.IsInf(p.Cost, 1):
			return t, fmt.Errorf("the pair %q, %q costs %g: give a finite number ≥ 0", p.Truth, p.Answer, p.Cost)
		}
		t.of[pair] = p.Cost
		t.mistakes = append(t.mistakes, pair)
	}
	return t, nil
}

// cost is what an answer costs.
func (t table) cost(truth, answer int32) float64 {
	if truth == answer {
		return 0
	}
	if c, named := t.of[[2]int32{truth, answer}]; named {
		return c
	}
	return t.usual
}
