package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// doubled returns the attack with twice the steps, of the same length, and that towards all classes.
func (x *examiner) doubled() []advlib.Attack {
	var all []advlib.Attack
	n, ok := steps(x.Attack)
	if !ok {
		return nil
	}
	a := filled(x.Attack)
	if b, ok := with(a, "Steps", 2*n); ok {
		all = append(all, b)
	}
	if b, ok := with(a, "Loss", advlib.Margin); ok {
		if b, ok := with(b, "Steps", 2*n); ok {
			_, random := b.(attack.EOT)
			_, targeted := b.(attack.AllTargets)
			if !random && !targeted {
				all = append(all, attack.AllTargets{Attack: b, Most: 9})
			}
		}
	}
	return all
}

func converged(ctx context.Context, x *examiner, f *Finding) error {
	n, ok := steps(x.Attack)
	if !ok {
		return f.notApplicable("%v has no field Steps to double", x.Attack)
	}
	a := filled(x.Attack)
	type version struct {
		what string
		a    advlib.Attack
	}
	var versions []version
	if b, ok := with(a, "Steps", 2*n); ok {
		versions = append(versions, version{fmt.Sprintf("%d steps", 2*n), b})
	}
	versions = append(versions, version{"5 restarts", attack.Repeat{Attack: a, Times: 5}})
	if size, ok := field[float64](a, "StepSize"); ok && size > 0 {
		for what, factor := range map[string]float64{"half the step size": 0.5, "twice the step size": 2} {
			if b, ok := with(a, "StepSize", factor*size); ok {
				versions = append(versions, version{what, b})
			}
		}
	}
	for _, v := range versions {
		if _, err := x.against(ctx, v.a, closely); err != nil {
			return err
		}
	}
	x.concludes(func() {
		worst, said := 0, []string(nil)
		bar := Series{}
		for _, v := range versions {
			extra := 0
			if x.attacks[v.a.String()] != nil {
				extra = count(x.alone(v.a.String()))
			}
			worst = max(worst, extra)
			said = append(said, fmt.Sprintf("%s: %d", v.what, extra))
			bar.bar(v.what, float64(extra))
		}
		most := float64(x.slack(0.01))
		f.judge(float64(worst), most, "of %d examples that stand are broken by %s", len(x.open(closely)), strings.Join(said, ", "))
		f.Picture = bars("broken besides", bar).at(most, "at most")
	})
	return nil
}

// way are shares of the steps, at which it is looked what a shorter run would have found.
var way = []float64{0.025, 0.1, 0.25, 0.5, 0.75, 0.9}

func silent(ctx context.Context, x *examiner, f *Finding) error {
	n, ok := steps(x.Attack)
	if !ok {
		return f.notApplicable("%v has no field Steps to shorten", x.Attack)
	}
	if x.victim.Signature().Random {
		return f.notApplicable("of a random victim, a shorter run is another draw")
	}
	a := filled(x.Attack)
	onTheWay := make([][]bool, x.on.Len())
	looked := 0
	line := Series{}
	for k, share := range way {
		at := max(1, int(share*float64(n)))
		if k > 0 && at == max(1, int(way[k-1]*float64(n))) {
			continue
		}
		b, ok := with(a, "Steps", at)
		if !ok {
			return f.notApplicable("%v takes no other number of steps", x.Attack)
		}
		o, err := x.against(ctx, b, closely)
		if err != nil {
			return err
		}
		for i, h := range o.hit {
			onTheWay[i] = append(onTheWay[i], h)
		}
		line.X, line.Y = append(line.X, float64(at)), append(line.Y, float64(count(o.hit)))
		looked++
	}
	silent := 0
	for i, h := range x.base().hit {
		if SilentSuccess(append(onTheWay[i], h)) {
			silent++
		}
	}
	f.judge(float64(silent), 0, "%d of %d examples that stand were broken by one of %d shorter runs", silent, len(x.open(closely)), looked)
	line.X, line.Y = append(line.X, float64(n)), append(line.Y, 0)
	f.Picture = &Picture{Kind: "lines", X: "steps", Y: "broken, and not in the end", Series: []Series{line}}
	return nil
}

// mostIncomplete is indicator I4's threshold, and shareIncomplete how many of the examples that stand may be above it.
const (
	mostIncomplete  = 0.05
	shareIncomplete = 0.5
)

func incomplete(ctx context.Context, x *examiner, f *Finding) error {
	n, ok := steps(x.Attack)
	loss, has := field[advlib.Loss](filled(x.Attack), "Loss")
	switch {
	case !ok || !has:
		return f.notApplicable("%v has no fields Steps and Loss", x.Attack)
	case x.victim.Signature().Limits().Encoded():
		return f.notApplicable("attacks work in other coordinates than those of the domain")
	case x.victim.Signature().Random:
		return f.notApplicable("the loss of a random victim is another in each draw")
	}
	if loss == nil {
		loss = advlib.CrossEntropy
	}
	stand := x.open(closely)
	if len(stand) == 0 {
		return f.notApplicable("no example stands")
	}
	b := advlib.Batch{X: advlib.TakeRows(x.on.X, stand, len(stand)), Seed: x.Seed}
	defer advlib.Free(b.X)
	for _, i := range stand {
		b.Y = append(b.Y, x.on.Y[i])
	}
	// The losses at the original, and where the last steps begin and end. What is returned is the best so far, so that the
	// losses between them are too.
	var at [3][]float64
	first, err := x.lossOf(ctx, loss, b.X, b)
	if err != nil {
		return err
	}
	at[0] = first
	a := filled(x.Attack)
	for k, steps := range []int{max(1, n-9), n} {
		c, ok := with(a, "Steps", steps)
		if !ok {
			return f.notApplicable("%v takes no other number of steps", x.Attack)
		}
		end, err := c.Perturb(ctx, advlib.Count(x.victim), b)
		if err != nil {
			return err
		}
		at[k+1], err = x.lossOf(ctx, loss, end, b)
		advlib.Free(end)
		if err != nil {
			return err
		}
	}
	var open advlib.Rate
	for i := range stand {
		open.Of++
		if IncompleteOptimisation([]float64{-at[0][i], -at[1][i], -at[2][i]}) > mostIncomplete && at[2][i]-at[1][i] >
			mostIncomplete*(at[2][i]-at[0][i]) {
			open.Count++
		}
	}
	line := Series{X: []float64{0, float64(max(1, n-9)), float64(n)}}
	for _, l := range at {
		line.Y = append(line.Y, mean(l))
	}
	f.Picture = &Picture{Kind: "lines", X: "steps", Y: fmt.Sprintf("mean %v of what stands", loss), Series: []Series{line}}
	f.judge(float64(open.Count), max(1, shareIncomplete*float64(open.Of)), "on %d of the %d examples that stand, %v still rises by more than "+
		"5 %% of its way over the last ten steps", open.Count, open.Of, loss)
	return nil
}

func mean(values []float64) float64 {
	sum := 0.
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// lossKey names the graph of a loss.
type lossKey struct{ loss advlib.Loss }

// lossOf returns the loss of each row.
func (x *examiner) lossOf(ctx context.Context, loss advlib.Loss, points *tensors.Tensor, b advlib.Batch) ([]float64, error) {
	t := advlib.Count(x.victim)
	y := tensors.FromFlatDataAndDimensions(b.Y, len(b.Y))
	defer advlib.Free(y)
	values, _, err := evaluateRows(ctx, t, lossKey{loss}, points, y, lossGraph(loss))
	return values, err
}
