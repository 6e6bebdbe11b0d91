package attack

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	command := func(name, about string, kind NoiseKind) Command {
		return Command{Name: name, About: about, Norms: kind.norms(), Make: func(b advlib.Ball) advlib.Attack {
			return Noise{Norm: b.Norm, Kind: kind}
		}}
	}
	register[Noise](Nearest,
		command("noise-gaussian", "Gaussian noise, as weak as will do: a baseline, by labels alone", GaussianNoise),
		command("noise-uniform", "uniform noise, as weak as will do", UniformNoise),
		command("noise-salt-and-pepper", "pixels made black and white, as few as will do", SaltAndPepper),
		command("noise-blended", "a blend with an image of uniform noise, as little as will do", BlendedNoise),
		command("noise-contrast", "a loss of contrast, as little as will do", ContrastReduction))
}

// NoiseKind is a kind of noise.
type NoiseKind int

// The kinds of noise.
const (
	GaussianNoise     NoiseKind = iota // added, the same normal distribution in each coordinate
	UniformNoise                       // added, from −1 to 1 times the strength
	SaltAndPepper                      // pixels in random order, all channels of each at the lower or the upper end
	BlendedNoise                       // on the way to a random point of the box
	ContrastReduction                  // on the way to the middle of the box, so the same each time
)

var noiseNames = []string{"Gaussian noise", "uniform noise", "salt and pepper", "blended noise", "contrast reduction"}

// String returns for example "salt and pepper".
func (k NoiseKind) String() string {
	if k >= 0 && int(k) < len(noiseNames) {
		return noiseNames[k]
	}
	return fmt.Sprintf("noise %d", int(k))
}

// MarshalText writes what String returns.
func (k NoiseKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what String returns.
func (k *NoiseKind) UnmarshalText(text []byte) error {
	i := slices.Index(noiseNames, string(text))
	if i < 0 {
		return fmt.Errorf("there is no noise %q: there are %q", text, noiseNames)
	}
	*k = NoiseKind(i)
	return nil
}

// norms are those in which a kind of noise can be small.
func (k NoiseKind) norms() []advlib.Norm {
	if k == SaltAndPepper {
		return []advlib.Norm{advlib.L0, advlib.L1, advlib.L2}
	}
	return convexNorms
}

// Noise adds noise that knows nothing of the model, as little as will do: the baseline that an attack must beat, and a
// test of whether a model is robust to anything at all. It asks for labels only.
//
// Of each draw the strength grows, from nothing to as much as the box holds, until the example is adversarial; then the
// last step is bisected, and each further draw is first asked about at just less than the best distance, so that most
// draws cost one query. Foolbox has the same kinds, at a fixed size or at strengths that grow; here every draw is a
// path from the original, along which the strength is bisected.
type Noise struct {
	// Norm is what is made small: L1, L2 or Linf, of salt and pepper L0, L1 or L2. It must be set.
	Norm advlib.Norm
	// Kind is Gaussian noise if zero.
	Kind NoiseKind
	// Queries is the budget of each example, clean prediction and final check included; 0 means 1000.
	Queries int
	// Repeats is how many draws are tried; 0 means as many as Queries allow.
	Repeats int
	// Steps is in how many steps the strength grows to its most; 0 means 20.
	Steps int
}

// Describe implements [craft.Described].
func (a *Noise) Describe(d *craft.Description) {
	d.Paper("Rauber et al. 2017, arXiv:1707.04131")
	d.Refuse(a.Kind < 0 || int(a.Kind) >= len(noiseNames), "Kind = %d: there are %q", int(a.Kind), noiseNames)
	d.Norm(&a.Norm, a.Kind.norms()...)
	d.Untargeted("noise does not know where it goes")
	d.Queries(&a.Queries, 1000)
	d.Count(&a.Repeats, 0).As("%d draws")
	d.Count(&a.Steps, 20).As("%d steps")
	d.Name("%v-%d", a.Kind, a.Queries)
}

// String returns for example "salt and pepper-1000 L0 minimal".
func (a Noise) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Noise) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a Noise) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a Noise) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return byLabels(ctx, v, b, a.Norm, a.Queries, a.search)
}

