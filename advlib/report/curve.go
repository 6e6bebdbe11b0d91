package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// Sizes of the picture of a curve, in its own units.
const (
	curveWidth, curveHeight     = 420., 150.
	curveLeft, curveRight       = 46., 12.
	curveTop, curveBottom, tick = 10., 24., 4.
)

// axis maps values to places in a picture, by their logarithm where it is set.
type axis struct {
	lo, hi, from, to float64
	log              bool
}

func (a axis) at(v float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		v, lo, hi = math.Log(v), math.Log(lo), math.Log(hi)
	}
	if hi <= lo {
		return a.from
	}
	return a.from + (v-lo)/(hi-lo)*(a.to-a.from)
}

// SVG returns the curve as a picture: the share of successes against queries, or for an attack of minimal norm the
// median distance in a band from the 10 % to the 90 % quantile; both axes but that of shares are logarithmic. Below
// the detection of attacks it is the detector's curves and scores. It is empty where there is nothing to show.
func (t QueryTable) SVG() template.HTML {
	if len(t.Curve) < 2 {
		return t.drawn
	}
	x := axis{float64(t.Curve[0].Queries), float64(t.Curve[len(t.Curve)-1].Queries), curveLeft, curveWidth - curveRight, true}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" `+
		`style="max-width:100%%;font-size:10px;color:inherit" fill="currentColor"><title>%s</title>`,
		curveWidth, curveHeight, curveWidth, curveHeight, template.HTMLEscapeString(t.Title))
	t.frame(&b, x)
	if t.Minimal {
		t.distances(&b, x)
	} else {
		t.shares(&b, x)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) // the title is escaped, all else are numbers
}

// frame draws the axes, with powers of ten of queries.
func (t QueryTable) frame(b *strings.Builder, x axis) {
	bottom := curveHeight - curveBottom
	fmt.Fprintf(b, `<path d="M%g %gV%gH%g" fill="none" stroke="currentColor" stroke-opacity="0.6"/>`, curveLeft, curveTop, bottom,
		curveWidth-curveRight)
	for q := 10.; q <= x.hi; q *= 10 {
		if q >= x.lo {
			fmt.Fprintf(b, `<path d="M%.1f %gv%g" stroke="currentColor" stroke-opacity="0.6"/><text x="%.1f" y="%g" text-anchor="middle">%g</text>`,
				x.at(q), bottom, tick, x.at(q), bottom+15, q)
		}
	}
	fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="end">queries</text>`, curveWidth-curveRight, bottom-4)
}

// label writes a value at the left of the picture.
func label(b *strings.Builder, y axis, v float64, text string) {
	fmt.Fprintf(b, `<path d="M%g %.1fh%g" stroke="currentColor" stroke-opacity="0.6"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`,
		curveLeft-tick, y.at(v), tick, curveLeft-tick-2, y.at(v)+3, text)
}

// shares draws the successes.
func (t QueryTable) shares(b *strings.Builder, x axis) {
	y := axis{0, 1, curveHeight - curveBottom, curveTop, false}
	for _, v := range []float64{0, 0.5, 1} {
		label(b, y, v, fmt.Sprintf("%g %%", 100*v))
	}
	var d strings.Builder
	for i, p := range t.Curve {
		share := float64(p.Success.Count) / float64(max(1, p.Success.Of))
		fmt.Fprintf(&d, "%s%.1f %.1f", move(i == 0), x.at(float64(p.Queries)), y.at(share))
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="#0072b2" stroke-width="2"/>`, d.String())
}

// distances draws the median and its band, where they are finite and above 0.
func (t QueryTable) distances(b *strings.Builder, x axis) {
	fine := func(v float64) bool { return v > 0 && !math.IsInf(v, 1) }
	lo, hi := math.Inf(1), 0.
	for _, p := range t.Curve {
		for _, v := range []float64{p.Low, p.Median, p.High} {
			if fine(v) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
	}
	if hi == 0 {
		return
	}
	y := axis{lo, hi, curveHeight - curveBottom, curveTop, true}
	label(b, y, lo, fmt.Sprintf("%.3g", lo))
	if hi > lo {
		label(b, y, hi, fmt.Sprintf("%.3g", hi))
	}
	var upper, lower, median strings.Builder
	var back []string
	for _, p := range t.Curve {
		at := x.at(float64(p.Queries))
		if fine(p.Low) && fine(p.High) {
			fmt.Fprintf(&upper, "%s%.1f %.1f", move(upper.Len() == 0), at, y.at(p.High))
			back = append(back, fmt.Sprintf("L%.1f %.1f", at, y.at(p.Low)))
		}
		if fine(p.Median) {
			fmt.Fprintf(&median, "%s%.1f %.1f", move(median.Len() == 0), at, y.at(p.Median))
		}
	}
	for i := range back {
		lower.WriteString(back[len(back)-1-i])
	}
	if upper.Len() > 0 {
		fmt.Fprintf(b, `<path d="%s%sZ" fill="#0072b2" fill-opacity="0.2" stroke="none"/>`, upper.String(), lower.String())
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="#0072b2" stroke-width="2"/>`, median.String())
}

// move is how a path begins, or goes on.
func move(first bool) string {
	if first {
		return "M"
	}
	return "L"
}
