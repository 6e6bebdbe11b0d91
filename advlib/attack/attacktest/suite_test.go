package attacktest_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// broken is FGM with a planted mistake.
type broken struct {
	attack.FGM
	spoil func(ctx context.Context, t *advlib.Counted, b advlib.Batch, adv []float32) error
}

func (a broken) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	adv, err := a.FGM.Perturb(context.Background(), v, b)
	if err != nil {
		return nil, err
	}
	flat := tensors.MustCopyFlatData[float32](adv)
	err = a.spoil(ctx, v, b, flat)
	return tensors.FromFlatDataAndDimensions(flat, b.X.Shape().Dimensions...), err
}

// backwards is a loss with its sign flipped.
type backwards struct{ advlib.Loss }

func (l backwards) Of(z *graph.Node, goal advlib.GoalNodes) *graph.Node {
	return graph.Neg(l.Loss.Of(z, goal))
}

// wrongTarget moves away from the target, and is right without one: the sign that is easily forgotten.
type wrongTarget struct{ advlib.Loss }

func (l wrongTarget) Of(z *graph.Node, goal advlib.GoalNodes) *graph.Node {
	if goal.Target != nil {
		return graph.Neg(l.Loss.Of(z, goal))
	}
	return l.Loss.Of(z, goal)
}

// masked0 is the margin with the label masked by 0 instead of −∞, as in a mistake of several libraries.
type masked0 struct{ advlib.Loss }

func (masked0) Of(z *graph.Node, goal advlib.GoalNodes) *graph.Node {
	k := z.Shape().Dimensions[1]
	label := graph.OneHot(goal.Label, k, z.DType())
	other := graph.ReduceMax(graph.Mul(graph.OneMinus(label), z), -1)
	return graph.MinScalar(graph.Sub(other, advlib.At(z, goal.Label)), 0) // f₆ of the paper, which stops at 0
}

// deaf is PGD that does not hear which class is wanted.
type deaf struct{ attack.PGD }

func (a deaf) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	b.Target, b.AnyClass = nil, false
	return a.PGD.Perturb(ctx, v, b)
}

