package diagnose

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/report"
)

// judge fills in a finding that passes if a number is at most another.
func (f *Finding) judge(value, most float64, measured string, args ...any) {
	f.Value, f.Measured, f.Verdict = value, fmt.Sprintf(measured, args...), Passed
	if !(value <= most) {
		f.Verdict = Failed
	}
}

// notApplicable says why a check says nothing here.
func (f *Finding) notApplicable(why string, args ...any) error {
	f.Verdict, f.Why = NotApplicable, fmt.Sprintf(why, args...)
	return nil
}

func clean(_ context.Context, x *examiner, f *Finding) error {
	lo, _ := x.clean.Wilson()
	chance := 1 / float64(x.victim.Signature().Classes)
	f.judge(-lo, -chance, "%v of %d right %s; chance is %.1f %%", x.clean, x.clean.Of, x.clean.Interval(), 100*chance)
	f.Value = x.clean.Value()
	_, hi := x.clean.Wilson()
	f.Picture = bars("accuracy (%)", Series{Labels: []string{"clean accuracy"}, Y: []float64{100 * x.clean.Value()}, Low: []float64{100 * lo},
		High: []float64{100 * hi}}).at(100*chance, "chance")
	return nil
}

func singleStep(ctx context.Context, x *examiner, f *Finding) error {
	loss, _ := field[advlib.Loss](x.Attack, "Loss")
	fgm := attack.FGM{Ball: x.Ball, Loss: loss}
	one, err := x.breaks(ctx, fgm)
	if err != nil {
		return err
	}
	x.concludes(func() {
		alone := count(x.alone(fgm.String()))
		f.judge(float64(alone), float64(x.slack(0.01)), "FGM breaks %v, %v %v; %d examples FGM alone", rate(one.hit), x.Attack,
			rate(x.base().hit), alone)
		f.Picture = x.left([]string{fgm.String(), x.Attack.String()}, one.hit, x.base().hit)
	})
	return nil
}

// left is a picture of what is left of all examples where those are broken.
func (x *examiner) left(names []string, broken ...[]bool) *Picture {
	var s Series
	for k, hit := range broken {
		r := x.standing(hit)
		lo, hi := r.Wilson()
		s.bar(names[k], 100*r.Value())
		s.Low, s.High = append(s.Low, 100*lo), append(s.High, 100*hi)
	}
	return bars("accuracy (%)", s)
}

func unbounded(ctx context.Context, x *examiner, f *Finding) error {
	limits := x.victim.Signature().Limits()
	wide := x.Ball.Norm.Ball(limits.Diameter(x.Ball.Norm))
	a, ok := x.in(wide.Radius)
	if !ok {
		return f.notApplicable("%v has no field Ball to widen", x.Attack)
	}
	all, err := x.breaks(ctx, a)
	if err != nil {
		return err
	}
	stand := len(all.hit) - count(all.hit)
	f.judge(float64(stand), 0, "%d of %d examples stand in %v", stand, len(all.hit), wide)
	s, err := x.cheap(ctx)
	if err != nil {
		return err
	}
	if s.Unbounded.Of > 0 {
		f.Measured += fmt.Sprintf("; 20 steps of sign ascent break %d of %d, as the line \"sanity\" of a report says", s.Unbounded.Count,
			s.Unbounded.Of)
	}
	f.Picture = x.left([]string{fmt.Sprint("attacked in ", x.Ball), fmt.Sprint("attacked in ", wide)}, x.base().hit, all.hit)
	return nil
}

// cheap is the part of a diagnosis that every report has, on the same examples.
func (x *examiner) cheap(ctx context.Context) (report.Sanity, error) {
	return advlib.Settings{Seed: x.Seed}.Sanity(ctx, x.victim, x.all)
}

// in returns the attack with another radius. Its step size goes with the radius.
func (x *examiner) in(radius float64) (advlib.Attack, bool) {
	a, ok := with(x.Attack, "Ball", x.Ball.Norm.Ball(radius))
	if !ok {
		return nil, false
	}
	if size, has := field[float64](x.Attack, "StepSize"); has && size > 0 {
		a, _ = with(a, "StepSize", size*radius/x.Ball.Radius)
	}
	return a, true
}

// radiiOf are the shares of the radius at which the accuracy is looked at.
var radiiOf = []float64{0.25, 0.5, 0.75, 1, 1.5, 2}

