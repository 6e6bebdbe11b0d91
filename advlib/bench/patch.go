package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/dataset"
	"advlab/advlib/internal/npz"
	"advlab/advlib/scenario/signs"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// patched is what both sides look for: one square patch of so many texels a side, on stop signs, after so many steps of
// so many views each.
type patched struct {
	Target, Classes      int
	Texels, Steps, Batch int
	Fresh                int    // on how many views a patch is judged
	Attack               string // for the table
}

// patchSizes are how much is drawn, trained and looked for.
type patchSizes struct{ signs, epochs, practised, fresh, steps int }

var wholePatch = patchSizes{signs: 4000, epochs: 12, practised: 384, fresh: 200, steps: 300}

// patches is the workload of a printed patch. Both sides get the same views of stop signs, and where in each the patch
// is; the peer pastes it there by transformations of its own, of a range that is taken from these views. The judge puts
// the patches of both on fresh views of other signs, printed and as a screen would show them.
func patches(ctx context.Context, s sources) (workload, error) { return wholePatch.workload(ctx, s) }

func (z patchSizes) workload(ctx context.Context, s sources) (workload, error) {
	train, test := dataset.RoadSigns(z.signs, 1), dataset.RoadSigns(z.signs/4, 2)
	m := zoo.ContrastNormalised(zoo.CNN(16, 32, 64))
	m.Name, m.Epochs, m.LearningRate, m.Schedule = "signs", z.epochs, 0.002, training.Cosine{}
	c, err := keep(s.folder, m, train.Shape(), len(train.Classes), func() (*advlib.Classifier, error) { return m.Fit(ctx, train.Examples) })
	if err != nil {
		return workload{}, err
	}
	practice, err := stops(train, z.practised, 1)
	if err != nil {
		return workload{}, err
	}
	unseen, err := stops(test, z.fresh, 2)
	if err != nil {
		return workload{}, err
	}
	target := slices.Index(train.Classes, "speed limit 30")
	stickers := signs.Patch(signs.Octagon, 0, 0)
	campaign := signs.Campaign{Goal: advlib.Targeted(target), Outline: signs.Octagon, Stickers: stickers, Longer: 12, Steps: z.steps,
		BatchSize: 32}
	p := patched{Target: target, Classes: len(train.Classes), Texels: campaign.Longer, Steps: campaign.Steps, Batch: campaign.BatchSize,
		Fresh: z.fresh, Attack: "a patch of 8 % of a stop sign, to be read as speed limit 30"}
	ask := func() (map[string]*tensors.Tensor, any) {
		arrays := map[string]*tensors.Tensor{"x": practice.X, "at": corners(practice, stickers[0]), "fresh": unseen.X,
			"fresh_at": corners(unseen, stickers[0])}
		for v := range c.Store().IterVariables() {
			arrays["weights"+v.Path()] = v.MustValue()
		}
		return arrays, p
	}
	fit := func(name string, g signs.Gamut) turn {
		turns := 0 // the first is not counted: it compiles
		return turn{name, func(ctx context.Context) (answer, error) {
			a := campaign
			a.Gamut, a.Seed = g, uint64(max(turns-1, 0))
			turns++
			made, _, err := a.Fit(ctx, c, practice)
			if err != nil {
				return answer{}, err
			}
			return answer{left: tensors.FromFlatDataAndDimensions(made.Texels[0], a.Longer, a.Longer, made.Channels)}, nil
		}}
	}
	judge := func(ctx context.Context) (answer, error) {
		arrays, err := npz.ReadFile(filepath.Join(s.folder, "patch-judged.npz"))
		if err != nil {
			return answer{}, err
		}
		return judged(ctx, c, unseen, campaign, arrays["patches"])
	}
	return workload{name: "patch", ask: ask, turns: []turn{fit("printed", signs.Gamut{}), fit("on a screen", signs.Gamut{Screen: true})},
		judge: judge}, nil
}

// stops draws views of the stop signs.
func stops(of *dataset.Posed, n int, seed uint64) (*signs.Views, error) {
	var rows []int
	for i, y := range of.Y {
		if of.Classes[y] == "stop" {
			rows = append(rows, i)
		}
	}
	return signs.Viewpoints{}.Draw(of.Select(rows), n, advlib.UnitBox, seed)
}

// corners are those of a sticker in each view, [views, 4, 2], as shares of the picture's width and height.
func corners(w *signs.Views, s signs.Sticker) *tensors.Tensor {
	var flat []float32
	for k := range w.Len() {
		for _, c := range w.Corners(k, s) {
			flat = append(flat, float32(c[0]), float32(c[1]))
		}
	}
	return tensors.FromFlatDataAndDimensions(flat, w.Len(), 4, 2)
}

// judged counts for each of the patches [n, side, side, channels] on how many views it works: printed, and on a screen.
func judged(ctx context.Context, c *advlib.Classifier, on *signs.Views, a signs.Campaign, patches *tensors.Tensor) (answer, error) {
	if patches == nil || patches.Rank() != 4 {
		return answer{}, fmt.Errorf("there are no patches [n, side, side, channels] to judge")
	}
	dims, flat := patches.Shape().Dimensions, tensors.MustCopyFlatData[float32](patches)
	size := dims[1] * dims[2] * dims[3]
	var r answer
	for k := range dims[0] {
		var hits []int
		for _, g := range []signs.Gamut{{}, {Screen: true}} {
			p := signs.Print{Name: "a patch", Outline: a.Outline, Stickers: a.Stickers, Gamut: g, Goal: a.Goal, Channels: dims[3], Longer: dims[1],
				Texels: [][]float32{flat[k*size : (k+1)*size]}}
			res, err := advlib.Run(ctx, c, on.Examples, p.On(on))
			if err != nil {
				return answer{}, err
			}
			hits = append(hits, res.SuccessRate().Count)
		}
		r.Hits = append(r.Hits, hits)
	}
	return r, nil
}
