package diagnose

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// noise tries points of the ball at random around the examples that stand: half of them uniform in the ball, half of
// them with each coordinate at an end of what a ball in Linf of the same length allows.
func noise(ctx context.Context, x *examiner, f *Finding) error {
	base := x.base()
	flat := tensors.MustCopyFlatData[float32](x.on.X)
	size := len(flat) / x.on.Len()
	limits := x.victim.Signature().Limits()
	if limits.Encoded() {
		return f.notApplicable("a domain says itself which values its features may have")
	}
	found, stand := 0, 0
	const piece = 512
	points := make([]float32, piece*size)
	for i := range x.on.Len() {
		if base[i] {
			continue
		}
		stand++
		r := rand.New(rand.NewPCG(x.Seed, x.on.Key(i)))
		original := flat[i*size : (i+1)*size]
		broken := false
		for done := 0; done < x.Samples && !broken; done += piece {
			n := min(piece, x.Samples-done)
			for k := range n {
				x.sample(r, limits, original, points[k*size:(k+1)*size], k%2 == 0)
			}
			t := tensors.FromFlatDataAndDimensions(points[:n*size], append([]int{n}, x.on.Shape()...)...)
			said, err := x.victim.Query(ctx, t)
			advlib.Free(t)
			if err != nil {
				return err
			}
			for k, a := range said {
				if c := a.Class(); c < 0 || c == x.on.Y[i] {
					continue
				}
				if broken, err = x.holds(ctx, points[k*size:(k+1)*size], x.on.Y[i]); err != nil {
					return err
				}
				if broken {
					break
				}
			}
		}
		if broken {
			found++
		}
	}
	f.judge(float64(found), 0, "%d points around each of %d examples that stand: %d of them fall", x.Samples, stand, found)
	return nil
}

// sample draws a point of the ball around an original, inside of the limits.
func (x *examiner) sample(r *rand.Rand, limits advlib.Limits, original, point []float32, inside bool) {
	if inside || x.Ball.Norm != advlib.Linf {
		x.Ball.Norm.(advlib.ConvexNorm).Sample(r, point)
	} else {
		for j := range point {
			point[j] = float32(2*r.IntN(2) - 1)
		}
	}
	for j := range point {
		point[j] = float32(limits.Clamp(j, float64(original[j])+x.Ball.Radius*float64(point[j]), original[j]))
	}
	x.Ball.Pull(point, original)
}

// holds tells whether a point is adversarial: of a random victim, in most of 20 fresh draws, for among thousands of
// points some are by luck.
func (x *examiner) holds(ctx context.Context, point []float32, label int32) (bool, error) {
	if !x.victim.Signature().Random {
		return true, nil
	}
	const draws = 20
	t := tensors.FromFlatDataAndDimensions(slices.Repeat(point, draws), append([]int{draws}, x.on.Shape()...)...)
	defer advlib.Free(t)
	said, err := x.victim.Query(ctx, t)
	wrong := 0
	for _, a := range said {
		if c := a.Class(); c >= 0 && c != label {
			wrong++
		}
	}
	return 2*wrong > draws, err
}
