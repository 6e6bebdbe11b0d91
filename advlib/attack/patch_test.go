package attack_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// squares is the digits' network on images [8, 8, 1], with its examples.
func squares(t *testing.T) (*advlib.Classifier, *advlib.Examples) {
	t.Helper()
	return squaresOf(t, digits(t))
}

// squaresOf is the network of a reference of flat digits on images [8, 8, 1], with its examples.
func squaresOf(t *testing.T, r *attacktest.Reference) (*advlib.Classifier, *advlib.Examples) {
	t.Helper()
	c := r.Classifier
	s, err := advlib.NewClassifier(advlib.Spec{
		Name: "digits as images", Store: c.Store(), Input: []int{8, 8, 1}, Box: c.Box(), Backend: c.Backend(),
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			return c.LogitsGraph(graph.Reshape(x, x.Shape().Dimensions[0], -1))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := advlib.NewExamples("digits as images", tensors.MustCopyFlatData[float32](r.Examples.X), []int{8, 8, 1}, r.Examples.Y)
	if err != nil {
		t.Fatal(err)
	}
	return s, e
}

// On a linear classifier with the patch at one place, pixel for pixel, the best one is black where the weight is
// negative and white where it is positive.
func TestPatchClosedForm(t *testing.T) {
	const side, patch = 6, 2
	r := rand.New(rand.NewPCG(9, 9))
	v := make([]float32, side*side)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	c := advlib.MustClassifier(advlib.Spec{
		Name: "weights", Input: []int{side, side}, Box: advlib.UnitBox, Backend: digits(t).Classifier.Backend(),
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			w := graph.ConstTensor(x.Graph(), tensors.FromFlatDataAndDimensions(v, side*side, 1))
			z := graph.Dot(graph.Reshape(x, x.Shape().Dimensions[0], -1), w).Product()
			return graph.Concatenate([]*graph.Node{graph.AddScalar(graph.ZerosLike(z), 5), z}, 1) // out of reach: all say 0
		},
	})
	x := make([]float32, 16*side*side)
	for i := range x {
		x[i] = r.Float32()
	}
	e, err := advlib.NewExamples("noise", x, []int{side, side}, make([]int32, 16))
	if err != nil {
		t.Fatal(err)
	}
	a := attack.AdversarialPatch{Shape: attack.PatchSquare, Steps: 60, Loss: advlib.Margin, Placements: attack.Placements{
		Largest: float64(patch) / side, Upright: true, SameLight: true, Row: 0.5, Column: 0.5, // pixels 2 and 3 of each side
	}}
	p, _, err := a.Fit(context.Background(), c, e)
	if err != nil {
		t.Fatal(err)
	}
	for i := range patch {
		for j := range patch {
			want := float32(0)
			if v[(2+i)*side+2+j] > 0 {
				want = 1
			}
			if got := p.Pixels[i*patch+j]; got != want {
				t.Errorf("pixel %d, %d is %g, want %g for the weight %g", i, j, got, want, v[(2+i)*side+2+j])
			}
		}
	}
}

// A patch that was learned on one half of the digits fools the other half, at other placements, more than gray or noise
// does; towards a target too. It changes no more than its threat says.
func TestPatchDigits(t *testing.T) {
	c, e := squares(t)
	half := e.Len() / 2
	train, test := e.First(half), e.Slice(half, e.Len())
	where := attack.Placements{Smallest: 0.4, Largest: 0.5}
	for _, a := range []attack.AdversarialPatch{
		{Placements: where, Steps: 200},
		{Placements: attack.Placements{Smallest: 0.6, Largest: 0.7}, Steps: 200, Shape: attack.PatchSquare, Goal: advlib.Targeted(8), Samples: 4},
	} {
		p, learned, err := a.Fit(context.Background(), c, train)
		if err != nil {
			t.Fatal(err)
		}
		rate := func(p *attack.Patch) (broken, of int) {
			for seed := range uint64(16) { // several placements each
				res := advlib.Settings{Seed: seed}.MustRun(context.Background(), c, test, p)
				for i, d := range res.Distance {
					if res.Success[i] && d > res.Threat.Radius {
						t.Errorf("%v: example %d has %g changed values, the threat is %v", p, i, d, res.Threat)
					}
					if res.Attempted[i] {
						of++
					}
				}
				broken += count(res.Success)
			}
			return broken, of
		}
		most := 0
		for k := range 4 {
			q := *p
			q.Pixels = slices.Clone(p.Pixels)
			r := rand.New(rand.NewPCG(uint64(k), 1))
			for j := range q.Pixels {
				q.Pixels[j] = 0.5
				if k > 0 {
					q.Pixels[j] = r.Float32()
				}
			}
			broken, _ := rate(&q)
			most = max(most, broken)
		}
		broken, of := rate(p)
		t.Logf("%v: %v where it was learned; of %d elsewhere %d, gray or noise at most %d; %v", p, learned.SuccessRate(), of, broken,
			most, learned.Stats)
		if 2*broken < 3*most || 4*broken < of {
			t.Errorf("%v: breaks %d of %d, gray or noise %d", p, broken, of, most)
		}
	}
}

// The same seed learns the same patch, whatever the order of the examples, and puts it to the same places; another seed
// does neither.
func TestPatchSeeds(t *testing.T) {
	c, e := squares(t)
	e = e.First(16)
	learn := func(e *advlib.Examples, seed uint64) *attack.Patch {
		t.Helper()
		p, _, err := attack.AdversarialPatch{Steps: 5, BatchSize: 8, Seed: seed}.Fit(context.Background(), c, e)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var backwards []int
	for i := range e.Len() {
		backwards = append(backwards, e.Len()-1-i)
	}
	first := learn(e, 1)
	if !slices.Equal(first.Pixels, learn(e, 1).Pixels) || !slices.Equal(first.Pixels, learn(e.Select(backwards), 1).Pixels) {
		t.Error("the same seed gives another patch, or another order of the examples does")
	}
	if slices.Equal(first.Pixels, learn(e, 2).Pixels) {
		t.Error("seeds 1 and 2 give the same patch")
	}
	put := func(e *advlib.Examples, seed uint64) []float32 {
		b := batch(e)
		b.Seed = seed
		adv, err := first.Perturb(context.Background(), advlib.Count(c), b)
		if err != nil {
			t.Fatal(err)
		}
		return tensors.MustCopyFlatData[float32](adv)
	}
	there, back := put(e, 1), put(e.Select(backwards), 1)
	for i := range e.Len() {
		if j := e.Len() - 1 - i; !slices.Equal(there[64*i:64*i+64], back[64*j:64*j+64]) {
			t.Errorf("example %d is given the patch at another place in another order", i)
		}
	}
	if slices.Equal(there, put(e, 2)) {
		t.Error("seeds 1 and 2 put the patch to the same places")
	}
}

func TestPatchCancelled(t *testing.T) {
	c, e := squares(t)
	e = e.First(16)
	for _, left := range []int{0, 3, 20} {
		p, res, err := attack.AdversarialPatch{BatchSize: 8}.Fit(&polls{Context: context.Background(), left: left}, c, e)
		if !errors.Is(err, context.Canceled) || p == nil || res == nil {
			t.Fatalf("%v, %v, %v", p, res, err)
		}
		if again := advlib.MustRun(context.Background(), c, e, p); !slices.Equal(again.Success, res.Success) {
			t.Errorf("after %d polls: fooled %v, measured %v", left, again.Success, res.Success)
		}
	}
}

func TestPatchRefusals(t *testing.T) {
	c, e := squares(t)
	good, _, err := attack.AdversarialPatch{Steps: 1}.Fit(context.Background(), c, e.First(8))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(p *attack.Patch)) attack.Patch {
		p := *good
		p.Pixels = slices.Clone(good.Pixels)
		change(&p)
		return p
	}
	at := func(p attack.Placements) attack.AdversarialPatch { return attack.AdversarialPatch{Placements: p} }
	for want, a := range map[string]attack.Threatened{
		"Smallest = 0.6 is above Largest = 0.5":    at(attack.Placements{Smallest: 0.6, Largest: 0.5}),
		"Largest = 1.5 is not in [0, 1]":           at(attack.Placements{Largest: 1.5}),
		"Rotation = 181":                           at(attack.Placements{Rotation: 181}),
		"Rotation = 5 and Upright contradict":      at(attack.Placements{Rotation: 5, Upright: true}),
		"Brightness = 0.1 and SameLight":           at(attack.Placements{Brightness: 0.1, SameLight: true}),
		"Row = -1":                                 at(attack.Placements{Row: -1}),
		"shape 2 is not one of":                    attack.AdversarialPatch{Shape: 2},
		"Steps = -1":                               attack.AdversarialPatch{Steps: -1},
		"Resolution = -1":                          attack.AdversarialPatch{Resolution: -1},
		"32 placements for each of 32 examples":    attack.AdversarialPatch{Samples: 32},
		"LearningRate = -1":                        attack.AdversarialPatch{LearningRate: -1},
		"the patch has 3 channels in [0, 1], inp":  with(func(p *attack.Patch) { p.Channels = 3 }),
		"the patch has 16 values, 5 × 5 pixels of": with(func(p *attack.Patch) { p.Size = 5 }),
		"the patch holds 2 at 3, which is outside": with(func(p *attack.Patch) { p.Pixels[3] = 2 }),
	} {
		if _, err := a.Threat(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v does not say %q", a, err, want)
		}
	}
	if _, err := (attack.AdversarialPatch{}).Threat(digits(t).Classifier); err == nil || !strings.Contains(err.Error(),
		"inputs of shape [64] are no images") {
		t.Errorf("a vector: %v", err)
	}
}

// The picture of a patch has its values, and nothing outside of its outline.
func TestPatchImage(t *testing.T) {
	p := attack.Patch{Size: 4, Channels: 1, Box: advlib.Box{Lo: -1, Hi: 1}, Pixels: []float32{-1, -0.5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0}}
	img := p.Image().(*image.NRGBA)
	if corner, side, middle := img.NRGBAAt(0, 0), img.NRGBAAt(1, 0), img.NRGBAAt(1, 1); corner.A != 0 || side.A != 255 ||
		side.R != 64 || middle.R != 255 {
		t.Errorf("corner %v, side %v, middle %v", corner, side, middle)
	}
	p.Shape = attack.PatchSquare
	if corner := p.Image().(*image.NRGBA).NRGBAAt(0, 0); corner.A != 255 || corner.R != 0 {
		t.Errorf("corner of a square %v", corner)
	}
}

// A classifier that asks whether an image of 4 × 4 pixels is brighter than half: a white patch turns dark images.
func ExampleAdversarialPatch() {
	c, _ := brightness()
	mean := advlib.MustClassifier(advlib.Spec{
		Name: "bright", Input: []int{4, 4}, Box: advlib.UnitBox, Classes: []string{"dark", "bright"}, Backend: c.Backend(),
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			m := graph.ReduceMean(graph.Reshape(x, x.Shape().Dimensions[0], -1), 1)
			m = graph.InsertAxes(graph.AddScalar(m, -0.5), 1)
			return graph.MulScalar(graph.Concatenate([]*graph.Node{graph.Neg(m), m}, 1), 5)
		},
	})
	e, err := advlib.NewExamples("gray", slices.Concat(slices.Repeat([]float32{0.45}, 16), slices.Repeat([]float32{0.1}, 16)),
		[]int{4, 4}, []int32{0, 0})
	if err != nil {
		panic(err)
	}
	a := attack.AdversarialPatch{Shape: attack.PatchSquare, Steps: 50, Placements: attack.Placements{Largest: 0.5, Upright: true,
		SameLight: true}}
	patch, _, err := a.Fit(context.Background(), mean, e)
	if err != nil {
		panic(err)
	}
	res := advlib.MustRun(context.Background(), mean, e, patch)
	fmt.Println(res.Attack, res.Success)
	fmt.Println(patch.Pixels)
	// Output:
	// patch-50, square, 0.5 of the side [true false]
	// [1 1 1 1]
}

// What was learned is an attack like others: neither a second run nor the size of the batches changes the result. It
// asks for no gradient.
func TestLearnedConform(t *testing.T) {
	c, e := squares(t)
	δ, _, err := attack.Universal{Ball: advlib.L2.Ball(1), Epochs: 3}.Fit(context.Background(), c, e.First(16))
	if err != nil {
		t.Fatal(err)
	}
	patch, _, err := attack.AdversarialPatch{Steps: 20}.Fit(context.Background(), c, e.First(16))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []advlib.Attack{δ, patch} {
		all := advlib.MustRun(context.Background(), c, e, a)
		for _, size := range []int{0, 7, 1} {
			res := advlib.Settings{BatchSize: size}.MustRun(context.Background(), c, e, a)
			if !slices.Equal(res.Success, all.Success) || !slices.Equal(res.Distance, all.Distance) {
				t.Errorf("%v: another result in batches of %d", a, size)
			}
		}
		if all.Stats.Backward != 0 {
			t.Errorf("%v: %d backward passes, it knows all it needs", a, all.Stats.Backward)
		}
	}
}