// The suite catches planted mistakes, each by the check that is there for it.
func TestSuiteCatches(t *testing.T) {
	attacktest.SetPatience(t, 10*time.Second)
	const ε = 0.1
	ball := advlib.Linf.Ball(ε)
	calls := 0
	spoiled := func(spoil func(ctx context.Context, t *advlib.Counted, b advlib.Batch, adv []float32) error) attacktest.Subject {
		return attacktest.Subject{
			New:      func(g advlib.Goal) advlib.Attack { return broken{attack.FGM{Ball: ball, Goal: g}, spoil} },
			AtRadius: func(ε float64) advlib.Attack { return broken{attack.FGSM(ε), spoil} },
		}
	}
	loss := func(l advlib.Loss) attacktest.Subject {
		return attacktest.Subject{
			New:      func(g advlib.Goal) advlib.Attack { return attack.PGD{Ball: ball, Goal: g, Loss: l, Steps: 10} },
			AtRadius: func(ε float64) advlib.Attack { return attack.PGD{Ball: advlib.Linf.Ball(ε), Loss: l} },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack { return attack.PGD{Ball: ball, Goal: g, Loss: l} },
		}
	}
	for mistake, c := range map[string]struct {
		check   string
		subject attacktest.Subject
	}{
		"none":                                {"", loss(advlib.CrossEntropy)},
		"the sign of the gradient is flipped": {"oracle", loss(backwards{advlib.CrossEntropy})},
		"the sign is wrong with a target":     {"oracle", loss(wrongTarget{advlib.CrossEntropy})},
		"the label is masked by 0":            {"shifted logits", loss(masked0{advlib.Margin})},
		"DLR is accepted for two classes": {"losses refused", func() attacktest.Subject {
			s := loss(advlib.CrossEntropy)
			s.WithLoss = func(advlib.Loss, advlib.Goal) advlib.Attack { return attack.FGSM(0.1) }
			return s
		}()},
		"candidates leave the ball": {"candidates", spoiled(func(_ context.Context, _ *advlib.Counted, b advlib.Batch, adv []float32) error {
			for i, v := range tensors.MustCopyFlatData[float32](b.X) {
				adv[i] = v + 1.01*(adv[i]-v)
			}
			return nil
		})},
		"candidates leave the box": {"candidates", spoiled(func(_ context.Context, _ *advlib.Counted, _ advlib.Batch, adv []float32) error {
			for i, v := range adv {
				if v == 0 {
					adv[i] = -0.05
				}
			}
			return nil
		})},
		"candidates are not a number": {"results", spoiled(func(_ context.Context, _ *advlib.Counted, _ advlib.Batch, adv []float32) error {
			adv[0] = float32(math.NaN())
			return nil
		})},
		"each call differs": {"repeatable", spoiled(func(_ context.Context, _ *advlib.Counted, _ advlib.Batch, adv []float32) error {
			calls++
			for i := range adv {
				adv[i] = max(0, adv[i]-1e-6*float32(calls%7))
			}
			return nil
		})},
		"rows depend on their position": {"any order", spoiled(func(_ context.Context, _ *advlib.Counted, b advlib.Batch, adv []float32) error {
			for i := range adv {
				adv[i] = max(0, adv[i]-1e-5*float32(i/(len(adv)/b.Len())))
			}
			return nil
		})},
		"random draws depend on the example's number": {"shuffled file", spoiled(func(_ context.Context, _ *advlib.Counted,
			b advlib.Batch, adv []float32) error {
			for i := range adv {
				adv[i] = max(0, adv[i]-1e-5*float32(b.Number(i/(len(adv)/b.Len()))))
			}
			return nil
		})},
		"rows depend on the size of the batch": {"any batch size", spoiled(func(_ context.Context, _ *advlib.Counted, b advlib.Batch,
			adv []float32) error {
			if b.Len() == 1 {
				copy(adv, tensors.MustCopyFlatData[float32](b.X))
			}
			return nil
		})},
		"a radius of 0 is not obeyed": {"radius 0", spoiled(func(_ context.Context, _ *advlib.Counted, b advlib.Batch, adv []float32) error {
			if x := tensors.MustCopyFlatData[float32](b.X); adv[0] == x[0] && adv[1] == x[1] {
				adv[0] += 0.05
			}
			return nil
		})},
		"it does not stop when cancelled": {"cancelled", spoiled(func(context.Context, *advlib.Counted, advlib.Batch,
			[]float32) error {
			return nil
		})},
		"the same work counts differently": {"passes", spoiled(func(ctx context.Context, target *advlib.Counted, b advlib.Batch,
			_ []float32) error {
			if calls++; calls%2 == 0 {
				_, err := target.Logits(ctx, b.X)
				return err
			}
			return nil
		})},
		"a fixed coordinate moves": {"masks", spoiled(func(_ context.Context, _ *advlib.Counted, _ advlib.Batch, adv []float32) error {
			adv[0] += 1e-7
			return nil
		})},
		"steps, categories and fixed features are taken for numbers in a box": {"domain",
			spoiled(func(_ context.Context, target *advlib.Counted, _ advlib.Batch, adv []float32) error {
				box := target.Signature().Box
				for i := range adv {
					adv[i] = min(max(adv[i]+0.05, float32(box.Lo)), float32(box.Hi))
				}
				return nil
			})},
		"it finds nothing in steps and categories": {"domain", spoiled(func(_ context.Context, target *advlib.Counted, b advlib.Batch,
			adv []float32) error {
			if target.Signature().Limits().Encoded() {
				copy(adv, tensors.MustCopyFlatData[float32](b.X))
			}
			return nil
		})},
		"it waits for a number that never comes": {"not a number", spoiled(func(ctx context.Context, target *advlib.Counted,
			b advlib.Batch, adv []float32) error {
			z, err := target.Logits(ctx, tensors.FromFlatDataAndDimensions(slices.Clone(adv), b.X.Shape().Dimensions...))
			if err != nil {
				return err
			}
			for _, row := range z {
				if math.IsNaN(float64(row[0])) {
					<-ctx.Done()
					return ctx.Err()
				}
			}
			return nil
		})},
		"it needs two coordinates": {"one pixel", spoiled(func(_ context.Context, _ *advlib.Counted, b advlib.Batch, adv []float32) error {
			if len(adv) == b.Len() {
				return errors.New("there is no second coordinate")
			}
			return nil
		})},
		"it ignores the class that is wanted": {"targets", attacktest.Subject{
			New:      func(g advlib.Goal) advlib.Attack { return deaf{attack.PGD{Ball: ball, Goal: g, Steps: 10}} },
			AtRadius: func(ε float64) advlib.Attack { return deaf{attack.PGD{Ball: advlib.Linf.Ball(ε)}} },
		}},
		"it forgets its goal": {"nothing to do", attacktest.Subject{
			New:      func(advlib.Goal) advlib.Attack { return attack.FGSM(ε) },
			AtRadius: func(ε float64) advlib.Attack { return attack.FGSM(ε) },
		}},
	} {
		t.Run(mistake, func(t *testing.T) {
			failed, err := attacktest.Failures(c.subject)
			if err != nil {
				t.Fatal(err)
			}
			if c.check == "" {
				for name, err := range failed {
					t.Errorf("a sound attack fails %q: %v", name, err)
				}
				return
			}
			if failed[c.check] == nil {
				t.Errorf("%q does not notice it; noticed by: %v", c.check, failed)
			}
			t.Logf("%q: %v", c.check, failed[c.check])
		})
	}
}
