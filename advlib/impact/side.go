package impact

import (
	"math"
	"math/rand/v2"
	"slices"

	"advlab/advlib/report"
)

// Bins is how many equal bins of confidence a calibration has.
const Bins = 15

// confident is from which confidence on a wrong answer is a confident error.
const confident = 0.9

// Side is what a classifier does on one side of an attack: before it or after it.
type Side struct {
	// Accuracy is of all examples, PerClass of those of each class.
	Accuracy report.Rate   `json:"accuracy"`
	PerClass []report.Rate `json:"per_class"`
	// Confusion counts the examples of a class, by row, by the answers to them. What is rejected is in no column.
	Confusion [][]int `json:"confusion"`
	// Cost is the mean cost of an answer.
	Cost Mean `json:"cost"`
	// Trust is of the probabilities that come with the answers; nil where the victim tells none.
	Trust *Trust `json:"trust,omitempty"`
}

// Trust is whether probabilities that come with answers can be believed.
type Trust struct {
	// ECE is the expected calibration error of Naeini et al. 2015 and Guo et al. 2017 (arXiv:1706.04599, equation 3), over
	// 15 equal bins of confidence: the mean distance between confidence and accuracy, in 0..1.
	ECE Mean `json:"ece"`
	// Brier is the mean of Σₖ (pₖ − [k = y])², in 0..2, and NLL that of −log p of the label, in nats.
	Brier Mean `json:"brier"`
	NLL   Mean `json:"nll"`
	// Wrong is the mean confidence of the wrong answers, and Confident those of them with a confidence of at least 0.9, of
	// all wrong answers.
	Wrong     Mean        `json:"confidence_when_wrong"`
	Confident report.Rate `json:"confident_errors"`
	// Bins are what ECE is made of: the reliability diagram.
	Bins []Bin `json:"bins"`
}

// Bin are the answers with a confidence above Low and up to High.
type Bin struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// Right counts the right answers, of all in the bin; Confidence is their mean confidence, 0 of none.
	Right      report.Rate `json:"right"`
	Confidence float64     `json:"confidence"`
}

// Mean is a number with its 95 % interval, by the percentiles of 1000 bootstrap samples of the examples, drawn from the
// seed 0. It is not a number, null in JSON, where there are no examples.
type Mean struct {
	Value number `json:"value"`
	Low   number `json:"low"`
	High  number `json:"high"`
}

// answer is what is known of one example on one side.
type answer struct {
	truth, class int32
	p            []float64 // of each class; nil where the victim tells none
	cost         float64
}

// sideOf measures answers, of so many classes.
func sideOf(answers []answer, classes int) Side {
	s := Side{PerClass: make([]report.Rate, classes), Confusion: make([][]int, classes)}
	for k := range s.Confusion {
		s.Confusion[k] = make([]int, classes)
	}
	tells := len(answers) > 0
	for _, a := range answers {
		s.Accuracy.Of++
		s.PerClass[a.truth].Of++
		if a.class == a.truth {
			s.Accuracy.Count++
			s.PerClass[a.truth].Count++
		}
		if a.class >= 0 {
			s.Confusion[a.truth][a.class]++
		}
		tells = tells && a.p != nil
	}
	s.Cost = bootstrap(answers, func(a []answer) float64 { return mean(a, func(a answer) float64 { return a.cost }) })
	if tells {
		s.Trust = trustOf(answers)
	}
	return s
}

func trustOf(answers []answer) *Trust {
	t := &Trust{Bins: binsOf(answers)}
	t.ECE = bootstrap(answers, func(a []answer) float64 { return ece(binsOf(a), len(a)) })
	t.Brier = bootstrap(answers, func(a []answer) float64 { return mean(a, answer.brier) })
	t.NLL = bootstrap(answers, func(a []answer) float64 { return mean(a, answer.nll) })
	wrong := slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return a.class == a.truth })
	t.Wrong = bootstrap(wrong, func(a []answer) float64 { return mean(a, answer.confidence) })
	for _, a := range wrong {
		t.Confident.Of++
		if a.confidence() >= confident {
			t.Confident.Count++
		}
	}
	return t
}

// confidence is the probability of the answer; 0 of a rejection.
func (a answer) confidence() float64 {
	if a.class < 0 {
		return 0
	}
	return a.p[a.class]
}

func (a answer) brier() float64 {
	var sum float64
	for k, p := range a.p {
		if int32(k) == a.truth {
			p -= 1
		}
		sum += p * p
	}
	return sum
}

// nll is −log p of the label; p of 0 counts as the smallest float32, as it was computed.
func (a answer) nll() float64 { return -math.Log(max(a.p[a.truth], math.SmallestNonzeroFloat32)) }

func mean(answers []answer, of func(answer) float64) float64 {
	var sum float64
	for _, a := range answers {
		sum += of(a)
	}
	return sum / float64(len(answers))
}

// binsOf sorts answers by their confidence.
func binsOf(answers []answer) []Bin {
	bins := make([]Bin, Bins)
	for b := range bins {
		bins[b].Low, bins[b].High = float64(b)/Bins, float64(b+1)/Bins
	}
	for _, a := range answers {
		c := a.confidence()
		b := &bins[min(max(int(math.Ceil(c*Bins))-1, 0), Bins-1)]
		b.Right.Of++
		b.Confidence += c
		if a.class == a.truth {
			b.Right.Count++
		}
	}
	for b := range bins {
		if n := bins[b].Right.Of; n > 0 {
			bins[b].Confidence /= float64(n)
		}
	}
	return bins
}

// ece is the weighted distance between accuracy and confidence in the bins.
func ece(bins []Bin, n int) float64 {
	var sum float64
	for _, b := range bins {
		if b.Right.Of > 0 {
			sum += float64(b.Right.Of) / float64(n) * math.Abs(b.Right.Value()-b.Confidence)
		}
	}
	return sum
}

// bootstrap computes a number and its interval.
func bootstrap(answers []answer, of func([]answer) float64) Mean {
	const samples = 1000
	if len(answers) == 0 {
		none := number(math.NaN())
		return Mean{none, none, none}
	}
	random := rand.New(rand.NewPCG(0, 0))
	values, draw := make([]float64, samples), make([]answer, len(answers))
	for i := range values {
		for j := range draw {
			draw[j] = answers[random.IntN(len(answers))]
		}
		values[i] = of(draw)
	}
	slices.Sort(values)
	return Mean{number(of(answers)), number(values[samples*25/1000]), number(values[samples*975/1000-1])}
}
