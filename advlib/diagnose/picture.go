package diagnose

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Picture is what shows a finding: bars, lines, or a histogram. It holds the numbers; [Picture.SVG] draws them.
type Picture struct {
	// Kind is "bars", "lines" or "histogram".
	Kind string `json:"kind"`
	// X and Y say what the axes are.
	X string `json:"x,omitempty"`
	Y string `json:"y"`
	// Series are the lines; of bars and of a histogram each is a group of its own colour.
	Series []Series `json:"series"`
	// Threshold is a line across, at that height, and Says what it is.
	Threshold *float64 `json:"threshold,omitempty"`
	Says      string   `json:"says,omitempty"`
}

// Series is a line of points, or some bars.
type Series struct {
	Name string `json:"name,omitempty"`
	// Labels are those of bars. X are the places of a line's points, or the edges of a histogram's bins, one more than Y.
	Labels []string  `json:"labels,omitempty"`
	X      []float64 `json:"x,omitempty"`
	Y      []float64 `json:"y"`
	// Low and High are the ends of 95 % intervals around Y, if there are any.
	Low  []float64 `json:"low,omitempty"`
	High []float64 `json:"high,omitempty"`
}

// bar is a bar to draw: a share in percent of a rate, or a number.
func (s *Series) bar(label string, value float64) {
	s.Labels, s.Y = append(s.Labels, label), append(s.Y, value)
}

// bars is a picture of bars in one colour.
func bars(y string, s Series) *Picture { return &Picture{Kind: "bars", Y: y, Series: []Series{s}} }

// at adds a threshold.
func (p *Picture) at(height float64, says string) *Picture {
	p.Threshold, p.Says = &height, says
	return p
}

// histogram counts values in equal bins; it is nil where there are none that are finite.
func histogram(x, y string, names []string, values ...[]float64) *Picture {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, list := range values {
		for _, v := range list {
			if !math.IsInf(v, 0) && !math.IsNaN(v) {
				lo, hi = math.Min(lo, v), math.Max(hi, v)
			}
		}
	}
	if math.IsInf(lo, 0) {
		return nil
	}
	if hi == lo {
		lo, hi = lo-0.5, hi+0.5
	}
	const bins = 16
	p := &Picture{Kind: "histogram", X: x, Y: y}
	for k, list := range values {
		s := Series{Name: names[k], Y: make([]float64, bins)}
		for b := range bins + 1 {
			s.X = append(s.X, lo+(hi-lo)*float64(b)/bins)
		}
		for _, v := range list {
			if !math.IsInf(v, 0) && !math.IsNaN(v) {
				s.Y[min(bins-1, int((v-lo)/(hi-lo)*bins))]++
			}
		}
		p.Series = append(p.Series, s)
	}
	return p
}

// The measures of a drawing in CSS pixels, and its colours, which readers with deficient colour vision can tell apart
// (Okabe and Ito 2008).
const (
	pictureWidth, plotHeight = 340, 130
	left, right, top         = 44, 8, 8
)

var seriesColours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7"}

// SVG draws the picture, small, without fonts or scripts of its own: text and axes take the colour of the page.
func (p *Picture) SVG() string {
	d := drawing{Picture: p, y1: 1}
	d.extent()
	below := 34
	if p.Kind == "bars" {
		below = 16 + 13*len(p.Series[0].Labels)
	}
	names := 0
	for _, s := range p.Series {
		if s.Name != "" {
			names++
		}
	}
	if names > 0 {
		below += 10 // between what the axis is and the first name
	}
	height := top + plotHeight + below + 14*names
	fmt.Fprintf(&d.b, `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="%d" height="%d" viewBox="0 0 %d %d" `+
		`font-family="sans-serif" font-size="10" fill="currentColor"><title>%s</title>`, pictureWidth, height, pictureWidth, height,
		html.EscapeString(p.String()))
	d.axes()
	switch p.Kind {
	case "bars":
		d.bars()
	case "histogram":
		d.steps()
	default:
		d.lines()
	}
	if p.Threshold != nil {
		y := d.up(*p.Threshold)
		above := y - 3
		if above < top+10 { // there is no room for it above the line
			above = y + 11
		}
		fmt.Fprintf(&d.b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="currentColor" stroke-dasharray="4 3"/>`+
			`<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left, pictureWidth-right, y, y, pictureWidth-right, above,
			html.EscapeString(p.Says))
	}
	y := top + plotHeight + below
	for k, s := range p.Series {
		if s.Name != "" {
			fmt.Fprintf(&d.b, `<rect x="%d" y="%d" width="10" height="8" fill="%s"/><text x="%d" y="%d">%s</text>`, left, y-8,
				colourOf(k), left+14, y, html.EscapeString(s.Name))
			y += 14
		}
	}
	d.b.WriteString("</svg>")
	return d.b.String()
}

func colourOf(k int) string { return seriesColours[k%len(seriesColours)] }

// String returns the numbers.
func (p *Picture) String() string {
	var parts []string
	for _, s := range p.Series {
		var points []string
		for i, y := range s.Y {
			switch {
			case i < len(s.Labels):
				points = append(points, fmt.Sprintf("%s %.4g", s.Labels[i], y))
			case i < len(s.X):
				points = append(points, fmt.Sprintf("%.4g: %.4g", s.X[i], y))
			}
		}
		parts = append(parts, strings.TrimSpace(s.Name+" "+strings.Join(points, ", ")))
	}
	return p.Y + ": " + strings.Join(parts, "; ")
}

// drawing is a picture that is being drawn.
type drawing struct {
	*Picture
	b              strings.Builder
	x0, x1, y0, y1 float64
}

