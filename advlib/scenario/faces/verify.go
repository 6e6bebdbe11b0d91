package faces

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"advlab/advlib"
)

// Scores are the cosines of faces with templates, sorted: of the same person, and of others.
type Scores struct{ Genuine, Impostor []float64 }

// Scores compares each face of the examples with the templates of all who are enrolled. Who is the same person is told
// by the name: all comparisons of a stranger's face are impostors'.
func (d *Door) Scores(e *advlib.Examples) (s Scores, err error) {
	cosines, who, err := d.compare(e)
	if err != nil {
		return s, err
	}
	for i, row := range cosines {
		for k, c := range row {
			if who[i] == k {
				s.Genuine = append(s.Genuine, c)
			} else {
				s.Impostor = append(s.Impostor, c)
			}
		}
	}
	slices.Sort(s.Genuine)
	slices.Sort(s.Impostor)
	return s, nil
}

// compare returns for each face its cosine with each template, the least of all looks, and who it is.
func (d *Door) compare(e *advlib.Examples) (cosines [][]float64, who []int, err error) {
	for _, l := range d.looks {
		points, err := d.net.under(l.covered, e.X)
		if err != nil {
			return nil, nil, err
		}
		for i, p := range points {
			if i == len(cosines) {
				cosines = append(cosines, slices.Repeat([]float64{math.Inf(1)}, len(d.Persons)))
			}
			for k, t := range l.templates {
				cosines[i][k] = min(cosines[i][k], cosine(p, t))
			}
		}
	}
	return cosines, d.persons(e), nil
}

// At returns the door with the least threshold at which at most the given share of the examples' impostor comparisons,
// faces with the templates of others, is accepted: a false-accept rate, in (0, 1). What the rate is worth is said by
// [Door.Measure], on persons who are neither enrolled nor among these examples.
func (d *Door) At(rate float64, e *advlib.Examples) (*Door, error) {
	if !(rate > 0 && rate < 1) {
		return nil, fmt.Errorf("faces: a false-accept rate of %g: give a share in (0, 1), such as 0.01", rate)
	}
	s, err := d.Scores(e)
	if err != nil {
		return nil, err
	}
	if n := len(s.Impostor); n == 0 || rate*float64(n) < 1 {
		return nil, fmt.Errorf("faces: a false-accept rate of %g cannot be told from %d comparisons: give more faces, or a rate of at least "+
			"one in that many", rate, n)
	}
	at := *d
	at.Threshold = s.threshold(rate)
	return &at, nil
}

// threshold is the least one that accepts at most so many of the impostors: just above the best of those that it
// refuses.
func (s Scores) threshold(rate float64) float64 {
	refused := len(s.Impostor) - int(rate*float64(len(s.Impostor)))
	if refused == 0 {
		return -1
	}
	return math.Nextafter(s.Impostor[refused-1], 2)
}

// Accepted returns the shares of impostor and genuine comparisons that a threshold accepts: the false-accept rate and
// the true-accept rate.
func (s Scores) Accepted(threshold float64) (impostor, genuine float64) {
	share := func(v []float64) float64 {
		at, _ := slices.BinarySearch(v, threshold)
		return float64(len(v)-at) / float64(max(len(v), 1))
	}
	return share(s.Impostor), share(s.Genuine)
}

// Accepted is a share of comparisons that a door accepts, with its 95 % interval.
type Accepted struct {
	Count     int     `json:"count"`
	Of        int     `json:"of"`
	Low, High float64 // in 0..1
}

// Value is the share, NaN of none.
func (a Accepted) Value() float64 { return float64(a.Count) / float64(a.Of) }

// String returns for example "1.2 % [0.4, 2.3]", or "none".
func (a Accepted) String() string {
	if a.Of == 0 {
		return "none"
	}
	return fmt.Sprintf("%.3g %% [%.3g, %.3g]", 100*a.Value(), 100*a.Low, 100*a.High)
}

// Measured is what a door accepts at its threshold.
type Measured struct {
	// False is the false-accept rate, of faces compared with the templates of others, True the true-accept rate.
	False, True Accepted
}

// Measure counts what the door accepts of examples: give it persons by whom the threshold was not chosen, for the rate
// at which it was chosen holds for those alone.
//
// The comparisons of a face, and those with a template, are right or wrong together: two faces of a person may be
// accepted for the same other one. So the interval of the false-accept rate is by the bootstrap over persons at both
// ends of a comparison, those who come and those who are enrolled (the pigeonhole bootstrap, Owen 2007,
// arXiv:0712.1111), that of the true-accept rate over those who come: 2000 samples, seed 0, percentiles. Where no
// comparison or each one is accepted, that says nothing; then they are Wilson's, of as many trials as persons came.
func (d *Door) Measure(e *advlib.Examples) (m Measured, err error) {
	cosines, who, err := d.compare(e)
	if err != nil {
		return m, err
	}
	var names []string // of those who came
	impostor, genuine := newCells(len(d.Persons)), newCells(len(d.Persons))
	for i, row := range cosines {
		name := nameOf(e, int(e.Y[i]))
		came := slices.Index(names, name)
		if came < 0 {
			came, names = len(names), append(names, name)
			impostor.add()
			genuine.add()
		}
		for k, c := range row {
			at := impostor
			if who[i] == k {
				at = genuine
			}
			at.of[came][k]++
			if c >= d.Threshold {
				at.accepted[came][k]++
			}
		}
	}
	return Measured{False: impostor.rate(true), True: genuine.rate(false)}, nil
}

// cells count comparisons by who came and with whose template.
type cells struct {
	templates    int
	of, accepted [][]int
}

func newCells(templates int) *cells { return &cells{templates: templates} }

// add makes room for one more person who came.
func (c *cells) add() {
	c.of, c.accepted = append(c.of, make([]int, c.templates)), append(c.accepted, make([]int, c.templates))
}

// rate is the share that is accepted, with its interval, by drawing who came, and templates if both is set.
func (c *cells) rate(both bool) (a Accepted) {
	came := 0 // of whom there is a comparison
	for i, of := range c.of {
		n := 0
		for k := range of {
			n += of[k]
			a.Count += c.accepted[i][k]
		}
		if a.Of += n; n > 0 {
			came++
		}
	}
	if a.Of == 0 || a.Count == 0 || a.Count == a.Of {
		if a.Of > 0 {
			a.Low, a.High = advlib.Rate{Count: came * a.Count / a.Of, Of: came}.Wilson()
		}
		return a
	}
	const samples = 2000
	shares := make([]float64, 0, samples)
	random := rand.New(rand.NewPCG(0, 0))
	draw := func(n int) []int {
		times := make([]int, n)
		for range n {
			times[random.IntN(n)]++
		}
		return times
	}
	for range samples {
		rows, columns := draw(len(c.of)), slices.Repeat([]int{1}, c.templates)
		if both {
			columns = draw(c.templates)
		}
		var accepted, of int
		for i, times := range rows {
			for k, also := range columns {
				of += times * also * c.of[i][k]
				accepted += times * also * c.accepted[i][k]
			}
		}
		if of > 0 {
			shares = append(shares, float64(accepted)/float64(of))
		}
	}
	slices.Sort(shares)
	n := len(shares)
	a.Low, a.High = shares[n/40], shares[n-1-n/40]
	return a
}
