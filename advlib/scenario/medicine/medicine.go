// Package medicine is the patient who is sent home: small noise on an image or on the numbers of a table, after which
// the sick pass for healthy.
//
//	train, test := dataset.Lesions(2000, 1), dataset.Lesions(500, 2)
//	c, err := zoo.CNN().Fit(ctx, train)
//	threat := medicine.Threat{Healthy: 0, Balls: []advlib.Ball{advlib.Linf.Ball(2. / 255)}}
//	found, err := threat.Measure(ctx, advlib.Settings{}, c, test)
//	fmt.Println(found)
//
// What counts is what doctors ask for: sensitivity, the share of the sick who are found, and specificity, the share of
// the healthy who are told so. Of a table, an [advlib.Domain] says what may change, in which units, and what a
// patient's values can be: [BreastCancer] has one.
package medicine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/report"
)

// Threat is noise that makes the sick pass for healthy.
type Threat struct {
	// Healthy is the class that the sick are to be taken for; all other classes are sick.
	Healthy int
	// Balls are how large the noise may be: at least one, of Linf, L2 or L1.
	Balls []advlib.Ball
	// Attack makes the attack for a ball and the goal; nil means PGD of the margin with 40 steps and 2 restarts, which
	// needs a gradient.
	Attack func(advlib.Ball, advlib.Goal) advlib.Attack
}

// Report is how many are found, without noise and with it.
type Report struct {
	// Victim and Data are what was attacked, on what; Healthy is the name of the class.
	Victim  string `json:"victim"`
	Data    string `json:"data"`
	Healthy string `json:"healthy"`
	// Sensitivity is the share of the sick who are not taken for healthy, Specificity that of the healthy who are, both
	// without noise.
	Sensitivity advlib.Rate `json:"sensitivity"`
	Specificity advlib.Rate `json:"specificity"`
	// Accuracy is that of all without noise.
	Accuracy advlib.Rate `json:"accuracy"`
	// Rows are those under noise.
	Rows []Row `json:"rows"`
	// Attacked is the evaluation of the attacks on the sick. Its ChangeTable says how much was changed of those who were
	// missed, and how alike the images look.
	Attacked *advlib.Report `json:"attacked"`
}

// Row is what noise of a size makes of the sick.
type Row struct {
	// Attack made the noise, Ball is its size.
	Attack string `json:"attack"`
	Ball   string `json:"ball"`
	// Sensitivity is the share of the sick who are still found, Accuracy that of all who are answered right, the healthy
	// untouched.
	Sensitivity advlib.Rate `json:"sensitivity"`
	Accuracy    advlib.Rate `json:"accuracy"`
}

// Measure attacks the sick of the examples. It fails where there are none, or none who is healthy, and where logits are
// not finite.
func (t Threat) Measure(ctx context.Context, s advlib.Settings, v advlib.Victim, e *advlib.Examples) (*Report, error) {
	if v == nil || e == nil || e.Len() == 0 {
		return nil, fmt.Errorf("medicine: there is no victim, or there are no examples: give both")
	}
	if k := v.Signature().Classes; t.Healthy < 0 || t.Healthy >= k {
		return nil, fmt.Errorf("medicine: the healthy are class %d, and %s has the classes 0 to %d", t.Healthy, v.Name(), k-1)
	}
	if len(t.Balls) == 0 {
		return nil, fmt.Errorf("medicine: there is no ball: say how large the noise may be")
	}
	var sick, healthy []int
	for i, y := range e.Y {
		if int(y) == t.Healthy {
			healthy = append(healthy, i)
		} else {
			sick = append(sick, i)
		}
	}
	if len(sick) == 0 || len(healthy) == 0 {
		return nil, fmt.Errorf("medicine: %s has %d sick and %d healthy: give some of each", e.Name, len(sick), len(healthy))
	}
	toward := t.Attack
	if toward == nil {
		toward = func(b advlib.Ball, g advlib.Goal) advlib.Attack {
			return attack.PGD{Ball: b, Goal: g, Loss: advlib.Margin, Restarts: 2}
		}
	}
	r := &Report{Victim: v.Name(), Data: e.Name, Healthy: v.Signature().ClassName(t.Healthy)}
	said, err := v.Query(ctx, e.X)
	if err != nil {
		return nil, fmt.Errorf("medicine: %w", err)
	}
	right := 0 // of the healthy
	for _, i := range healthy {
		if said[i].Class() == int32(t.Healthy) {
			right++
		}
	}
	r.Specificity = advlib.Rate{Count: right, Of: len(healthy)}
	r.Sensitivity.Of, r.Accuracy = len(sick), advlib.Rate{Count: right, Of: e.Len()}
	for _, i := range sick {
		if said[i].Class() != int32(t.Healthy) {
			r.Sensitivity.Count++
		}
		if said[i].Class() == e.Y[i] {
			r.Accuracy.Count++
		}
	}
	some := e.Select(sick)
	defer advlib.Free(some.X)
	var attacks []advlib.Attack
	for _, ball := range t.Balls {
		attacks = append(attacks, toward(ball, advlib.Targeted(t.Healthy)))
	}
	s.Alone, s.Strict = true, true // each attack on everybody
	if r.Attacked, err = s.Evaluate(ctx, v, some, attacks); err != nil {
		return nil, fmt.Errorf("medicine: %w", err)
	}
	for i, a := range attacks {
		row := Row{Attack: a.String(), Ball: t.Balls[i].String(), Sensitivity: advlib.Rate{Of: len(sick)},
			Accuracy: advlib.Rate{Count: right, Of: e.Len()}}
		of := slices.IndexFunc(r.Attacked.Attacks, func(of report.AttackRow) bool { return of.Name == row.Attack })
		for k, missed := range r.Attacked.Attacks[of].Success {
			if !missed {
				row.Sensitivity.Count++
				if said[sick[k]].Class() == some.Y[k] {
					row.Accuracy.Count++
				}
			}
		}
		r.Rows = append(r.Rows, row)
	}
	return r, nil
}

// String returns a table of the sensitivities, and one of what was changed of those who were missed.
func (r *Report) String() string {
	rows := [][]string{{"noise", "sensitivity", "95 % interval"}, {"none", r.Sensitivity.String(), r.Sensitivity.Interval()}}
	for _, row := range r.Rows {
		rows = append(rows, []string{row.Ball, row.Sensitivity.String(), row.Sensitivity.Interval()})
	}
	s := fmt.Sprintf("%s on %s: specificity %v of %d who are %s\n", r.Victim, r.Data, r.Specificity, r.Specificity.Of, r.Healthy) +
		aligned(rows)
	if changed := r.Attacked.ChangeTable(); len(changed.Rows) > 0 {
		s += changed.Title + "\n" + aligned(changed.Rows)
	}
	return s
}

// aligned writes rows of as many cells each under each other.
func aligned(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := fmt.Sprintf("  %-*s", width[0], row[0])
		for i, cell := range row[1:] {
			line += fmt.Sprintf("  %*s", width[1+i], cell)
		}
		fmt.Fprintln(&b, line)
	}
	return b.String()
}