func radii(ctx context.Context, x *examiner, f *Finding) error {
	var names, curve []string
	var all []*outcome
	line := Series{}
	for _, share := range radiiOf {
		a, ok := x.in(share * x.Ball.Radius)
		if !ok {
			return f.notApplicable("%v has no field Ball to change", x.Attack)
		}
		if share == 1 {
			a = x.Attack
		}
		o, err := x.breaks(ctx, a)
		if err != nil {
			return err
		}
		names, all = append(names, a.String()), append(all, o)
		r := x.standing(o.hit)
		lo, hi := r.Wilson()
		curve = append(curve, fmt.Sprintf("%v at %.3g", r, share*x.Ball.Radius))
		line.X, line.Y = append(line.X, share*x.Ball.Radius), append(line.Y, 100*r.Value())
		line.Low, line.High = append(line.Low, 100*lo), append(line.High, 100*hi)
	}
	f.Picture = &Picture{Kind: "lines", X: fmt.Sprintf("radius in %v", x.Ball.Norm), Y: "accuracy (%)", Series: []Series{line}}
	x.concludes(func() {
		worst := 0
		for k := 1; k < len(all); k++ {
			up := count(all[k-1].hit) - count(all[k].hit)
			if x.victim.Signature().Random {
				up = min(up, count(x.beyond(contest{names[k-1], names[k]}, all[k-1], all[k])))
			}
			worst = max(worst, up)
		}
		f.judge(float64(worst), float64(x.slack(0.01)), "%s", strings.Join(curve, ", "))
	})
	return nil
}

func suite(_ context.Context, x *examiner, f *Finding) error {
	if len(x.open(0)) == 0 {
		return f.notApplicable("%v leaves nothing for them to find", x.Attack)
	}
	var by []string
	for _, a := range x.ran {
		switch a := a.(type) {
		case attack.HopSkipJump:
			by = append(by, "labels")
		case attack.Square:
			by = append(by, "scores")
		case attack.Transfer:
			by = append(by, "transfer")
		default:
			_ = a
		}
	}
	kinds := map[string]bool{}
	for _, k := range by {
		kinds[k] = true
	}
	wanted := 3
	if x.victim.Signature().Returns == advlib.Label {
		wanted = 2 // there are no scores
	}
	f.judge(float64(wanted-len(kinds)), 0, "run by %s", strings.Join(by, ", "))
	if len(by) == 0 {
		f.Measured = "none was run"
	}
	var s Series
	for _, k := range []string{"labels", "scores", "transfer"} {
		n := 0
		for _, b := range by {
			if b == k {
				n++
			}
		}
		s.bar("by "+k, float64(n))
	}
	f.Picture = bars("attacks run", s)
	return nil
}

func worstCase(_ context.Context, x *examiner, f *Finding) error {
	x.concludes(func() {
		all, base := x.worst(), x.base().hit
		f.judge(float64(count(all)-count(base)), float64(x.slack(0.01)), "%v alone leaves %v, all %d attacks in the ball together %v", x.Attack,
			x.standing(base), len(x.attacks), x.standing(all))
		f.Picture = x.left([]string{x.Attack.String(), fmt.Sprintf("all %d attacks together", len(x.attacks))}, base, all)
	})
	return nil
}

func lattice(ctx context.Context, x *examiner, f *Finding) error {
	input := x.victim.Signature().Input
	if limits := x.victim.Signature().Limits(); len(input) < 2 || limits.Encoded() || !limits.SameRanges() {
		return f.notApplicable("the inputs %v are no images", input)
	}
	a := x.Attack
	if b, ok := with(a, "KeepGoing", true); ok { // what is barely adversarial is lost by any rounding
		a = b
	}
	var rows []int
	for i, hit := range x.base().hit {
		if hit && len(rows) < closely {
			rows = append(rows, i)
		}
	}
	if len(rows) == 0 {
		return f.notApplicable("there are no adversarial examples to round")
	}
	res, _, err := x.measure(ctx, attack.Lattice8{Attack: a}, rows)
	if err != nil {
		return err
	}
	all := len(rows)
	lost := all - count(res.Success)
	f.judge(float64(lost), math.Max(1, 0.1*float64(all)), "%d of %d adversarial examples are lost by rounding to 255ths of the box", lost, all)
	s := Series{}
	s.bar("found", float64(all))
	s.bar("left after rounding", float64(all-lost))
	f.Picture = bars("adversarial examples", s)
	return nil
}

