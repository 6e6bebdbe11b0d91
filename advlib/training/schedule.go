package training

import (
	"fmt"
	"math"
)

// Schedule changes the learning rate during the training. A nil Schedule leaves it as it is.
type Schedule interface {
	// String names the schedule, with its parameters.
	String() string
	// Check returns an error when the parameters make no sense.
	Check() error
	// Factor is what the learning rate is multiplied by when the share progress of the steps, in [0, 1), has been made.
	Factor(progress float64) float64
}

// Drops multiplies the learning rate by Factor after each of the shares At of the steps, as in "divided by 10 after 75
// % and 90 %".
type Drops struct {
	At []float64
	By float64 // 0 means 0.1
}

// String implements [Schedule].
func (d Drops) String() string { return fmt.Sprintf("times %.6g after %v of the steps", d.by(), d.At) }

// Check implements [Schedule].
func (d Drops) Check() error {
	for i, at := range d.At {
		if !(at > 0 && at < 1) || i > 0 && at <= d.At[i-1] {
			return fmt.Errorf("At = %v are not rising shares in (0, 1) of the steps: after epoch k of n is k/n", d.At)
		}
	}
	if by := d.by(); len(d.At) == 0 || !(by > 0) || math.IsInf(by, 0) {
		return fmt.Errorf("At = %v, By = %g: give the shares of the steps after which the learning rate drops, and a factor above 0", d.At, d.By)
	}
	return nil
}

func (d Drops) by() float64 {
	if d.By == 0 {
		return 0.1
	}
	return d.By
}

// Factor implements [Schedule].
func (d Drops) Factor(progress float64) float64 {
	factor := 1.
	for _, at := range d.At {
		if progress >= at {
			factor *= d.by()
		}
	}
	return factor
}

// Cosine falls from 1 to 0 along half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, without
// restarts).
type Cosine struct{}

// String implements [Schedule].
func (Cosine) String() string { return "cosine" }

// Check implements [Schedule].
func (Cosine) Check() error { return nil }

// Factor implements [Schedule].
func (Cosine) Factor(progress float64) float64 { return (1 + math.Cos(math.Pi*progress)) / 2 }

// Triangle rises from 0 to 1 until the share Peak of the steps, and falls to 0 again: Smith's one cycle, with which
// fast adversarial training works (Wong et al. 2020, arXiv:2001.03994, section 5).
type Triangle struct {
	Peak float64 // in (0, 1); 0 means 0.4
}

// String implements [Schedule].
func (t Triangle) String() string {
	return fmt.Sprintf("triangle, peak at %.6g of the steps", t.peak())
}

// Check implements [Schedule].
func (t Triangle) Check() error {
	if peak := t.peak(); !(peak > 0 && peak < 1) {
		return fmt.Errorf("Peak = %g is not in (0, 1): it is the share of the steps after which the learning rate falls", t.Peak)
	}
	return nil
}

func (t Triangle) peak() float64 {
	if t.Peak == 0 {
		return 0.4
	}
	return t.Peak
}

// Factor implements [Schedule].
func (t Triangle) Factor(progress float64) float64 {
	if peak := t.peak(); progress < peak {
		return progress / peak
	}
	return (1 - progress) / (1 - t.peak())
}
