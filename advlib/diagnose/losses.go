package diagnose

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"advlab/advlib"
	"advlab/advlib/attack"
)

func losses(ctx context.Context, x *examiner, f *Finding) error {
	own, ok := field[advlib.Loss](x.Attack, "Loss")
	if !ok {
		return f.notApplicable("%v has no field Loss to change", x.Attack)
	}
	if own == nil {
		own = advlib.CrossEntropy
	}
	var versions []advlib.Attack
	_, targeted := x.Attack.(attack.AllTargets)
	for _, l := range []advlib.Loss{advlib.CrossEntropy, advlib.Margin, advlib.DLR} {
		if l == own || l.MinClasses(targeted) > x.victim.Signature().Classes {
			continue
		}
		if a, ok := with(x.Attack, "Loss", l); ok {
			versions = append(versions, a)
		}
	}
	if T := x.temperature(); T > 1 {
		versions = append(versions, attack.Temperature{Attack: x.Attack, T: T})
	}
	for _, a := range versions {
		if _, err := x.against(ctx, a, closely); err != nil {
			return err
		}
	}
	x.concludes(func() {
		worst, said := 0, []string(nil)
		bar := Series{}
		for _, a := range versions {
			extra := 0
			if x.attacks[a.String()] != nil {
				extra = count(x.alone(a.String()))
			}
			worst = max(worst, extra)
			name := "logits divided by a temperature"
			if l, _ := field[advlib.Loss](a, "Loss"); l != nil {
				name = l.String()
			}
			if t, ok := a.(attack.Temperature); ok {
				name = fmt.Sprintf("T = %.3g", t.T)
			}
			said = append(said, fmt.Sprintf("%s: %d", name, extra))
			bar.bar(name, float64(extra))
		}
		most := float64(x.slack(0.01))
		f.judge(float64(worst), most, "%v breaks %v; of %d examples that stand are broken by %s", own, rate(x.base().hit), len(x.open(closely)),
			strings.Join(said, ", "))
		f.Picture = bars("broken besides", bar).at(most, "at most")
	})
	return nil
}

// temperature brings the median margin of the originals to 5, at which a softmax does not saturate; 1 if it is less.
func (x *examiner) temperature() float64 {
	var margins []float64
	for i, a := range x.said {
		z := a.Logits(x.victim.Signature().Classes)
		if len(z) == 0 {
			return 1
		}
		other := math.Inf(-1)
		for k, v := range z {
			if int32(k) != x.on.Y[i] {
				other = math.Max(other, float64(v))
			}
		}
		margins = append(margins, float64(z[x.on.Y[i]])-other)
	}
	slices.Sort(margins)
	return math.Max(1, margins[len(margins)/2]/5)
}

// draws is how many draws an attack averages; 0 is as many as it measures to be enough.
func draws(a advlib.Attack) (int, bool) {
	if e, ok := a.(attack.EOT); ok {
		return e.Samples, true
	}
	if inner, ok := field[advlib.Attack](a, "Attack"); ok && inner != nil {
		return draws(inner)
	}
	return 0, false
}

// enoughDraws compares an attack in expectation with one of twice the draws.
func (x *examiner) enoughDraws(ctx context.Context, f *Finding, widest float64, n int) error {
	a := x.Attack
	if n == 0 {
		e, ok := a.(attack.EOT)
		if !ok {
			return f.notApplicable("%v hides how many draws it takes", a)
		}
		b := advlib.Batch{X: x.on.X, Y: x.on.Y, Seed: x.Seed}
		var err error
		if n, err = e.Measure(ctx, advlib.Count(x.victim), b); err != nil {
			return err
		}
	}
	twice, ok := with(a, "Samples", 2*n)
	if !ok {
		return f.notApplicable("%v takes no other number of draws", a)
	}
	if _, err := x.against(ctx, twice, closely); err != nil {
		return err
	}
	x.concludes(func() {
		extra := 0
		if x.attacks[twice.String()] != nil {
			extra = count(x.alone(twice.String()))
		}
		// Along other draws the attack ends elsewhere, too: √n is allowed for that.
		n64 := float64(x.on.Len())
		f.judge(float64(extra), 0.01*n64+math.Sqrt(n64), "five answers differ by up to %.3g; %d draws break %v; of %d that stand %d draws "+
			"break %d", widest, n, rate(x.base().hit), len(x.open(closely)), 2*n, extra)
	})
	return nil
}

func transferred(ctx context.Context, x *examiner, f *Finding) error {
	t, ok := x.Attack.(attack.Transfer)
	if !ok {
		return f.notApplicable("%v works on the model itself", x.Attack)
	}
	res, err := advlib.Settings{Seed: x.Seed}.Run(ctx, t.From, x.on, t.Attack)
	if err != nil {
		return err
	}
	lost := 0
	for i, found := range res.Success {
		if found && !x.base().hit[i] {
			lost++
		}
	}
	var s Series
	s.bar("on "+t.From.Name(), float64(rate(res.Success).Count))
	s.bar("on "+x.victim.Name(), float64(count(x.base().hit)))
	f.Picture = bars("adversarial examples", s)
	f.judge(float64(lost), math.Max(1, 0.05*float64(rate(res.Success).Count)), "%d of %d adversarial examples of %s are none of %s", lost,
		rate(res.Success).Count, t.From.Name(), x.victim.Name())
	return nil
}