func interval(_ context.Context, x *examiner, f *Finding) error {
	robust := x.standing(x.base().hit)
	lo, hi := robust.Wilson()
	f.Picture = x.left([]string{x.Attack.String()}, x.base().hit)
	f.judge(100*(hi-lo)/2, 10, "%v %s on %d examples: half is %.1f points", robust, robust.Interval(), robust.Of, 100*(hi-lo)/2)
	return nil
}

func fill(_ context.Context, x *examiner, f *Finding) error {
	s := x.victim.Signature()
	if s.Domain != nil {
		return f.notApplicable("with a domain, each feature has its own range")
	}
	lo, hi, share := advlib.Fill(x.all.X, s.Box)
	f.Picture = x.filled(s.Box)
	f.judge(-share, -advlib.LeastFill, "values in [%.4g, %.4g] fill %.2g of the box %v", lo, hi, share, s.Box)
	f.Value = share
	return nil
}

// filled is a picture of where in the box the values lie.
func (x *examiner) filled(box advlib.Box) *Picture {
	const bins = 16
	s := Series{Y: make([]float64, bins)}
	for b := range bins + 1 {
		s.X = append(s.X, box.Lo+box.Width()*float64(b)/bins)
	}
	tensors.MustConstFlatData(x.all.X, func(flat []float32) {
		for _, v := range flat {
			s.Y[max(0, min(bins-1, int((float64(v)-box.Lo)/box.Width()*bins)))] += 100 / float64(len(flat))
		}
	})
	return &Picture{Kind: "histogram", X: fmt.Sprintf("value, in the box %v", box), Y: "inputs (%)", Series: []Series{s}}
}

func classes(_ context.Context, x *examiner, f *Finding) error {
	loss, ok := field[advlib.Loss](x.Attack, "Loss")
	if !ok || loss == nil {
		return f.notApplicable("%v has no loss of its own", x.Attack)
	}
	k := x.victim.Signature().Classes
	f.judge(float64(loss.MinClasses(false)), float64(k), "%v needs %d classes, there are %d", loss, loss.MinClasses(false), k)
	var s Series
	s.bar(fmt.Sprintf("%v needs", loss), float64(loss.MinClasses(false)))
	s.bar("there are", float64(k))
	f.Picture = bars("classes", s)
	return nil
}

func detector(ctx context.Context, x *examiner, f *Finding) error {
	// Does it reject anything: an original, what the attack returns, or noise?
	found := Series{}
	found.bar("originals", float64(x.rejected))
	look := func(what string, points *tensors.Tensor) error {
		said, err := x.victim.Query(ctx, points)
		found.bar(what, float64(rejections(said)))
		return err
	}
	if err := look("what the attack returned", x.adversarial); err != nil {
		return err
	}
	flat := tensors.MustCopyFlatData[float32](x.on.X)
	size := len(flat) / x.on.Len()
	r, limits := rand.New(rand.NewPCG(x.Seed, 22)), x.victim.Signature().Limits()
	if !limits.Encoded() {
		for i := range x.on.Len() {
			x.sample(r, limits, append([]float32(nil), flat[i*size:(i+1)*size]...), flat[i*size:(i+1)*size], false)
		}
		noisy := tensors.FromFlatDataAndDimensions(flat, x.on.X.Shape().Dimensions...)
		defer advlib.Free(noisy)
		if err := look("a corner of the ball at random", noisy); err != nil {
			return err
		}
	}
	rejects := 0.
	for _, n := range found.Y {
		rejects += n
	}
	if rejects == 0 {
		return f.notApplicable("the victim rejected nothing")
	}
	f.Picture = bars("rejected", found)
	d, ok := x.victim.(knowing)
	if !ok {
		f.judge(rejects, 0, "%.0f inputs were rejected; %v knows nothing of what rejects them", rejects, x.Attack)
		return nil
	}
	own := d.Adaptive(x.Ball)
	if _, err := x.against(ctx, own, 0); err != nil {
		return err
	}
	x.concludes(func() {
		alone := 0
		if x.attacks[own.String()] != nil {
			alone = count(x.alone(own.String()))
		}
		f.judge(float64(alone), float64(x.slack(0.01)), "%.0f inputs were rejected; the attack that knows why breaks %d examples besides",
			rejects, alone)
	})
	return nil
}
