package report

import (
	"fmt"
	"math"
	"slices"
)

// Beside compares, in a ball, the attacks that only ask with those that look into the model, on the same examples: who
// sees the gradients should not break fewer. An example on which only one of the two kinds ran, since the other had
// broken it before in a cascade, is no win.
type Beside struct {
	Ball Ball
	// Median says that the report has no ball in this norm: the radius is the median distance of the white-box attacks.
	Median bool
	// Cascade says that attacks ran on what those before them had left: then the two numbers are no comparison.
	Cascade bool
	// White and Black are the names of the attacks; White is empty where none was run beside the others.
	White, Black []string
	// Broken and BrokenByQuestions count the examples that they broke, Wins those that only attacks by questions broke
	// though both ran, less those that only the others broke; all are of the correctly classified examples.
	Broken, BrokenByQuestions, Wins Rate
}

// leastWin is the share of the examples by which attacks by questions may be ahead without a word.
const leastWin = 0.002

// BlackBoxWins tells whether attacks by questions broke more than 0.2 % more of the examples. One example alone may be
// luck.
func (b Beside) BlackBoxWins() bool {
	return b.Wins.Count > 1 && float64(b.Wins.Count) > leastWin*float64(b.Wins.Of)
}

// String is a sentence without its point.
func (b Beside) String() string {
	where := b.Ball.String()
	if b.Median {
		where = fmt.Sprintf("%s ≤ %.4g, their median distance,", b.Ball.Norm, b.Ball.Radius)
	}
	if len(b.White) == 0 {
		return fmt.Sprintf("no attack with gradients was run beside %s in %s: add one, to see whether they mislead", b.Black[0], b.Ball.Norm)
	}
	s := fmt.Sprintf("with gradients, attacks in %s break %v of %d examples, by questions alone %v", where, b.Broken, b.Broken.Of,
		b.BrokenByQuestions)
	if b.Cascade {
		s = fmt.Sprintf("with gradients, attacks in %s break %d of %d examples, and those by questions alone %d of what was left to them",
			where, b.Broken.Count, b.Broken.Of, b.BrokenByQuestions.Count)
	}
	if b.BlackBoxWins() {
		s += fmt.Sprintf(": BLACK BOX WINS on %v: the gradients mislead, or the attacks that follow them are too weak; robust accuracies by "+
			"them alone are upper bounds only", b.Wins)
	}
	return s
}

// Beside returns the comparisons in all balls and norms in which something only asked; none where the model has no
// gradient to look at.
func (r *Report) Beside() []Beside {
	if r.Sanity.NotApplicable != "" || len(r.Sanity.NoGradient) > 0 {
		return nil
	}
	var all []Beside
	for _, norm := range r.Norms() {
		var balls []Ball
		for _, b := range r.Balls() {
			if b.Norm == norm {
				balls = append(balls, b)
			}
		}
		white, black := r.kinds(norm)
		median := len(balls) == 0 && len(white) > 0
		if median {
			var d []float64
			for i := range r.Label {
				if r.Correct(i) {
					d = append(d, nearest(white, i))
				}
			}
			slices.Sort(d)
			balls = []Ball{{norm, quantile(d, 0.5)}}
		}
		if len(black) == 0 {
			continue
		}
		if len(white) == 0 {
			all = append(all, Beside{Ball: Ball{Norm: norm}, Black: names(black)})
			continue
		}
		for _, b := range balls {
			if c := r.beside(b, white, black); len(c.White) > 0 && len(c.Black) > 0 {
				c.Median = median
				all = append(all, c)
			}
		}
	}
	return all
}

// kinds returns the untargeted attacks in a norm that look into the model, and those that only ask.
func (r *Report) kinds(norm string) (white, black []AttackRow) {
	for _, a := range r.Attacks {
		switch {
		case a.Targeted || a.Norm != norm:
		case a.Asks():
			black = append(black, a)
		case a.Forward+a.Backward > 0: // else it came to no example
			white = append(white, a)
		}
	}
	return white, black
}

func names(rows []AttackRow) []string {
	all := make([]string, len(rows))
	for i, a := range rows {
		all[i] = a.Name
	}
	return all
}

// nearest returns the distance of the nearest example that one of the attacks found for example i.
func nearest(rows []AttackRow, i int) float64 {
	d := math.Inf(1)
	for _, a := range rows {
		if a.Success[i] {
			d = min(d, float64(a.Distance[i]))
		}
	}
	return d
}

// beside compares the two kinds in a ball: those that were run in it, or for the nearest.
func (r *Report) beside(b Ball, white, black []AttackRow) Beside {
	in := func(rows []AttackRow) []AttackRow {
		return slices.DeleteFunc(slices.Clone(rows), func(a AttackRow) bool { return !a.Minimal() && float64(a.Radius) != b.Radius })
	}
	white, black = in(white), in(black)
	c := Beside{Ball: b, Cascade: r.Cascade, White: names(white), Black: names(black)}
	ran := func(rows []AttackRow, i int) bool {
		return slices.ContainsFunc(rows, func(a AttackRow) bool { return a.Attempted[i] && !a.skipped(i) })
	}
	n := 0
	for i := range r.Label {
		if !r.Correct(i) {
			continue
		}
		n++
		w, q := nearest(white, i) <= b.Radius, nearest(black, i) <= b.Radius
		if w {
			c.Broken.Count++
		}
		if q {
			c.BrokenByQuestions.Count++
		}
		switch {
		case q && !w && ran(white, i):
			c.Wins.Count++
		case w && !q && ran(black, i):
			c.Wins.Count--
		}
	}
	c.Wins.Count = max(0, c.Wins.Count)
	c.Broken.Of, c.BrokenByQuestions.Of, c.Wins.Of = n, n, n
	return c
}
