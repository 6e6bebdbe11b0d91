package advlib

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"advlab/advlib/internal/option"
)

// strictName is how a caller stops at such examples.
const strictName = option.Name("Settings.Strict")

// notFinite returns the first logit that is not finite, -1 if all are.
func notFinite(z []float32) int {
	for k, v := range z {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return k
		}
	}
	return -1
}

// notFinite returns the examples whose logits are not finite, as rows and described.
func (s Settings) notFinite(v Victim, e *Examples, said []Answer) (rows []int, out []NotFinite, err error) {
	for i, a := range said {
		z := a.Scores
		k := notFinite(z)
		if k < 0 {
			continue
		}
		rows = append(rows, i)
		out = append(out, NotFinite{Index: e.Number(i), Label: e.Y[i], Logit: k, Value: strconv.FormatFloat(float64(z[k]), 'g', -1, 32)})
	}
	switch {
	case len(out) == len(said):
		err = fmt.Errorf("the logits of %s are not finite for any of %d examples, as for %v: check the model's weights, and the range "+
			"of the inputs", v.Name(), len(out), out[0])
	case len(out) > 0 && s.Strict:
		err = fmt.Errorf("the logits of %s are not finite for %s; without %v they are left out", v.Name(), listed(out), strictName)
	}
	return rows, out, err
}

// leftOut is the warning about examples that are left out, of all; "" for none.
func leftOut(out []NotFinite, all int) string {
	if len(out) == 0 {
		return ""
	}
	verb := "are"
	if len(out) == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d of %d examples %s left out of all numbers, because the model's logits are not finite for %s", len(out),
		all, verb, listed(out))
}

// listed names the first few.
func listed(out []NotFinite) string {
	const most = 5
	var names []string
	for _, n := range out[:min(most, len(out))] {
		names = append(names, n.String())
	}
	if more := len(out) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
