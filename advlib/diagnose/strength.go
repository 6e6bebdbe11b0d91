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
	return nil
}

func singleStep(ctx context.Context, x *examiner, f *Finding) error {
	loss, _ := field[advlib.Loss](x.Attack, "Loss")
	one, err := x.breaks(ctx, attack.FGM{Ball: x.Ball, Loss: loss})
	if err != nil {
		return err
	}
	alone := more(one, x.base())
	f.judge(float64(alone), float64(x.slack(0.01)), "FGM breaks %v, %v %v; %d examples FGM alone", rate(one), x.Attack, rate(x.base()), alone)
	return nil
}

func unbounded(ctx context.Context, x *examiner, f *Finding) error {
	limits := x.victim.Signature().Limits()
	wide := x.Ball.Norm.Ball(limits.Diameter(x.Ball.Norm))
	a, ok := x.in(wide.Radius)
	if !ok {
		return f.notApplicable("%v has no field Ball to widen", x.Attack)
	}
	hit, err := x.breaks(ctx, a)
	if err != nil {
		return err
	}
	stand := len(hit) - rate(hit).Count
	f.judge(float64(stand), 0, "%d of %d examples stand in %v", stand, len(hit), wide)
	return nil
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
	var curve []string
	worst, before := 0, math.MaxInt
	for _, share := range radiiOf {
		a, ok := x.in(share * x.Ball.Radius)
		if !ok {
			return f.notApplicable("%v has no field Ball to change", x.Attack)
		}
		if share == 1 {
			a = x.Attack
		}
		hit, err := x.breaks(ctx, a)
		if err != nil {
			return err
		}
		stand := len(hit) - rate(hit).Count
		worst = max(worst, stand-before)
		before = stand
		curve = append(curve, fmt.Sprintf("%v at %.3g", x.standing(hit), share*x.Ball.Radius))
	}
	f.judge(float64(max(0, worst)), float64(x.slack(0.01)), "%s", strings.Join(curve, ", "))
	return nil
}

func suite(_ context.Context, x *examiner, f *Finding) error {
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
	return nil
}

func worstCase(_ context.Context, x *examiner, f *Finding) error {
	lost := more(x.worst(), x.base())
	f.judge(float64(lost), float64(x.slack(0.01)), "%v alone leaves %v, all %d attacks in the ball together %v", x.Attack,
		x.standing(x.base()), len(x.attacks), x.standing(x.worst()))
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
	res, err := x.measure(ctx, attack.Lattice8{Attack: a})
	if err != nil {
		return err
	}
	lost, all := more(x.base(), res.Success), rate(x.base()).Count
	f.judge(float64(lost), math.Max(1, 0.1*float64(all)), "%d of %d adversarial examples are lost by rounding to 255ths of the box", lost, all)
	return nil
}

func interval(_ context.Context, x *examiner, f *Finding) error {
	robust := x.standing(x.base())
	lo, hi := robust.Wilson()
	f.judge(100*(hi-lo)/2, 10, "%v %s on %d examples: half is %.1f points", robust, robust.Interval(), robust.Of, 100*(hi-lo)/2)
	return nil
}

// leastFill is the share of the box that the values of honest data fill at least.
const leastFill = 1. / 16

func fill(_ context.Context, x *examiner, f *Finding) error {
	s := x.victim.Signature()
	if s.Domain != nil {
		return f.notApplicable("with a domain, each feature has its own range")
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	tensors.MustConstFlatData(x.all.X, func(flat []float32) {
		for _, v := range flat {
			lo, hi = math.Min(lo, float64(v)), math.Max(hi, float64(v))
		}
	})
	share := (hi - lo) / s.Box.Width()
	f.judge(-share, -leastFill, "values in [%.4g, %.4g] fill %.2g of the box %v", lo, hi, share, s.Box)
	f.Value = share
	return nil
}

func classes(_ context.Context, x *examiner, f *Finding) error {
	loss, ok := field[advlib.Loss](x.Attack, "Loss")
	if !ok || loss == nil {
		return f.notApplicable("%v has no loss of its own", x.Attack)
	}
	k := x.victim.Signature().Classes
	f.judge(float64(loss.MinClasses(false)), float64(k), "%v needs %d classes, there are %d", loss, loss.MinClasses(false), k)
	return nil
}

func detector(ctx context.Context, x *examiner, f *Finding) error {
	// Does it reject anything: an original, what the attack returns, or noise?
	rejects := x.rejected
	look := func(points *tensors.Tensor) error {
		said, err := x.victim.Query(ctx, points)
		for _, a := range said {
			if a.Kind == advlib.Rejected {
				rejects++
			}
		}
		return err
	}
	if err := look(x.adversarial); err != nil {
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
		if err := look(noisy); err != nil {
			return err
		}
	}
	if rejects == 0 {
		return f.notApplicable("the victim rejected nothing")
	}
	d, ok := x.victim.(knowing)
	if !ok {
		f.judge(float64(rejects), 0, "%d inputs were rejected; %v knows nothing of what rejects them", rejects, x.Attack)
		return nil
	}
	hit, err := x.breaks(ctx, d.Adaptive(x.Ball))
	if err != nil {
		return err
	}
	alone := more(hit, x.base())
	f.judge(float64(alone), float64(x.slack(0.01)), "%d inputs were rejected; the attack that knows why breaks %d examples besides",
		rejects, alone)
	return nil
}
