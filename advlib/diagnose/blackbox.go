package diagnose

import (
	"context"
	"fmt"
	"io"
	"strings"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/zoo"
)

// fewAlone is how many of n examples may fall to a black-box attack alone.
func fewAlone(n int) int { return max(2, int(0.002*float64(n))) }

func blackBox(ctx context.Context, x *examiner, f *Finding) error {
	attacks := []advlib.Attack{}
	if x.victim.Signature().Returns != advlib.Label {
		attacks = append(attacks, attack.Square{Ball: x.Ball, Queries: x.Queries})
	}
	if x.Ball.Norm != advlib.L1 {
		attacks = append(attacks, attack.HopSkipJump{Norm: x.Ball.Norm, Queries: x.Queries})
	}
	from, err := x.from(ctx)
	if err != nil {
		return fmt.Errorf("the classifier to transfer from: %w", err)
	}
	var carry advlib.Attack = attack.PGD{Ball: x.Ball, KeepGoing: true}
	if x.Ball.Norm != advlib.L1 {
		carry = attack.MIFGSM{Ball: x.Ball}
	}
	attacks = append(attacks, attack.Transfer{Attack: carry, From: from})
	for _, a := range attacks {
		most := 0
		if _, slow := a.(attack.HopSkipJump); slow {
			most = closely
		}
		if _, err := x.against(ctx, a, most); err != nil {
			return err
		}
	}
	// What falls to them alone is attacked once more, by twice the steps, and towards all classes.
	alone := x.fallTo(attacks)
	var rows []int
	for i, hit := range alone {
		if hit {
			rows = append(rows, i)
		}
	}
	var stronger []string
	if len(rows) > fewAlone(x.on.Len()) {
		for _, a := range x.doubled() {
			if _, _, err := x.measure(ctx, a, rows); err != nil {
				return err
			}
			stronger = append(stronger, a.String())
		}
	}
	x.concludes(func() {
		alone := x.fallTo(attacks)
		for _, name := range stronger {
			for i, hit := range x.attacks[name].hit {
				alone[i] = alone[i] && !hit
			}
		}
		said := []string{}
		names, broken := []string{x.Attack.String()}, [][]bool{x.base().hit}
		for _, a := range attacks {
			o := x.attacks[a.String()]
			if o == nil { // nothing stood
				continue
			}
			said = append(said, fmt.Sprintf("%v %d", a, count(x.alone(a.String()))))
			names, broken = append(names, "and "+a.String()), append(broken, union(x.base().hit, x.alone(a.String())))
		}
		f.Picture = x.left(names, broken...)
		f.judge(float64(count(alone)), float64(fewAlone(x.on.Len())), "%d of %d examples fall to black-box attacks alone (%s)", count(alone),
			x.on.Len(), strings.Join(said, "; "))
	})
	return nil
}

// fallTo tells which examples any of the attacks breaks that the diagnosed one does not.
func (x *examiner) fallTo(attacks []advlib.Attack) []bool {
	any := make([]bool, x.on.Len())
	for _, a := range attacks {
		if x.attacks[a.String()] != nil {
			any = union(any, x.alone(a.String()))
		}
	}
	return any
}

// from returns the classifier to transfer from. One that is trained learns what the victim says about the examples.
func (x *examiner) from(ctx context.Context) (*advlib.Classifier, error) {
	if x.Surrogate != nil {
		return x.Surrogate, nil
	}
	if x.surrogate != nil {
		return x.surrogate, nil
	}
	m := zoo.MLP(100)
	s := x.victim.Signature()
	m.Name, m.Box, m.Domain, m.Epochs, m.Progress = "a perceptron trained on its answers", s.Box, s.Domain, 30, io.Discard
	var rows []int
	var y []int32
	for i, k := range x.classes {
		if k >= 0 { // not rejected
			rows, y = append(rows, i), append(y, k)
		}
	}
	answers := x.all.Select(rows)
	defer advlib.Free(answers.X)
	answers.Y, answers.Classes = y, nil
	c, err := m.Fit(ctx, answers)
	if err != nil {
		return nil, err
	}
	x.surrogate = c
	return c, nil
}
