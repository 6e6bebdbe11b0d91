package show

import (
	"errors"
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib"
	"advlab/advlib/report"
)

// Sandwich draws what is known of a classifier's robust accuracy against the radius ε, in one picture: above it the
// accuracy in the worst case over attacks, below it the certified accuracy of each method, and between the two what
// nobody knows. There is a panel for each classifier and norm that has certificates.
//
// All lines are steps, so that each point of the picture is true, and not only the marked ones: a certificate for a
// ball holds in smaller ones, and an adversarial example stays one in larger balls. More radii make the steps smaller.
// The true robust accuracy is a curve somewhere in the part "unknown".
//
// The radii come from one report with attacks of several budgets, or from one report for each. A smoothed classifier is
// another classifier than its base, and has a panel of its own: pass what smooth.Certified.Plain returns, beside
// reports of the base. Its certificates hold with a probability each.
//
//	show.Display(show.Sandwich(report))
//	show.Display(show.Sandwich(report, smoothed.Plain()))
//
// It is an error wrapping [advlib.ErrContradiction] if certified ≤ robust ≤ clean does not hold for every single
// example: see [report.Report.Contradiction]. For a smoothed classifier, whose certificates may be wrong with
// probability α, that is to be expected of a share α of the examples at most.
func Sandwich(reports ...*advlib.Report) (Picture, error) {
	p, err := sandwich(reports)
	if err != nil {
		return Picture{}, fmt.Errorf("show: sandwich: %w", err)
	}
	return p, nil
}

func sandwich(reports []*advlib.Report) (Picture, error) {
	unions, err := unite(reports)
	if err != nil {
		return Picture{}, err
	}
	var layers []layer
	for _, r := range unions {
		if err := r.Contradiction(); err != nil {
			return Picture{}, err
		}
		for _, norm := range r.Norms() {
			if l, ok := newLayer(r, norm); ok {
				layers = append(layers, l)
			}
		}
	}
	if len(layers) == 0 {
		return Picture{}, errors.New("no report has a certificate with a radius above 0, so there is no lower bound to " +
			"draw: evaluate with certifiers, such as certify.CROWN, or draw the attacks alone by Curve")
	}
	return drawSandwich(unions, layers)
}

// layer is the sandwich of a classifier in a norm.
type layer struct {
	report  *advlib.Report
	norm    string
	clean   advlib.Rate
	largest float64 // radius drawn
	// radii are where both sides are known exactly: those of budgets and certificates, growing, without 0.
	radii []float64
	// robust is a line of steps that fall at its points: an example that is broken at a radius is broken at larger ones.
	// The lines of methods and best fall behind their points: a certificate holds at smaller radii.
	robust  []point
	methods []method
	// best is the certified accuracy by any method; proven the largest radius for which one was asked.
	best   []point
	proven float64
	// attacked tells whether there was any attack in the norm.
	attacked bool
}

// method is one certifier's line.
type method struct {
	name   string
	points []point
}

// newLayer collects a classifier's lines in a norm, and whether there are certificates.
func newLayer(r *advlib.Report, norm string) (layer, bool) {
	l := layer{report: r, norm: norm, clean: r.Clean()}
	for _, c := range r.Certificates {
		if c.Norm == norm && c.Radius > 0 {
			l.radii = append(l.radii, c.Radius)
			l.proven = max(l.proven, c.Radius)
		}
	}
	if l.proven == 0 {
		return layer{}, false
	}
	for _, a := range r.Attacks {
		if a.Norm != norm || a.Targeted {
			continue
		}
		l.attacked = true
		if !a.Minimal() && a.Radius > 0 {
			l.radii = append(l.radii, float64(a.Radius))
		}
	}
	l.radii = distinct(l.radii)
	l.largest = l.radii[len(l.radii)-1]
	l.robust = panel{norm: norm, largest: l.largest}.robust(r)
	l.best = l.certified(r.Certified)
	for _, name := range r.Methods(norm) {
		points := l.certified(func(ball report.Named) (advlib.Rate, bool) { return r.CertifiedBy(name, ball) })
		if points != nil {
			l.methods = append(l.methods, method{oneLine(name), points})
		}
	}
	return l, true
}

