package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/lab"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// hardenings is what both sides train: the zoo's network from the same weights, on the same examples, as long.
type hardenings struct {
	Epsilon, Step float64
	Steps         int // ascents for each batch
	Epochs, Batch int
	Rate          float64 // Adam's
	Seeds         int     // round k starts from the weights of seed k modulo Seeds, on both sides
	Attack        string  // for the table
}

// training7 is adversarial training as Madry et al. do it, with seven steps and nothing around it: no warm-up, no
// averages, no validation, which the peers have not.
func training7(ctx context.Context, _ sources) (workload, error) {
	h := hardenings{Epsilon: 0.1, Step: 2.5 * 0.1 / 7, Steps: 7, Epochs: 3, Batch: 64, Rate: 0.001, Seeds: 5,
		Attack: "adversarial training, PGD-7 Linf 0.1, 3 epochs of 4000 images, seconds for all"}
	train, test, err := dataset.MNISTSmall(ctx)
	if err != nil {
		return workload{}, err
	}
	train, test = train.First(4000), test.Slice(1000, 2000)
	m := zoo.CNN()
	m.Epochs, m.BatchSize, m.LearningRate, m.Validation.None = h.Epochs, h.Batch, h.Rate, true
	m.Adversary = defense.AdversarialTraining{Ball: advlib.Linf.Ball(h.Epsilon), Ascents: h.Steps, StepSize: h.Step, NoWarmUp: true}
	// Hardly trained: their weights are the first ones.
	firsts := make([]*advlib.Classifier, h.Seeds)
	for seed := range firsts {
		still := training.Model{Name: "still", Build: m.Build, Epochs: 1, LearningRate: 1e-30, Seed: uint64(seed)}
		if firsts[seed], err = still.Fit(ctx, train.First(64)); err != nil {
			return workload{}, err
		}
	}
	ask := func() (map[string]*tensors.Tensor, any) {
		arrays := map[string]*tensors.Tensor{"x": train.X, "y": tensors.FromFlatDataAndDimensions(train.Y, train.Len()),
			"test_x": test.X, "test_y": tensors.FromFlatDataAndDimensions(test.Y, test.Len())}
		for seed, first := range firsts {
			for v := range first.Store().IterVariables() {
				arrays[fmt.Sprintf("weights%d%s", seed, v.Path())] = v.MustValue()
			}
		}
		return arrays, h
	}
	turns := 0 // the first is not counted: it compiles
	do := func(ctx context.Context) (answer, error) {
		m.Seed = uint64(max(turns-1, 0) % h.Seeds)
		turns++
		c, err := m.Fit(lab.Fresh(ctx), train)
		if err != nil {
			return answer{}, err
		}
		return answer{left: flat(c)}, nil
	}
	return workload{name: "training", ask: ask, turns: []turn{{"ours", do}}}, nil
}

// flat are the weights of a classifier, one after the other, by their names.
func flat(c *advlib.Classifier) *tensors.Tensor {
	byPath := map[string][]float32{}
	var paths []string
	for v := range c.Store().IterVariables() {
		byPath[v.Path()] = tensors.MustCopyFlatData[float32](v.MustValue())
		paths = append(paths, v.Path())
	}
	slices.Sort(paths)
	var all []float32
	for _, path := range paths {
		all = append(all, byPath[path]...)
	}
	return tensors.FromFlatDataAndDimensions(all, len(all))
}
