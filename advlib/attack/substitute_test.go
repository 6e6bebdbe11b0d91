package attack_test

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/oracle"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// counting returns a classifier as a victim that answers labels, and counts by itself.
func counting(c *advlib.Classifier, queries int) (advlib.Victim, *atomic.Int64) {
	asked := new(atomic.Int64)
	s := c.Signature()
	s.Queries = queries
	return oracle.Decide(c.Name(), s, func(x []float32) int {
		asked.Add(1)
		z, err := c.Logits(tensors.FromFlatDataAndDimensions(x, append([]int{1}, c.Input()...)...))
		if err != nil {
			panic(err)
		}
		return int((advlib.Answer{Kind: advlib.Logits, Scores: z[0]}).Class())
	}), asked
}

// What breaks a substitute that has seen labels only breaks the digits' network more often than noise of the same size.
// Its queries are counted to the last one, and are in the bill.
func TestSubstitute(t *testing.T) {
	r := digits(t)
	victim, asked := counting(r.Classifier, 0)
	seeds, test := r.Examples.First(30), r.Examples.Slice(30, 64)
	small := func() training.Model { m := zoo.MLP(50); m.Epochs = 20; return m }()
	sub, err := attack.Substitute{Train: small.Fit, Rounds: 3, Doublings: 1, Reservoir: 40}.Learn(context.Background(), victim, seeds)
	if err != nil {
		t.Fatal(err)
	}
	if want := 30 + 30 + 40; sub.Queries != want || asked.Load() != int64(want) || sub.Examples.Len() != want {
		t.Errorf("%d queries and %d points, the victim has counted %d, want %d", sub.Queries, sub.Examples.Len(), asked.Load(), want)
	}
	for i, v := range tensors.MustCopyFlatData[float32](sub.Examples.X) {
		if v < 0 || v > 1 {
			t.Fatalf("the value %d of its points is %g", i, v)
		}
	}
	asked.Store(0)
	ball := advlib.Linf.Ball(0.2)
	res, err := advlib.Settings{BatchSize: 10}.Run(context.Background(), victim, test, sub.Transfer(attack.MIFGSM{Ball: ball}))
	if err != nil {
		t.Fatal(err)
	}
	noise, err := advlib.Run(context.Background(), victim, test, attack.Noise{Norm: advlib.Linf, Kind: attack.UniformNoise, Queries: 3})
	if err != nil {
		t.Fatal(err)
	}
	byNoise := 0
	for _, d := range noise.Distance {
		if d <= ball.Radius {
			byNoise++
		}
	}
	t.Logf("transfer breaks %d of %d, noise %d; shared %d, sent %d", count(res.Success), test.Len(), byNoise,
		res.Stats.Shared, res.Stats.Sent)
	if count(res.Success) < byNoise+test.Len()/5 {
		t.Errorf("transfer breaks %d of %d, noise %d", count(res.Success), test.Len(), byNoise)
	}
	if res.Stats.Shared != int64(sub.Queries) {
		t.Errorf("the bill has %d shared queries, the training took %d", res.Stats.Shared, sub.Queries)
	}
}

// The training's own budget is kept, and so is the victim's for each example, which is that of the seed that a point
// descends from.
func TestSubstituteKeepsBudgets(t *testing.T) {
	r := digits(t)
	seeds := r.Examples.First(10)
	train := func(context.Context, *advlib.Examples) (*advlib.Classifier, error) { return r.Classifier, nil }
	for _, c := range []struct{ own, victims, want int }{{1, 0, 1}, {25, 0, 25}, {10, 0, 10}, {0, 5, 30}, {17, 5, 17}} {
		victim, asked := counting(r.Classifier, c.victims)
		sub, err := attack.Substitute{Train: train, Queries: c.own}.Learn(context.Background(), victim, seeds)
		if err != nil {
			t.Fatal(err)
		}
		if sub.Queries != c.want || asked.Load() != int64(c.want) {
			t.Errorf("%+v: %d queries, the victim has counted %d", c, sub.Queries, asked.Load())
		}
	}
	victim, _ := counting(r.Classifier, 0)
	for want, s := range map[string]attack.Substitute{
		"has no Train":                {},
		"Rounds = -1 is below 0":      {Train: train, Rounds: -1},
		"StepSize = NaN is not a fin": {Train: train, StepSize: math.NaN()},
	} {
		if _, err := s.Learn(context.Background(), victim, seeds); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v does not say %q", err, want)
		}
	}
}
