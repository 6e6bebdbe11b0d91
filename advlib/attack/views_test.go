package attack_test

import (
	"context"
	"errors"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/oracle"
)

// What attacks by scores get from a victim that tells less: labels only are refused before the first question; the
// first classes, rounded scores and probabilities are attacked, within the budget, and what is called broken is.
func TestScoreAttacksOnViews(t *testing.T) {
	l := linear(t, attacktest.LinearSpec{Seed: 3, Coordinates: 64, Examples: 10})
	all, e := scoresOf(l, 8, 8, 1)
	const queries = 300
	attacks := []advlib.Attack{
		attack.Square{Ball: advlib.Linf.Ball(0.1), Queries: queries},
		attack.Square{Ball: advlib.L2.Ball(0.6), Queries: queries},
		attack.SparseRS{Ball: advlib.L0.Ball(3), Queries: queries},
		attack.PatchRS{Ball: advlib.L0.Ball(9), Queries: queries},
		attack.NES{Ball: advlib.Linf.Ball(0.1), Queries: queries},
		attack.SPSA{Ball: advlib.Linf.Ball(0.1), Queries: queries},
		attack.Bandits{Ball: advlib.Linf.Ball(0.1), Queries: queries},
		attack.SimBA{Queries: queries},
		attack.ZOO{Queries: queries},
	}
	for _, a := range attacks {
		asked := oracle.Count(all)
		var no *advlib.NoScoresError
		if _, err := advlib.Run(context.Background(), oracle.Labels(asked), e, a); !errors.As(err, &no) || asked.Queries() != 0 {
			t.Errorf("%v on labels only: the error is %v, after %d queries", a, err, asked.Queries())
		}
		for _, c := range []struct {
			of    func(v advlib.Victim) advlib.Victim
			least int // of 10 examples
		}{
			{oracle.Probabilities, 1},
			{func(v advlib.Victim) advlib.Victim { return oracle.TopK(v, 3) }, 1},
			{func(v advlib.Victim) advlib.Victim { return oracle.TopK(v, 1) }, 0},
			{func(v advlib.Victim) advlib.Victim { return oracle.Rounded(v, 2) }, 1},
			{func(v advlib.Victim) advlib.Victim { return oracle.Rounded(oracle.Probabilities(v), 1) }, 0},
		} {
			asked := oracle.Count(all)
			v := c.of(asked)
			res, err := advlib.Run(context.Background(), v, e, a)
			if err != nil {
				t.Errorf("%v on %s: %v", a, v.Name(), err)
				continue
			}
			said := res.Stats.Shared
			for _, n := range res.Queries {
				said += int64(n)
			}
			if n := asked.Queries(); n != said || n != res.Stats.Sent || n > int64(queries*e.Len()) {
				t.Errorf("%v on %s: the victim has answered %d times, the ledger says %d, the bill %d, of at most %d", a, v.Name(), n, said,
					res.Stats.Sent, queries*e.Len())
			}
			answers, err := v.Query(context.Background(), res.Adversarial)
			if err != nil {
				t.Fatal(err)
			}
			for i, answer := range answers {
				if broken := answer.Class() != e.Y[i]; broken != res.Success[i] {
					t.Errorf("%v on %s, example %d: broken %v, the result says %v", a, v.Name(), i, broken, res.Success[i])
				}
			}
			t.Logf("%v on %s: %d of %d broken", a, v.Name(), count(res.Success), e.Len())
			if count(res.Success) < c.least {
				t.Errorf("%v on %s: %d broken", a, v.Name(), count(res.Success))
			}
		}
	}
}
