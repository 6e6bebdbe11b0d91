package attack

import (
	"context"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[Lattice8](Wrapper) }

// Lattice8 runs an attack and moves what comes out to the 256 values that a byte can hold, Lo + k/255 of the box, so
// that adversarial examples survive being saved as images. A success is one after rounding: it is looked for at the
// nearest such values (in Linf the nearest inside the ball), and, where these leave the ball or have lost the goal, at
// the nearest ones on the side of the original.
//
// A coordinate may be off by a unit in the last place of float32 where a ball ends between two of them.
type Lattice8 struct {
	// Attack is what is run.
	Attack advlib.Attack
}

// Describe implements [craft.Described].
func (a *Lattice8) Describe(d *craft.Description) {
	d.Name("%s, in 255ths", nameOf(a.Attack))
	d.Refuse(a.Attack == nil, "the Attack whose results are to be rounded is nil")
	if v := d.Victim(); v != nil {
		l := v.Signature().Limits()
		d.Refuse(l.Encoded() || !l.SameRanges(), "the domain of the classifier %s (%v) says itself which values its features may have: "+
			"leave Lattice8 out, and give those that are bytes the Step (Hi − Lo)/255", v.Name(), v.Signature().Domain)
	}
	d.Runs(a.Attack, 1, "whose results are to be rounded")
}

// String returns for example "PGD-40 Linf ≤ 0.1, in 255ths".
func (a Lattice8) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Lattice8) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a Lattice8) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// lattice is the values of a byte in a box, and how far a single coordinate may go.
type lattice struct{ lo, step, reach float64 }

// level returns where v lies, in steps.
func (l lattice) level(v float32) float64 { return (float64(v) - l.lo) / l.step }

func (l lattice) value(level float64) float32 { return float32(l.lo + level*l.step) }

// slack widens a radius by what float32 rounds; advlib.Run undoes what lies outside.
func slack(radius float64) float64 { return radius*(1+1e-6) + 1e-7 }

// levelSlack is by how much of a step a value may miss a level and still be on it: far more than float32 rounds.
const levelSlack = 1e-3

// nearest returns the value of the lattice next to v, within reach of the original x.
func (l lattice) nearest(v, x float32) float32 {
	near := l.value(math.Round(l.level(v)))
	if math.Abs(float64(near)-float64(x)) > l.reach {
		return l.towards(v, x)
	}
	return near
}

// towards returns the value of the lattice next to v on the side of the original x; where there is none between the
// two, the one next to x.
func (l lattice) towards(v, x float32) float32 {
	at, origin := l.level(v), l.level(x)
	k := math.Floor(at + levelSlack)
	if at < origin {
		k = math.Ceil(at - levelSlack)
	}
	if (k-origin)*(at-origin) < 0 {
		k = math.Round(origin)
	}
	return l.value(k)
}

// Perturb implements [advlib.Attack].
func (a Lattice8) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	threat, err := a.Threat(v)
	if err != nil {
		return nil, err
	}
	adv, attackErr := a.Attack.Perturb(ctx, v, b)
	if adv == nil {
		return nil, attackErr
	}
	limits := v.Signature().Limits()
	l := lattice{lo: limits.Box().Lo, step: limits.Width() / 255, reach: math.Inf(1)}
	if threat.Norm == advlib.Norm(advlib.Linf) {
		l.reach = slack(threat.Radius)
	}
	from, x := tensors.MustCopyFlatData[float32](adv), tensors.MustCopyFlatData[float32](b.X)
	result := craft.NewBest(b)
	done := make([]bool, b.Len())
	size := len(x) / b.Len()
	for _, round := range []func(v, x float32) float32{l.nearest, l.towards} {
		at := make([]float32, len(x))
		for j := range at {
			at[j] = round(from[j], x[j])
			if r := limits.Range(j%size, x[j]); float64(at[j]) < r.Lo || float64(at[j]) > r.Hi {
				at[j] = x[j] // it may not go there, and rounding is no reason to
			}
		}
		rounded := tensors.FromFlatDataAndDimensions(at, b.X.Shape().Dimensions...)
		said, err := judged(ctx, v, b, rounded)
		if err != nil {
			return nil, err
		}
		advlib.Free(rounded)
		for i := range done {
			row := at[i*size : (i+1)*size]
			d := threat.Norm.Distance(row, x[i*size:(i+1)*size])
			if !done[i] && said[i] != nil && b.ReachedBy(i, *said[i]) && d <= slack(threat.Radius) {
				done[i] = true
				copy(result.Row(i), row)
			}
		}
	}
	return result.Tensor(), attackErr
}
