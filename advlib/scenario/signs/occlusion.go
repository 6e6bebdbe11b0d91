package signs

import (
	"fmt"
	"math"
	"math/rand/v2"

	. "advlab/advlib/internal/equation"

	"advlab/advlib"
	"advlab/advlib/training"
)

// Occlusion is the defence against stickers of Wu, Tong and Vorobeychik (2020, arXiv:1909.09552, section 4): the model
// learns from pictures with rectangles somewhere in them, in which the loss has been raised by gradient ascent. It is
// the Adversary of a [training.Model]:
//
//	m := zoo.ContrastNormalised(zoo.CNN(16, 32, 64))
//	m.Adversary = signs.Occlusion{Height: 32, Width: 32}
//
// Its rectangles have one of the forms that stickers have here, anywhere in the picture: it need not know where the
// attacker will stick his, nor from where they will be seen.
type Occlusion struct {
	// Height and Width are those of the pictures, which have any number of channels.
	Height, Width int
	// Area is the share of the picture that the rectangles cover together, in (0, 1); 0 means 0.06: what 8 % of a sign are
	// that fills most of the picture, with some room.
	Area float64
	// Ascents is the number of steps, 0 means 3; StepSize is the length of one in widths of the box, 0 means 0.25.
	Ascents  int
	StepSize float64
	// WarmUp is the share of the training, in [0, 1), during which the rectangles grow from nothing; 0 means 0.5. Without
	// it a small model may never learn to tell the classes apart.
	WarmUp float64
	// Clean is the share of each batch that stays as it is, in [0, 1).
	Clean float64
}

func (o Occlusion) filled() Occlusion {
	if o.Area == 0 {
		o.Area = 0.06
	}
	if o.Ascents == 0 {
		o.Ascents = 3
	}
	if o.StepSize == 0 {
		o.StepSize = 0.25
	}
	if o.WarmUp == 0 {
		o.WarmUp = 0.5
	}
	return o
}

// String returns for example "rectangles of 6 % of the picture, 3 ascents".
func (o Occlusion) String() string {
	o = o.filled()
	s := fmt.Sprintf("rectangles of %g %% of the picture, %d ascents of %g", 100*o.Area, o.Ascents, o.StepSize)
	if o.Clean > 0 {
		s += fmt.Sprintf(", %g clean", o.Clean)
	}
	return s
}

// Check implements [training.Adversary].
func (o Occlusion) Check(c *advlib.Classifier) error {
	f := o.filled()
	dims := c.Input()
	switch {
	case len(dims) != 3 || dims[0] != o.Height || dims[1] != o.Width:
		return fmt.Errorf("Occlusion has pictures of %d × %d pixels, the model's inputs have the shape %v", o.Height, o.Width, dims)
	case !(f.Area > 0 && f.Area < 1):
		return fmt.Errorf("Area = %g is not in (0, 1): it is a share of the picture", o.Area)
	case f.Ascents < 0:
		return fmt.Errorf("Ascents = %d: give a positive number, or 0 for 3", o.Ascents)
	case !(f.StepSize > 0) || math.IsInf(f.StepSize, 1):
		return fmt.Errorf("StepSize = %g is not a positive number", o.StepSize)
	case !(f.WarmUp > 0 && f.WarmUp < 1):
		return fmt.Errorf("WarmUp = %g is not in [0, 1): it is a share of the training", o.WarmUp)
	case !(o.Clean >= 0 && o.Clean < 1):
		return fmt.Errorf("Clean = %g is not in [0, 1): it is the share of each batch that stays as it is", o.Clean)
	}
	return nil
}

// Rows implements [training.Adversary].
func (o Occlusion) Rows(n int) (first int) { return int(o.Clean * float64(n)) }

// Strength implements [training.Adversary]: the share of the area.
func (o Occlusion) Strength(progress float64) float64 { return min(1, progress/o.filled().WarmUp) }

// Reach implements [training.Adversary]: as many values as the rectangles have, at most.
func (o Occlusion) Reach(float64) advlib.Ball {
	const channels = 4
	return advlib.L0.Ball(math.Ceil(o.filled().Area*float64(o.Height*o.Width)*2) * channels)
}

// Steps implements [training.Adversary].
func (o Occlusion) Steps() int { return o.filled().Ascents }

// Start implements [training.Adversary]: random colours in one rectangle or two, of sides between 1 : 1 and 1 : 4,
// lying or standing.
func (o Occlusion) Start(r *rand.Rand, limits advlib.Limits, strength float64, x []float32) {
	f, box := o.filled(), limits.Box()
	size := limits.Size()
	channels := size / (o.Height * o.Width)
	for from := 0; from < len(x); from += size {
		row := x[from : from+size]
		n := 1 + r.IntN(MostStickers)
		for range n {
			area, aspect := strength*f.Area*float64(o.Height*o.Width)/float64(n), math.Exp((2*r.Float64()-1)*math.Log(4))
			high := min(max(1, int(math.Round(math.Sqrt(area*aspect)))), o.Height)
			wide := min(max(1, int(math.Round(math.Sqrt(area/aspect)))), o.Width)
			top, left := r.IntN(o.Height-high+1), r.IntN(o.Width-wide+1)
			for i := top; i < top+high; i++ {
				for j := (i*o.Width + left) * channels; j < (i*o.Width+left+wide)*channels; j++ {
					row[j] = float32(box.Lo + box.Width()*r.Float64())
				}
			}
		}
	}
}

// Step implements [training.Adversary]: x ← clip(x + α·sign(∇ₓL)) where x is not the original any more.
func (o Occlusion) Step(m *advlib.Model, a *training.Ascent) *Node {
	L := advlib.CrossEntropy.Of(m.Logits(a.X), advlib.GoalNodes{Label: a.Y})
	α := o.filled().StepSize * a.Limits.Width()
	moved := a.Limits.Clip(Add(a.X, MulScalar(Sign(m.Gradient(L, a.X)), α)), a.X0)
	return Where(NotEqual(a.X, a.X0), moved, a.X)
}