// certified returns a line at those radii that were asked.
func (l layer) certified(of func(report.Named) (advlib.Rate, bool)) (points []point) {
	asked := map[float64]bool{}
	for _, c := range l.report.Certificates {
		asked[c.Radius] = asked[c.Radius] || c.Norm == l.norm
	}
	for _, radius := range l.radii {
		if rate, ok := of(report.Ball{Norm: l.norm, Radius: radius}); ok {
			points = append(points, point{radius, rate, asked[radius]})
		}
	}
	return points
}

// stepsAbove returns a line of robust accuracy as steps up to a radius: nothing was found before each point.
func stepsAbove(points []point, largest float64) plotter.XYs {
	var xys plotter.XYs
	for _, pt := range points {
		if pt.radius > largest {
			break
		}
		y := 100 * pt.rate.Value()
		if len(xys) > 0 {
			xys = append(xys, plotter.XY{X: pt.radius, Y: xys[len(xys)-1].Y})
		}
		xys = append(xys, plotter.XY{X: pt.radius, Y: y})
	}
	return append(xys, plotter.XY{X: largest, Y: xys[len(xys)-1].Y})
}

// stepsBelow returns a line of certified accuracy as steps: a certificate holds in smaller balls, down to 0.
func stepsBelow(points []point) plotter.XYs {
	var xys plotter.XYs
	from := 0.
	for _, pt := range points {
		y := 100 * pt.rate.Value()
		xys = append(xys, plotter.XY{X: from, Y: y}, plotter.XY{X: pt.radius, Y: y})
		from = pt.radius
	}
	return xys
}

// The three parts of the picture, which differ in lightness too, and are named in it.
var (
	brokenTint  = color.NRGBA{213, 94, 0, 38}
	unknownTint = color.NRGBA{120, 120, 120, 60}
	provenTint  = color.NRGBA{0, 158, 115, 38}
)

var methodStyles = []lineStyle{
	{green, 1.6, nil, draw.SquareGlyph{}},
	{blue, 1.4, []vg.Length{2, 2}, draw.BoxGlyph{}},
	{purple, 1.4, []vg.Length{6, 2}, draw.PyramidGlyph{}},
	{orange, 1.4, []vg.Length{6, 2, 1.5, 2}, draw.PlusGlyph{}},
	{sky, 1.4, []vg.Length{3, 1.5, 1, 1.5, 1, 1.5}, draw.CrossGlyph{}},
}

// Names of the lines, in pictures and tables.
const (
	worstName   = "robust: worst case over attacks"
	unknownName = "unknown: neither broken nor proven"
)

// mostMarkers is the most points of a line that are marked one by one.
const mostMarkers = 16