// noiseTolerance is the part of its range to which a strength is bisected.
const noiseTolerance = 1. / 1024

// search is the search for one example.
func (a Noise) search(d *decisions) {
	if a.Kind == ContrastReduction {
		a.Repeats = 1 // they are all the same
	}
	idle := 0              // draws in a row that have no point nearer than the best
	nearest := math.Inf(1) // of those of the class that is wanted
	try := func(at func(t float64) []float32, low, high float64) bool {
		p := at(high)
		if !d.is(p) {
			return false
		}
		_, _, p = d.bisect(low, high, (high-low)*noiseTolerance, p, at)
		nearest = d.Distance(p)
		return true
	}
	for draw := 0; idle < 100 && (a.Repeats == 0 || draw < a.Repeats); draw++ {
		at := a.path(d.Inquiry)
		if !math.IsInf(nearest, 1) {
			t := reaches(d.Inquiry, at, nearest*(1-1e-3))
			if idle++; t > 0 && !slices.Equal(at(t), d.X) {
				idle = 0
				try(at, 0, t)
			}
			continue
		}
		for k := 1; k <= a.Steps; k++ {
			if try(at, float64(k-1)/float64(a.Steps), float64(k)/float64(a.Steps)) {
				break
			}
		}
	}
}

// reaches returns the largest strength of a path, nearly, at which it is at most as far as d.
func reaches(q *craft.Inquiry, at func(t float64) []float32, d float64) float64 {
	near, far := 0., 1.
	for range 20 {
		if t := (near + far) / 2; q.Distance(at(t)) <= d {
			near = t
		} else {
			far = t
		}
	}
	return near
}

// path draws noise, and returns the point at each of its strengths from 0 to 1.
func (a Noise) path(q *craft.Inquiry) func(t float64) []float32 {
	switch a.Kind {
	case SaltAndPepper:
		return saltAndPepper(q)
	case BlendedNoise, ContrastReduction:
		to := make([]float32, len(q.X))
		for i := range to {
			share := 0.5
			if a.Kind == BlendedNoise {
				share = q.Rand.Float64()
			}
			to[i] = float32(float64(q.Lower[i]) + share*(float64(q.Upper[i])-float64(q.Lower[i])))
		}
		return func(t float64) []float32 {
			x := slices.Clone(q.X)
			for i, v := range q.X {
				x[i] = float32(float64(v) + t*(float64(to[i])-float64(v)))
			}
			return q.Clip(x)
		}
	}
	u := make([]float64, len(q.X))
	for i := range u {
		if u[i] = q.Rand.NormFloat64(); a.Kind == UniformNoise {
			u[i] = 2*q.Rand.Float64() - 1
		}
	}
	return func(t float64) []float32 {
		x, s := slices.Clone(q.X), math.Tan(t*math.Pi/2) // from nothing to where all coordinates are at an end
		for i, v := range u {
			width := float64(q.Upper[i]) - float64(q.Lower[i])
			x[i] = float32(min(max(float64(x[i])+s*v*width, float64(q.Lower[i])), float64(q.Upper[i])))
		}
		return q.Clip(x)
	}
}

// saltAndPepper draws an order of the pixels and the end that each goes to; the strength is the share that goes there.
func saltAndPepper(q *craft.Inquiry) func(t float64) []float32 {
	p := newRaster(q)
	pixels := p.pixels()
	q.Rand.Shuffle(len(pixels), func(i, j int) { pixels[i], pixels[j] = pixels[j], pixels[i] })
	salt := make([]bool, len(pixels))
	for i := range salt {
		salt[i] = q.Rand.Uint64()&1 == 1
	}
	return func(t float64) []float32 {
		x := slices.Clone(q.X)
		for i, pixel := range pixels[:int(math.Ceil(t*float64(len(pixels))))] {
			for k := range p.c {
				j := p.at(pixel, k)
				if x[j] = q.Lower[j]; salt[i] {
					x[j] = q.Upper[j]
				}
			}
		}
		return q.Clip(x)
	}
}
