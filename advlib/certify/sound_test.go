package certify_test

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/certify"
)

var (
	ctx     = context.Background()
	methods = []certify.Method{certify.IBP, certify.CROWNIBP, certify.CROWN, certify.CROWN.ByGraphs(), certify.IBP.WithoutBox(),
		certify.CROWNIBP.WithoutBox()}
	norms = []advlib.ConvexNorm{advlib.Linf, advlib.L2, advlib.L1}
)

// full asks for the sizes of the issue instead of those of every day.
var full = os.Getenv("ADVLAB_FULL") != ""

// radii are relative to the width of the box.
func radii(norm advlib.Norm) []float64 {
	switch norm {
	case advlib.L1:
		return []float64{0.1, 1}
	case advlib.L2:
		return []float64{0.05, 0.4}
	}
	return []float64{0.02, 0.15}
}

// sampledPoints counts the inputs whose outputs were compared with bounds.
var sampledPoints int

// Points of the ball, most of them on its surface and many at its corners, never leave the bounds: 10⁶ on each backend
// with ADVLAB_FULL.
func TestSampledPointsStayWithinBounds(t *testing.T) {
	for backendName, b := range backends(t) {
		points := 1500 // for each of 8 examples, 3 norms, 2 radii: 72000 for each model
		if backendName != "xla" {
			points = 100
		}
		if full {
			points = 3000
		}
		sampledPoints = 0
		for _, m := range testModels {
			if backendName == "xla" && !full && m.name != "mlp" && m.name != "residual" {
				continue // each compiles for half a minute on two cores; the Go backend runs all
			}
			t.Run(backendName+"/"+m.name, func(t *testing.T) {
				c := m.classifier(t, b)
				e := m.examples(t, c, 8)
				r := rand.New(rand.NewPCG(1, 2))
				for _, norm := range norms {
					for _, radius := range radii(norm) {
						ball := norm.Ball(radius * m.box.Width())
						z := sample(t, c, e, ball, points, r)
						for _, method := range methods {
							checkWithin(t, c, e, ball, method, z)
						}
					}
				}
			})
		}
		t.Logf("%s: %d points", backendName, sampledPoints)
		if full && sampledPoints > 0 && sampledPoints < 1e6 { // none: -run left this backend out
			t.Errorf("%s: only %d points were sampled", backendName, sampledPoints)
		}
	}
}

// sample returns the logits of points in the ball around each example: z[point][example][class].
func sample(t testing.TB, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, points int, r *rand.Rand) [][][]float32 {
	t.Helper()
	x := tensors.MustCopyFlatData[float32](e.X)
	n := e.Len()
	size := len(x) / n
	sampledPoints += points * n
	z := make([][][]float32, 0, points)
	for len(z) < points { // a few thousand at a time
		part := min(points-len(z), max(1, 1<<21/len(x)))
		batch := make([]float32, 0, part*len(x))
		for p := range part {
			for i := range n {
				batch = append(batch, pointOf(ball, c.Box(), x[i*size:(i+1)*size], p, r)...)
			}
		}
		flat, err := c.Logits(tensors.FromFlatDataAndDimensions(batch, append([]int{part * n}, c.Input()...)...))
		if err != nil {
			t.Fatal(err)
		}
		for p := range part {
			z = append(z, flat[p*n:(p+1)*n])
		}
	}
	return z
}

// pointOf draws a point of the ball around x in the box: of each four one from anywhere, one from the surface or a
// corner, one that moves a single coordinate, and one that moves all by as much. All but the first are as far out as
// float32 has numbers.
func pointOf(ball advlib.Ball, box advlib.Box, x []float32, kind int, r *rand.Rand) []float32 {
	norm := ball.Norm.(advlib.ConvexNorm)
	δ := make([]float32, len(x))
	zero := make([]float32, len(x))
	switch kind % 4 {
	case 0, 1:
		norm.Sample(r, δ)
	case 2:
		δ[r.IntN(len(δ))] = float32(1 - 2*r.IntN(2))
	}
	if kind%4 == 3 || kind%4 == 1 && norm == advlib.Linf {
		for j := range δ {
			δ[j] = float32(1 - 2*r.IntN(2))
		}
	}
	scale := ball.Radius
	if length := norm.Distance(δ, zero); kind%4 != 0 && length > 0 {
		scale /= length
	}
	y := make([]float32, len(x))
	for shrink := 1e-9; ; shrink *= 2 {
		for j, v := range x {
			moved := float32(float64(v) + float64(δ[j])*scale)
			for norm == advlib.Linf && math.Abs(float64(moved)-float64(v)) > ball.Radius {
				moved = math.Nextafter32(moved, v)
			}
			y[j] = float32(min(max(float64(moved), box.Lo), box.Hi))
		}
		if norm.Distance(y, x) <= ball.Radius {
			return y
		}
		scale *= 1 - shrink
	}
}