// chart returns the panel and its legend.
func (l layer) chart(box report.Box) (*plot.Plot, plot.Legend) {
	axes := panel{norm: l.norm, largest: l.largest, series: []series{{points: l.robust}, {points: l.best}}}
	chart, legend := axes.frame(box)

	top := plotter.XYs{{X: 0, Y: 100 * l.clean.Value()}, {X: l.largest, Y: 100 * l.clean.Value()}}
	robust, best := stepsAbove(l.robust, l.largest), stepsBelow(l.best)
	fill := func(upper, lower plotter.XYs, tint color.NRGBA) *plotter.Polygon {
		back := slices.Clone(lower)
		slices.Reverse(back)
		p := &plotter.Polygon{XYs: []plotter.XYs{append(slices.Clone(upper), back...)}, Color: tint}
		chart.Add(p)
		return p
	}
	within := stepsAbove(l.robust, l.proven)
	floor := plotter.XYs{{X: 0, Y: 0}, {X: l.proven, Y: 0}}
	if l.attacked {
		fill(top, robust, brokenTint)
	}
	unknown := fill(within, best, unknownTint)
	fill(best, floor, provenTint)

	add := func(name string, xys plotter.XYs, style lineStyle, points []point) {
		line := &plotter.Line{XYs: xys, LineStyle: draw.LineStyle{Color: style.color, Width: style.width, Dashes: style.dashes}}
		markers := &plotter.Scatter{GlyphStyle: draw.GlyphStyle{Color: style.color, Radius: 2.6, Shape: style.glyph}}
		measured := 0
		for _, pt := range points {
			if pt.measured {
				markers.XYs = append(markers.XYs, plotter.XY{X: pt.radius, Y: 100 * pt.rate.Value()})
				measured++
			}
		}
		if measured == 0 || measured > mostMarkers {
			chart.Add(line)
			legend.Add(name, line)
			return
		}
		chart.Add(line, markers)
		legend.Add(name, line, markers)
	}
	add(fmt.Sprintf("clean accuracy, %v", l.clean), top, lineStyle{color: darkGray, width: 1, dashes: []vg.Length{1, 2}}, nil)
	if l.attacked {
		add(worstName, robust, lineStyle{vermillion, 2, nil, draw.CircleGlyph{}}, l.robust)
	}
	legend.Add(unknownName, unknown)
	for k, m := range l.methods {
		add("certified: "+m.name, stepsBelow(m.points), methodStyles[k%len(methodStyles)], m.points)
	}
	if l.attacked {
		chart.Add(word{"broken", top, robust, nil})
	}
	var each []plotter.XYs
	for _, m := range l.methods {
		each = append(each, stepsBelow(m.points))
	}
	chart.Add(word{"unknown", within, best, nil}, word{"proven", best, floor, each})
	return chart, legend
}

// heading says above a panel what it is of.
func (l layer) heading() []string {
	lines := []string{oneLine(l.report.Classifier), fmt.Sprintf("in %v", l.norm)}
	if a := l.report.Abstained(); a.Count > 0 {
		lines[1] += fmt.Sprintf("; abstains on %d of %d", a.Count, a.Of)
	}
	return lines
}

// sandwichTable has the numbers.
func sandwichTable(layers []layer) *Table {
	var names []string
	for _, l := range layers {
		for _, m := range l.methods {
			if !slices.Contains(names, m.name) {
				names = append(names, m.name)
			}
		}
	}
	header := []string{"classifier", "norm", "ε", "clean", "robust", "95 % interval"}
	header = append(header, names...)
	header = append(header, "certified by any", "95 % interval", "unknown")
	t := NewTable(header...)
	for _, l := range layers {
		radii := append([]float64{}, l.radii...)
		step := (len(radii) + mostMarkers - 1) / mostMarkers
		for k, radius := range radii {
			budget := slices.ContainsFunc(l.report.Attacks, func(a report.AttackRow) bool {
				return a.Norm == l.norm && !a.Targeted && float64(a.Radius) == radius
			})
			if (len(radii)-1-k)%step != 0 && !budget {
				continue // a line of many points needs no row for each: the last one is there
			}
			ball := report.Ball{Norm: l.norm, Radius: radius}
			robust := l.report.Robust(ball)
			row := []any{oneLine(l.report.Classifier), l.norm, fmt.Sprintf("%.6g", radius), l.clean, robust, robust.Interval()}
			if !l.attacked {
				row[4], row[5] = "not attacked", ""
			}
			for _, name := range names {
				at := slices.IndexFunc(l.methods, func(m method) bool { return m.name == name })
				cell := ""
				if at >= 0 {
					if k := slices.IndexFunc(l.methods[at].points, func(pt point) bool { return pt.radius == radius }); k >= 0 {
						cell = l.methods[at].points[k].rate.String()
					}
				}
				row = append(row, cell)
			}
			if best, asked := l.report.Certified(ball); asked {
				row = append(row, best, best.Interval(), advlib.Rate{Count: robust.Count - best.Count, Of: robust.Of})
			}
			t.Add(row...)
		}
	}
	return t
}

