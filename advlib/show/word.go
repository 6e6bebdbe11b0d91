package show

import (
	"cmp"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// word is the name of the part between two lines. It is drawn where there is room for it, and on none of the lines that
// run through the part.
type word struct {
	text         string
	upper, lower plotter.XYs
	through      []plotter.XYs
}

// Plot implements plot.Plotter: the word is centred where there is most room over its width.
func (w word) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := sans(8.5, darkGray)
	style.XAlign, style.YAlign = draw.XCenter, draw.YCenter
	half := style.Width(w.text)/2 + 4
	const tries = 200
	last := w.upper[len(w.upper)-1].X
	// span returns the ends of what a line passes within the word's width.
	span := func(line plotter.XYs, centre vg.Length) (lo, hi vg.Length) {
		bottom, top := 101., -1.
		for k := range tries + 1 {
			v := last * float64(k) / tries
			if at := x(v); at >= centre-half && at <= centre+half {
				bottom, top = min(bottom, lowest(line, v)), max(top, highest(line, v))
			}
		}
		return y(bottom), y(top)
	}
	var best vg.Length
	var at vg.Point
	for k := range tries + 1 {
		centre := x(last * float64(k) / tries)
		if centre-half < x(0) || centre+half > x(last) {
			continue
		}
		top, _ := span(w.upper, centre)
		_, bottom := span(w.lower, centre)
		type band struct{ lo, hi vg.Length }
		taken := []band{{top, top}}
		for _, line := range w.through {
			if lo, hi := span(line, centre); lo <= hi {
				taken = append(taken, band{lo, hi})
			}
		}
		slices.SortFunc(taken, func(a, b band) int { return cmp.Compare(a.lo, b.lo) })
		for _, t := range taken {
			if room := min(t.lo, top) - bottom; room > best {
				best, at = room, vg.Point{X: centre, Y: bottom + room/2}
			}
			bottom = max(bottom, t.hi)
		}
	}
	if best >= 13 {
		c.FillText(style, at, w.text)
	}
}

// lowest and highest are the ends of what a line of steps passes at x.
func lowest(line plotter.XYs, x float64) float64  { lo, _ := passed(line, x); return lo }
func highest(line plotter.XYs, x float64) float64 { _, hi := passed(line, x); return hi }

func passed(line plotter.XYs, x float64) (lo, hi float64) {
	lo, hi = 101, -1
	for i := range line[1:] {
		if line[i].X <= x && x <= line[i+1].X {
			lo, hi = min(lo, line[i].Y, line[i+1].Y), max(hi, line[i].Y, line[i+1].Y)
		}
	}
	return lo, hi
}
