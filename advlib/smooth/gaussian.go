package smooth

import (
	"fmt"
	"math"

	"advlab/advlib"
)

// Gaussian is a classifier smoothed by Gaussian noise, and how it is sampled. The zero value of a field means the
// choice of Cohen et al. (2019), section 4; Base and Sigma must be set.
type Gaussian struct {
	// Base is f, what classifies noisy inputs. It must not be random itself.
	Base *advlib.Classifier
	// Sigma is σ, the standard deviation of the noise in each coordinate, in units of the box.
	Sigma float64
	// N0 is how many samples choose the class that is certified; 0 means 100.
	N0 int
	// N is how many samples estimate the probability of that class, or decide a prediction; 0 means 100000. The largest
	// radius is σΦ⁻¹(α^(1/N)): 3.81σ for 10⁵ samples, 3.20σ for 10⁴, 2.46σ for 10³.
	N int
	// Alpha is α, the probability with which each certificate, and each prediction, may be wrong; 0 means 0.001.
	Alpha float64
	// Seed keys the noise.
	Seed uint64
	// Strict makes noisy copies for which the logits are not finite an error. Otherwise they count for no class, and
	// reports count them.
	Strict bool
	// OnProgress, if set, is called after each example.
	OnProgress func(advlib.Progress)
}

// String returns for example "CNN-16-32 smoothed, σ = 0.25".
func (s Gaussian) String() string {
	name := "nothing"
	if s.Base != nil {
		name = s.Base.Name()
	}
	return fmt.Sprintf("%s smoothed, σ = %.6g", name, s.Sigma)
}

func (s Gaussian) defaults() Gaussian {
	if s.N0 == 0 {
		s.N0 = 100
	}
	if s.N == 0 {
		s.N = 100_000
	}
	if s.Alpha == 0 {
		s.Alpha = 0.001
	}
	return s
}

// most is the most samples of an example: a draw's number is 32 bits of the noise's counter, and counts are int32.
const most = math.MaxInt32

// check refuses what makes no sense; least is the smallest N with which not all answers are abstentions.
func (s Gaussian) check(e *advlib.Examples, least func(α float64) int) error {
	switch {
	case s.Base == nil:
		return fmt.Errorf("the Base is nil: give the classifier that is to be smoothed")
	case s.Base.Random():
		return fmt.Errorf("the Base %s is random itself: smoothing needs a classifier whose answer is a function of its input", s.Base.Name())
	case len(s.Base.Domain()) > 0:
		return fmt.Errorf("the Base %s has a Domain: noise on every coordinate leaves it, and radii in plain L2 would not be in its scales; "+
			"smooth a classifier without one", s.Base.Name())
	case !(s.Sigma > 0) || math.IsInf(s.Sigma, 0):
		return fmt.Errorf("the Sigma %g is not a finite number above 0: give the noise's standard deviation in units of the box %v", s.Sigma,
			s.Base.Box())
	case !(s.Alpha > 0 && s.Alpha < 1):
		return fmt.Errorf("the Alpha %g is not in (0, 1): it is the probability of a wrong certificate; leave it at 0 for 0.001", s.Alpha)
	case s.N0 < 1 || s.N0 > most:
		return fmt.Errorf("N0 = %d samples are not in 1..%d: leave it at 0 for 100", s.N0, most)
	case s.N < 1 || s.N > most:
		return fmt.Errorf("N = %d samples are not in 1..%d: leave it at 0 for 100000", s.N, most)
	case s.N < least(s.Alpha):
		return fmt.Errorf("with N = %d samples and α = %g every answer would be an abstention: N must be at least %d, and each radius is at "+
			"most σΦ⁻¹(α^(1/N))", s.N, s.Alpha, least(s.Alpha))
	}
	if step := s.grid(); s.Sigma < 1024*step {
		return fmt.Errorf("the Sigma %g is too small for inputs in %v: float32 holds them in steps of %g", s.Sigma, s.Base.Box(), step)
	}
	return e.Check(advlib.Spec{Name: s.Base.Name(), Input: s.Base.Input(), Box: s.Base.Box()}, s.Base.Classes())
}

// reach is more standard deviations than the noise can have: √(−2 ln 2⁻³³) = 6.764.
const reach = 6.8

// grid returns the step of which x and the noise are multiples, a power of two. Their sum is below 2²⁴ steps in
// magnitude, so float32 holds it exactly.
func (s Gaussian) grid() float64 {
	box := s.Base.Box()
	_, e := math.Frexp(math.Max(math.Abs(box.Lo), math.Abs(box.Hi)) + reach*s.Sigma)
	return math.Ldexp(1, e-24)
}

// slack returns by how much less than theorem 1's a radius is: rounding to the grid moves each coordinate of two inputs
// by up to half a step, and so the inputs nearer or farther by up to a step times √d.
func (s Gaussian) slack() float64 {
	d := 1
	for _, n := range s.Base.Input() {
		d *= n
	}
	return math.Nextafter(s.grid()*math.Sqrt(float64(d)), math.Inf(1))
}