// describeSandwich says in words and numbers what the picture shows.
func describeSandwich(unions []*advlib.Report, layers []layer) (title, caption string) {
	names := make([]string, len(unions))
	for i, r := range unions {
		names[i] = oneLine(r.Classifier)
	}
	title = fmt.Sprintf("Certified ≤ robust ≤ clean accuracy against ε: %s on %s, %d examples", strings.Join(names, ", "),
		oneLine(unions[0].Data), len(unions[0].Label))
	caption = sandwichTable(layers).String()
	for _, l := range layers {
		if a := l.report.Abstained(); a.Count > 0 {
			line := fmt.Sprintf("%s abstains on %d of %d examples, which count as wrong\n", oneLine(l.report.Classifier), a.Count, a.Of)
			if !strings.Contains(caption, line) {
				caption += line
			}
		}
	}
	for _, w := range warningsOf(unions) {
		caption = strings.TrimRight(caption, "\n") + "\nwarning: " + w
	}
	return title, caption
}

func drawSandwich(unions []*advlib.Report, layers []layer) (Picture, error) {
	title, caption := describeSandwich(unions, layers)
	const plotHeight = 220
	const most = 3 // panels in a row
	columns := min(len(layers), most)
	rows := (len(layers) + columns - 1) / columns
	var each, legend vg.Length = 320, 0
	for _, l := range layers {
		legend = max(legend, vg.Length(len(l.methods)+3)*12)
		for _, m := range l.methods {
			each = max(each, sans(8.5, black).Width("certified: "+m.name)+100)
		}
	}
	const note = "steps: what is certified holds in smaller balls, what is broken in larger ones; the true robust " +
		"accuracy lies in the part “unknown”"
	width := vg.Length(columns)*each + 2*margin
	const loose = 0.86 // of the width: readers' fonts may be wider than ours
	notes := wrapped(sans(8, darkGray), note, loose*(width-2*margin))
	calm := len(notes)
	headline := wrapped(bold(sans(10, black)), fmt.Sprintf("Robust accuracy on %s, %d examples", oneLine(unions[0].Data),
		len(unions[0].Label)), loose*(width-2*margin))
	for _, w := range warningsOf(unions) {
		notes = append(notes, wrapped(sans(8, vermillion), "warning: "+w, loose*(width-2*margin))...)
	}
	head := vg.Length(len(headline)+len(notes))*lineHeight + 6
	rowHeight := plotHeight + legend + 8 + 2*lineHeight + 6
	height := 2*margin + head + vg.Length(rows)*rowHeight
	return newPicture(title, caption, width, height, func(c draw.Canvas, _ int) {
		s := bold(sans(10, black))
		s.YAlign = draw.YTop
		for k, line := range headline {
			c.FillText(s, vg.Point{X: margin, Y: height - margin - vg.Length(k)*lineHeight}, fit(s, line, width-2*margin))
		}
		s = sans(8, darkGray)
		s.YAlign = draw.YTop
		for k, line := range notes {
			if k == calm {
				s.Color = vermillion
			}
			c.FillText(s, vg.Point{X: margin, Y: height - margin - vg.Length(len(headline)+k)*lineHeight - 3}, line)
		}
		for i, l := range layers {
			left := margin + vg.Length(i%columns)*each
			bottom := margin + vg.Length(rows-1-i/columns)*rowHeight
			chart, keys := l.chart(unions[0].Box)
			h := bold(sans(9, black))
			for k, line := range l.heading() {
				h.YAlign = draw.YTop
				c.FillText(h, vg.Point{X: left + 34, Y: bottom + rowHeight - vg.Length(k)*lineHeight}, fit(h, line, loose*(each-44)))
				h = sans(8.5, black)
			}
			chart.Draw(canvasPart(c, left, bottom+legend+8, left+each-10, bottom+legend+8+plotHeight))
			keys.Draw(canvasPart(c, left+34, bottom, left+each-10, bottom+legend))
		}
	})
}

// warningsOf are what the reports say about their set-up, such as an ε that was meant in other units.
func warningsOf(unions []*advlib.Report) (all []string) {
	for _, r := range unions {
		for _, w := range r.Warnings {
			if w = oneLine(w); !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
	}
	return all
}
