package attack

import (
	"cmp"
	"math"
	"slices"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

// spot is a pixel in a colour that is not the original's.
type spot struct {
	pixel int
	key   uint64    // a number that stands for both
	to    []float32 // the value of each channel
	does  []float64 // what it adds to each aim, as far as it is known
}

// spot returns the pixel as it is in x, nil where it is as in the original.
func (p raster) spot(x, original []float32, pixel int) *spot {
	d := &spot{pixel: pixel, key: uint64(pixel) + 1, to: make([]float32, p.c)}
	differs := false
	for k := range p.c {
		j := p.at(pixel, k)
		d.to[k] = x[j]
		differs = differs || x[j] != original[j]
		d.key = mixed(d.key ^ uint64(math.Float32bits(x[j])))
	}
	if !differs {
		return nil
	}
	return d
}

// mixed returns a number of which each bit depends on all of v: the last step of SplitMix64.
func mixed(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// wear gives a pixel of x its colour, restore that of the original.
func (p raster) wear(x []float32, d *spot) {
	for k, v := range d.to {
		x[p.at(d.pixel, k)] = v
	}
}

func (p raster) restore(x, original []float32, pixel int) {
	for k := range p.c {
		j := p.at(pixel, k)
		x[j] = original[j]
	}
}

// colours returns how many corners of the box a pixel can be painted with that are not the original.
func (p raster) colours(original []float32, pixel int) int {
	n, corner := 1, true
	for k := range p.c {
		if j := p.at(pixel, k); p.movable(j) {
			n = min(2*n, 1<<20)
			corner = corner && (original[j] == p.lower[j] || original[j] == p.upper[j])
		}
	}
	if corner {
		n--
	}
	return n
}

// effects are what single spots are found to do to the scores. The score of a class over another is taken to be a sum
// of one effect of each spot. An answer corrects the effects of the spots by which its point differs from the one that
// the search is at, by as little as explains the difference of the scores: Kaczmarz's method for linear equations.
type effects struct {
	q     *craft.Inquiry
	p     raster
	aims  []aim
	spots []*spot          // that were asked about
	of    map[uint64]*spot // by key
	left  map[int]int      // by pixel, how many colours were not tried, of those of which one was
	here  []float64        // by how much each aim leads at the search's point; nil: not known
	last  []float64        // the same of the last answer
}

// aim is to bring the score of one class above that of another.
type aim struct{ up, down int32 }

// mostAims is how many classes are aimed at: those that lead in the first answer.
const mostAims = 10

func newEffects(q *craft.Inquiry, p raster) *effects {
	return &effects{q: q, p: p, of: map[uint64]*spot{}, left: map[int]int{}}
}

// known returns the spot that was asked about under the same key, or this one.
func (e *effects) known(d *spot) *spot {
	if known := e.of[d.key]; known != nil {
		return known
	}
	return d
}

// add takes a spot that is asked about for the first time.
func (e *effects) add(d *spot) {
	left, some := e.left[d.pixel]
	if !some {
		left = e.p.colours(e.q.X, d.pixel)
	}
	d.does = make([]float64, mostAims)
	e.of[d.key], e.left[d.pixel] = d, left-1
	e.spots = append(e.spots, d)
}

// untried moves the first of some pixels to the front that has a colour which was not tried, and tells whether there is
// one.
func (e *effects) untried(pixels []int) bool {
	for i, pixel := range pixels {
		if left, some := e.left[pixel]; !some || left > 0 {
			pixels[0], pixels[i] = pixels[i], pixels[0]
			return true
		}
	}
	return false
}

// learn takes the answer about a point that differs by c from the one where the search is.
func (e *effects) learn(a advlib.Answer, c repaint) {
	e.last = e.leads(a)
	for _, d := range c.on {
		if d.does == nil {
			e.add(d)
		}
	}
	if e.last == nil || e.here == nil {
		return
	}
	n := float64(len(c.on) + len(c.off))
	for k := range e.aims {
		unexplained := e.last[k] - e.here[k]
		for _, d := range c.on {
			unexplained -= d.does[k]
		}
		for _, d := range c.off {
			unexplained += d.does[k]
		}
		for _, d := range c.on {
			d.does[k] += unexplained / n
		}
		for _, d := range c.off {
			d.does[k] -= unexplained / n
		}
	}
}

// moved says that the search has gone to the point of the last answer.
func (e *effects) moved() { e.here = e.last }

// leads returns by how much each aim leads in an answer, nil where it has no scores. The first answer says what the
// aims are: without a target, other classes over the label; with one, the target over them.
func (e *effects) leads(a advlib.Answer) []float64 {
	z := a.Logits(e.q.Classes)
	if z == nil {
		return nil
	}
	for _, v := range z {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil
		}
	}
	if e.aims == nil {
		e.aim(z)
	}
	leads := make([]float64, len(e.aims))
	for k, aim := range e.aims {
		leads[k] = float64(z[aim.up]) - float64(z[aim.down])
	}
	return leads
}

func (e *effects) aim(z []float32) {
	q := e.q
	if q.Target >= 0 && q.AnyClass {
		e.aims = []aim{{q.Target, q.Label}}
		return
	}
	from := q.Label
	if q.Target >= 0 {
		from = q.Target
	}
	for k := range z {
		switch class := int32(k); {
		case class == from:
		case q.Target >= 0:
			e.aims = append(e.aims, aim{q.Target, class})
		default:
			e.aims = append(e.aims, aim{class, q.Label})
		}
	}
	other := func(a aim) int32 { return a.up + a.down - from }
	slices.SortStableFunc(e.aims, func(a, b aim) int { return cmp.Compare(z[other(b)], z[other(a)]) })
	e.aims = e.aims[:min(mostAims, len(e.aims))]
}

// best returns the change to at most k spots that promises most, of the changes to those that are best for one of the
// aims and were not asked about. With a target, what counts is the aim that lags most.
func (e *effects) best(k int, worn map[int]*spot, asked func(c repaint) bool) (best repaint, ok bool) {
	if e.here == nil {
		return repaint{}, false
	}
	bare := slices.Clone(e.here) // without any spots
	for _, d := range e.spots {  // a map's order is another each time, and so would be the rounding
		if worn[d.pixel] != d {
			continue
		}
		for i := range bare {
			bare[i] -= d.does[i]
		}
	}
	most := math.Inf(-1)
	for i := range e.aims {
		spots := e.top(k, i)
		promise := math.Inf(1)
		for j, lead := range bare {
			for _, d := range spots {
				lead += d.does[j]
			}
			if j == i || e.q.Target >= 0 {
				promise = min(promise, lead)
			}
		}
		if c := e.to(spots, worn); promise > most && !asked(c) {
			best, most, ok = c, promise, true
		}
	}
	return best, ok
}

// top returns the k spots of different pixels that do most for an aim.
func (e *effects) top(k, aim int) []*spot {
	var top []*spot // by falling effect
	at := map[int]*spot{}
	for _, d := range e.spots {
		if len(top) == k && d.does[aim] <= top[k-1].does[aim] {
			continue
		}
		if other := at[d.pixel]; other != nil {
			if other.does[aim] >= d.does[aim] {
				continue
			}
			i := slices.Index(top, other)
			top = slices.Delete(top, i, i+1)
		}
		i, _ := slices.BinarySearchFunc(top, d, func(a, b *spot) int {
			if a.does[aim] >= b.does[aim] {
				return -1
			}
			return 1
		})
		top = slices.Insert(top, i, d)
		at[d.pixel] = d
		if len(top) > k {
			delete(at, top[k].pixel)
			top = top[:k]
		}
	}
	return top
}

// to returns the change from what is worn to some spots.
func (e *effects) to(spots []*spot, worn map[int]*spot) repaint {
	var c repaint
	stays := map[*spot]bool{}
	for _, d := range spots {
		if stays[d] = worn[d.pixel] == d; !stays[d] {
			c.on = append(c.on, d)
		}
	}
	for _, d := range e.spots {
		if worn[d.pixel] == d && !stays[d] {
			c.off = append(c.off, d)
		}
	}
	return c
}
