package notebook

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// CheckTag marks the cells that print checked numbers.
const CheckTag = "check"

// rounding is the relative slack for decimal fractions that float64 does not hold exactly: 0.52 is within 0.02 of 0.5.
const rounding = 1e-14

// ErrNoChecks says that a notebook has no number to compare.
var ErrNoChecks = errors.New(`no cell tagged "check" prints a line "check NAME VALUE TOLERANCE"`)

// Number is one checked number as a notebook printed it.
type Number struct {
	Name      string
	Value     float64 // may be NaN or infinite, which compares as wrong
	Tolerance float64 // finite, ≥ 0
}

// Comparison is one checked number of two runs.
type Comparison struct {
	Name      string   `json:"name"`
	Saved     *float64 `json:"saved"` // nil: not printed, or not a finite number
	Fresh     *float64 `json:"fresh"`
	Tolerance float64  `json:"tolerance"`
	Wrong     string   `json:"wrong,omitempty"` // why it fails; empty when it holds
}

// Numbers returns the numbers that the notebook's cells tagged check printed, in order.
func (n *Notebook) Numbers() ([]Number, error) {
	var numbers []Number
	seen := map[string]bool{}
	for line := range strings.Lines(n.TextOf(CheckTag)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "check" {
			continue
		}
		line = strings.TrimSpace(line)
		if len(fields) != 4 {
			return nil, fmt.Errorf("line %q has %d words after check, want NAME VALUE TOLERANCE", line, len(fields)-1)
		}
		value, err := strconv.ParseFloat(fields[2], 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("line %q: the value %q is no number", line, fields[2])
		}
		tolerance, err := strconv.ParseFloat(fields[3], 64)
		if err != nil || math.IsNaN(tolerance) || math.IsInf(tolerance, 0) || tolerance < 0 {
			return nil, fmt.Errorf("line %q: the tolerance %q is no finite number ≥ 0", line, fields[3])
		}
		if seen[fields[1]] {
			return nil, fmt.Errorf("%q is printed twice: give each checked number a name of its own", fields[1])
		}
		seen[fields[1]] = true
		numbers = append(numbers, Number{fields[1], value, tolerance})
	}
	return numbers, nil
}

// Compare compares the checked numbers of a fresh run with the saved ones. It returns a comparison for each name of
// either; the error says that there is nothing to compare, or what is malformed.
func Compare(saved, fresh *Notebook) ([]Comparison, error) {
	want, err := saved.Numbers()
	if err != nil {
		return nil, fmt.Errorf("the saved outputs: %w", err)
	}
	got, err := fresh.Numbers()
	if err != nil {
		return nil, fmt.Errorf("the fresh outputs: %w", err)
	}
	if len(want) == 0 {
		return nil, fmt.Errorf("the saved outputs: %w", ErrNoChecks)
	}
	find := func(numbers []Number, name string) (Number, bool) {
		for _, n := range numbers {
			if n.Name == name {
				return n, true
			}
		}
		return Number{}, false
	}
	var comparisons []Comparison
	for _, w := range want {
		c := Comparison{Name: w.Name, Saved: finite(w.Value), Tolerance: w.Tolerance}
		g, ok := find(got, w.Name)
		if ok {
			c.Fresh = finite(g.Value)
		}
		switch {
		case !ok:
			c.Wrong = "not printed by the fresh run"
		case c.Saved == nil:
			c.Wrong = fmt.Sprintf("the saved value is %v", w.Value)
		case c.Fresh == nil:
			c.Wrong = fmt.Sprintf("the fresh value is %v", g.Value)
		case math.Abs(g.Value-w.Value) > w.Tolerance+rounding*max(math.Abs(g.Value), math.Abs(w.Value)):
			c.Wrong = fmt.Sprintf("off by %.4g", math.Abs(g.Value-w.Value))
		}
		comparisons = append(comparisons, c)
	}
	for _, g := range got {
		if _, ok := find(want, g.Name); !ok {
			comparisons = append(comparisons, Comparison{Name: g.Name, Fresh: finite(g.Value), Tolerance: g.Tolerance,
				Wrong: "not among the saved outputs: run the notebook and save it"})
		}
	}
	return comparisons, nil
}

// String shows a comparison on one line.
func (c Comparison) String() string {
	text := fmt.Sprintf("%-32s saved %-12s fresh %-12s ± %-8.4g ", c.Name, number(c.Saved), number(c.Fresh), c.Tolerance)
	if c.Wrong != "" {
		return text + "WRONG: " + c.Wrong
	}
	return text + "ok"
}

func number(value *float64) string {
	if value == nil {
		return "-"
	}
	return strconv.FormatFloat(*value, 'g', 6, 64)
}

func finite(value float64) *float64 {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return nil
	}
	return &value
}