func checkWithin(t testing.TB, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, method certify.Method, z [][][]float32) {
	t.Helper()
	lower, upper, err := certify.Bounds(ctx, c, e, ball, method)
	if err != nil {
		t.Fatal(err)
	}
	margins, err := certify.Margins(ctx, c, e, ball, method)
	if err != nil {
		t.Fatal(err)
	}
	violations, worst := 0, 0.
	check := func(low, value, high float64) {
		if d := max(low-value, value-high); !(d <= 0) { // the model's own float32 outputs, without a tolerance
			violations++
			worst = max(worst, d)
		}
	}
	for _, point := range z {
		for i, row := range point {
			for k, v := range row {
				check(lower[i][k], float64(v), upper[i][k])
			}
			y, j := e.Y[i], 0
			for k, v := range row {
				if k != int(y) {
					check(margins[i][j], float64(row[y])-float64(v), math.MaxFloat32)
					j++
				}
			}
		}
	}
	if violations > 0 {
		t.Errorf("%v, %v: %d values outside of their bounds, by up to %g", ball, method, violations, worst)
	}
}

// In a ball of radius 0 bounds are the logits.
func TestRadiusZero(t *testing.T) {
	for backendName, b := range backends(t) {
		for _, m := range testModels {
			if backendName == "xla" && !full && m.name != "mlp" {
				continue
			}
			c := m.classifier(t, b)
			e := m.examples(t, c, 8)
			z, err := c.Logits(e.X)
			if err != nil {
				t.Fatal(err)
			}
			for _, norm := range norms {
				for _, method := range methods {
					for _, method := range []certify.Method{method, method.In(certify.RealArithmetic)} {
						lower, upper, err := certify.Bounds(ctx, c, e, norm.Ball(0), method)
						if err != nil {
							t.Fatal(err)
						}
						for i, row := range z {
							for k, v := range row {
								l, v, u := lower[i][k], float64(v), upper[i][k]
								if method.Rounding() == certify.RealArithmetic { // of which the logit is a few roundings away
									l, u = l-1e-5, u+1e-5
								}
								if !(l <= v && v <= u && u-l < 2e-4) {
									t.Fatalf("%s/%s: %v, %v: example %d: bounds [%g, %g] of the logit %g", backendName, m.name, norm, method, i, lower[i][k],
										upper[i][k], v)
								}
							}
						}
					}
				}
			}
		}
	}
}

// IBP's margins fall as the ball grows, and rise with the box of the inputs. CROWN-IBP's need not, because its adaptive
// slopes jump with the intervals, but they are the tighter ones on average.
func TestBoundsShrinkWithTheBall(t *testing.T) {
	for _, m := range testModels {
		c := m.classifier(t, backends(t)["Go Backend"])
		e := m.examples(t, c, 8)
		for _, norm := range norms {
			sum := map[certify.Method]float64{}
			last := map[certify.Method][][]float64{}
			for _, radius := range []float64{0, 0.01, 0.02, 0.05, 0.1} {
				now := map[certify.Method][][]float64{}
				for _, method := range methods {
					margins, err := certify.Margins(ctx, c, e, norm.Ball(radius*m.box.Width()), method)
					if err != nil {
						t.Fatal(err)
					}
					now[method] = margins
				}
				for i := range e.Len() {
					for k := range c.Classes() - 1 {
						for _, method := range methods {
							sum[method] += now[method][i][k]
						}
						v := now[certify.IBP][i][k]
						if last[certify.IBP] != nil && v > last[certify.IBP][i][k]+1e-5 {
							t.Errorf("%s: %v ≤ %g: margin %d of example %d rises from %g to %g", m.name, norm, radius, k, i, last[certify.IBP][i][k], v)
						}
						if w := now[certify.IBP.WithoutBox()][i][k]; v < w-1e-5 {
							t.Errorf("%s: %v ≤ %g: margin %d of example %d is %g, and without the box %g", m.name, norm, radius, k, i, v, w)
						}
					}
				}
				last = now
			}
			if sum[certify.CROWNIBP] < sum[certify.IBP] {
				t.Errorf("%s: %v: CROWN-IBP is looser than IBP on average", m.name, norm)
			}
		}
	}
}
