package oracle

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// view is a victim that answers as another one, but tells less.
type view struct {
	advlib.Victim
	what   string // is added to the name
	change func(s *advlib.Signature)
	answer func(x []float32, a advlib.Answer) advlib.Answer // nil: as it is
	opaque bool                                             // what does not say all that answer does
}

// Name is that of the victim, with what is seen of it.
func (v view) Name() string { return v.Victim.Name() + ", " + v.what }

// Signature is that of the victim, but for what the view changes.
func (v view) Signature() advlib.Signature {
	s := v.Victim.Signature()
	v.change(&s)
	return s
}

// Query asks the victim.
func (v view) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	said, err := v.Victim.Query(ctx, x)
	if v.answer == nil || len(said) == 0 {
		return said, err
	}
	flat := tensors.MustCopyFlatData[float32](x)
	size := len(flat) / x.Shape().Dimensions[0]
	for i, a := range said {
		if a.Kind != advlib.Rejected {
			said[i] = v.answer(flat[i*size:(i+1)*size], a)
		}
	}
	return said, err
}

// Underneath returns the victim, and what the view does to its answers, for package lab; "" if a text cannot say it.
func (v view) Underneath() (of advlib.Victim, what string) {
	if v.opaque {
		return v.Victim, ""
	}
	return v.Victim, v.what
}

// same leaves a signature as it is.
func same(*advlib.Signature) {}

// returning makes a signature say what is answered.
func returning(r advlib.Returns) func(*advlib.Signature) {
	return func(s *advlib.Signature) { s.Returns = r }
}

// Labels returns v with nothing told but the class.
func Labels(v advlib.Victim) advlib.Victim {
	return view{Victim: v, what: "labels only", change: returning(advlib.Label), answer: func(_ []float32, a advlib.Answer) advlib.Answer {
		return label(a)
	}}
}

// label returns the class of an answer alone. Where the scores are not finite there is none, which is a rejection.
func label(a advlib.Answer) advlib.Answer {
	k := a.Class()
	if k < 0 {
		return advlib.Answer{Kind: advlib.Rejected}
	}
	return advlib.Answer{Kind: advlib.Label, Label: k}
}

// Probabilities returns v with the softmax of its logits, computed in float64 and rounded to float32; other answers
// stay as they are.
func Probabilities(v advlib.Victim) advlib.Victim {
	return view{Victim: v, what: "probabilities", change: func(s *advlib.Signature) {
		if s.Returns == advlib.Logits {
			s.Returns = advlib.Probabilities
		}
	}, answer: func(_ []float32, a advlib.Answer) advlib.Answer {
		if a.Kind != advlib.Logits {
			return a
		}
		return advlib.Answer{Kind: advlib.Probabilities, Scores: softmax(a.Scores)}
	}}
}

func softmax(z []float32) []float32 {
	top, sum := float64(slices.Max(z)), 0.
	p := make([]float32, len(z))
	for _, v := range z {
		sum += math.Exp(float64(v) - top)
	}
	for k, v := range z {
		p[k] = float32(math.Exp(float64(v)-top) / sum)
	}
	return p
}

// TopK returns v with the probabilities of its k most likely classes, the first of equals. A victim that answers labels
// only is left as it is. It panics for k below 1.
func TopK(v advlib.Victim, k int) advlib.Victim {
	if k < 1 {
		panic(fmt.Sprintf("oracle: TopK: k = %d: give at least 1", k))
	}
	return view{Victim: Probabilities(v), what: fmt.Sprintf("top %d", k), change: func(s *advlib.Signature) {
		if s.Returns == advlib.Probabilities {
			s.Returns = advlib.TopClasses
		}
	}, answer: func(_ []float32, a advlib.Answer) advlib.Answer {
		switch a.Kind {
		case advlib.TopClasses:
			n := min(k, len(a.Top))
			a.Top, a.Scores = a.Top[:n], a.Scores[:n]
		case advlib.Probabilities:
			a = largest(a.Scores, k)
		}
		return a
	}}
}

// largest returns the k largest of probabilities with their classes.
func largest(p []float32, k int) advlib.Answer {
	order := make([]int32, len(p))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(i, j int32) int {
		switch {
		case p[i] > p[j]:
			return -1
		case p[i] < p[j]:
			return 1
		}
		return 0
	})
	a := advlib.Answer{Kind: advlib.TopClasses, Top: order[:min(k, len(p))]}
	for _, i := range a.Top {
		a.Scores = append(a.Scores, p[i])
	}
	return a
}

// Rounded returns v with its scores rounded to so many digits after the point. Rounding makes ties: of these the first
// class counts. It panics for digits below 0.
func Rounded(v advlib.Victim, digits int) advlib.Victim {
	if digits < 0 {
		panic(fmt.Sprintf("oracle: Rounded: %d digits: give 0 or more", digits))
	}
	unit := math.Pow10(digits)
	return view{Victim: v, what: fmt.Sprintf("rounded to %d digits", digits), change: same,
		answer: func(_ []float32, a advlib.Answer) advlib.Answer {
			scores := make([]float32, len(a.Scores))
			for i, s := range a.Scores {
				scores[i] = float32(math.Round(float64(s)*unit) / unit)
			}
			a.Scores = scores
			return a
		}}
}

// Rejecting returns v with those inputs rejected for which reject says so: it sees the input, flat, and the answer. See
// package advlib's Run for how attacks on it are judged.
func Rejecting(v advlib.Victim, what string, reject func(x []float32, a advlib.Answer) bool) advlib.Victim {
	return view{Victim: v, what: what, change: same, opaque: true, answer: func(x []float32, a advlib.Answer) advlib.Answer {
		if reject(x, a) {
			return advlib.Answer{Kind: advlib.Rejected}
		}
		return a
	}}
}

// Budget returns v with at most n queries for each example, the original and what an attack returns included:
// [advlib.Counted], which an attack is given, keeps to it, to the last one. What you ask yourself by Query is not
// counted. It panics for n below 1.
func Budget(v advlib.Victim, n int) advlib.Victim {
	if n < 1 {
		panic(fmt.Sprintf("oracle: Budget: n = %d: give at least 1", n))
	}
	return view{Victim: v, what: fmt.Sprintf("budget %d", n), change: func(s *advlib.Signature) {
		if s.Queries == 0 || n < s.Queries {
			s.Queries = n
		}
	}}
}

// Counter is a victim that counts by itself how many inputs it has answered, whoever asked.
type Counter struct {
	advlib.Victim
	n atomic.Int64
}

// Count returns v counted.
func Count(v advlib.Victim) *Counter { return &Counter{Victim: v} }

// Query asks the victim.
func (c *Counter) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	a, err := c.Victim.Query(ctx, x)
	c.n.Add(int64(len(a)))
	return a, err
}

// Queries returns how many inputs were answered: those of an attack, and those by which it was measured.
func (c *Counter) Queries() int64 { return c.n.Load() }

// Underneath returns the victim, for package lab.
func (c *Counter) Underneath() (of advlib.Victim, what string) { return c.Victim, "counted" }