// extent finds what the axes have to hold.
func (d *drawing) extent() {
	d.x0, d.x1, d.y1 = math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, s := range d.Series {
		for _, list := range [][]float64{s.Y, s.Low, s.High} {
			for _, y := range list {
				d.y0, d.y1 = math.Min(d.y0, y), math.Max(d.y1, y)
			}
		}
		for _, x := range s.X {
			d.x0, d.x1 = math.Min(d.x0, x), math.Max(d.x1, x)
		}
	}
	if d.Threshold != nil {
		d.y0, d.y1 = math.Min(d.y0, *d.Threshold), math.Max(d.y1, *d.Threshold)
	}
	if strings.Contains(d.Y, "%") {
		d.y1 = math.Max(d.y1, 100)
	}
	if !(d.y1 > d.y0) {
		d.y1 = d.y0 + 1
	}
	if !(d.x1 > d.x0) {
		d.x0, d.x1 = d.x0-1, d.x0+1
	}
}

func (d *drawing) across(x float64) float64 {
	return left + (x-d.x0)/(d.x1-d.x0)*(pictureWidth-left-right)
}

func (d *drawing) up(y float64) float64 { return top + plotHeight - (y-d.y0)/(d.y1-d.y0)*plotHeight }

// axes draws the frame, its numbers, and what they are.
func (d *drawing) axes() {
	fmt.Fprintf(&d.b, `<path d="M%d %d V%d H%d" fill="none" stroke="currentColor"/>`, left, top, top+plotHeight, pictureWidth-right)
	for _, y := range []float64{d.y0, (d.y0 + d.y1) / 2, d.y1} {
		fmt.Fprintf(&d.b, `<text x="%d" y="%.1f" text-anchor="end">%.3g</text>`, left-4, d.up(y)+3, y)
	}
	fmt.Fprintf(&d.b, `<text transform="translate(9 %d) rotate(-90)" text-anchor="middle">%s</text>`, top+plotHeight/2, html.EscapeString(d.Y))
	if d.Kind == "bars" {
		return
	}
	for k, x := range []float64{d.x0, (d.x0 + d.x1) / 2, d.x1} {
		fmt.Fprintf(&d.b, `<text x="%.1f" y="%d" text-anchor="%s">%.3g</text>`, d.across(x), top+plotHeight+12,
			[]string{"start", "middle", "end"}[k], x)
	}
	fmt.Fprintf(&d.b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, (left+pictureWidth)/2, top+plotHeight+25, html.EscapeString(d.X))
}

// bars draws bars, numbered, with their labels in a list below.
func (d *drawing) bars() {
	s := d.Series[0]
	each := float64(pictureWidth-left-right) / float64(len(s.Y))
	width := math.Min(0.7*each, 40)
	for i, y := range s.Y {
		middle := left + (float64(i)+0.5)*each
		a, b := d.up(math.Max(0, y)), d.up(math.Min(0, y))
		fmt.Fprintf(&d.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/><text x="%.1f" y="%d" text-anchor="middle">%d</text>`,
			middle-width/2, a, width, b-a, colourOf(0), middle, top+plotHeight+11, i+1)
		if i < len(s.Low) {
			fmt.Fprintf(&d.b, `<path d="M%.1f %.1f V%.1f" stroke="currentColor" stroke-width="1.5"/>`, middle, d.up(s.Low[i]), d.up(s.High[i]))
		}
	}
	for i, label := range s.Labels {
		fmt.Fprintf(&d.b, `<text x="%d" y="%d">%s</text>`, left, top+plotHeight+24+13*i,
			html.EscapeString(fmt.Sprintf("%d  %s: %.4g", i+1, cut(label, 46), s.Y[i])))
	}
}

// cut shortens a label to so many letters.
func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// steps draws a histogram as outlines.
func (d *drawing) steps() {
	for k, s := range d.Series {
		var path strings.Builder
		fmt.Fprintf(&path, "M%.1f %.1f", d.across(s.X[0]), d.up(0))
		for i, y := range s.Y {
			fmt.Fprintf(&path, " V%.1f H%.1f", d.up(y), d.across(s.X[i+1]))
		}
		fmt.Fprintf(&d.b, `<path d="%s V%.1f Z" fill="%s" fill-opacity="0.25" stroke="%s"/>`, path.String(), d.up(0), colourOf(k), colourOf(k))
	}
}

// lines draws lines through points, with their intervals as shades.
func (d *drawing) lines() {
	for k, s := range d.Series {
		var points, shade []string
		for i, x := range s.X {
			points = append(points, fmt.Sprintf("%.1f,%.1f", d.across(x), d.up(s.Y[i])))
		}
		if len(s.Low) == len(s.X) && len(s.Low) > 0 {
			for i, x := range s.X {
				shade = append(shade, fmt.Sprintf("%.1f,%.1f", d.across(x), d.up(s.High[i])))
			}
			for i, x := range slices.Backward(s.X) {
				shade = append(shade, fmt.Sprintf("%.1f,%.1f", d.across(x), d.up(s.Low[i])))
			}
			fmt.Fprintf(&d.b, `<polygon points="%s" fill="%s" fill-opacity="0.15"/>`, strings.Join(shade, " "), colourOf(k))
		}
		fmt.Fprintf(&d.b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8"/>`, strings.Join(points, " "), colourOf(k))
		for i, x := range s.X {
			if len(s.X) <= 12 {
				fmt.Fprintf(&d.b, `<circle cx="%.1f" cy="%.1f" r="2.4" fill="%s"/>`, d.across(x), d.up(s.Y[i]), colourOf(k))
			}
		}
	}
}
