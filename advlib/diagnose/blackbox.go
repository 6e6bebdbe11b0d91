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
	var black []bool
	var said []string
	for _, a := range attacks {
		hit, err := x.breaks(ctx, a)
		if err != nil {
			return err
		}
		black = union(black, hit)
		said = append(said, fmt.Sprintf("%v alone %d", a, more(hit, x.base())))
	}
	white := x.base()
	alone := more(black, white)
	if most := fewAlone(x.on.Len()); alone > most {
		for _, a := range x.doubled() {
			hit, err := x.breaks(ctx, a)
			if err != nil {
				return err
			}
			white = union(white, hit)
		}
		alone = more(black, white)
	}
	f.judge(float64(alone), float64(fewAlone(x.on.Len())), "%d of %d examples fall to black-box attacks alone (%s)", alone, x.on.Len(),
		strings.Join(said, "; "))
	return nil
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
	answers := *x.all
	answers.Y, answers.Classes = append([]int32(nil), x.all.Y...), nil
	c, err := m.Fit(ctx, &answers)
	if err != nil {
		return nil, err
	}
	x.surrogate = c
	return c, nil
}
