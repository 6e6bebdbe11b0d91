package show

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib"
	"advlab/advlib/report"
)

// Curve draws accuracy against the radius ε, one panel for each norm: under each attack, in the worst case over
// attacks example by example, and certified, all from the clean accuracy at ε = 0. Shades are 95 % intervals of
// Wilson. What lies between the certified and the worst-case line is unknown.
//
// The points of a curve come from one report with attacks of several radii, from one report for each radius, or from
// attacks of minimal norm, which have a point at every distance that they found. Reports of one classifier must be of
// the same examples, so that the worst case never rises with ε; reports of several classifiers, on the same data,
// are drawn together, without single attacks.
//
// Of a cascade, which is what Evaluate does by default, there is the worst case only: what each attack would do alone is
// not known. To compare attacks, evaluate with [advlib.Settings].Alone.
func Curve(reports ...*advlib.Report) (Picture, error) {
	p, err := curve(reports)
	if err != nil {
		return Picture{}, fmt.Errorf("show: curve: %w", err)
	}
	return p, nil
}

func curve(reports []*advlib.Report) (Picture, error) {
	unions, err := unite(reports)
	if err != nil {
		return Picture{}, err
	}
	var panels []panel
	for _, norm := range norms(unions) {
		if p, ok := newPanel(unions, norm); ok {
			panels = append(panels, p)
		}
	}
	if len(panels) == 0 {
		return Picture{}, errors.New("no report has an untargeted attack or a certificate with a radius above 0: there is nothing to draw against ε")
	}
	return drawPanels(unions, panels)
}

// norms are the names of the norms that reports have numbers in.
func norms(unions []*advlib.Report) []string {
	var all report.Report
	for _, r := range unions {
		all.Attacks, all.Certificates = append(all.Attacks, r.Attacks...), append(all.Certificates, r.Certificates...)
	}
	return all.Norms()
}

// unite puts the attacks and certificates of reports on the same classifier together.
func unite(reports []*advlib.Report) ([]*advlib.Report, error) {
	if len(reports) == 0 {
		return nil, errors.New("there are no reports: give at least one")
	}
	var unions []*advlib.Report
	for i, r := range reports {
		if r == nil || len(r.Label) == 0 {
			return nil, fmt.Errorf("report %d is empty", i)
		}
		if r.Data != reports[0].Data || r.Box != reports[0].Box {
			return nil, fmt.Errorf("reports on %s in %v and on %s in %v have no common axis", reports[0].Data, reports[0].Box, r.Data, r.Box)
		}
		at := slices.IndexFunc(unions, func(u *advlib.Report) bool { return u.Classifier == r.Classifier })
		if at < 0 {
			union := *r
			union.Attacks, union.Certificates = slices.Clone(r.Attacks), slices.Clone(r.Certificates)
			unions = append(unions, &union)
			continue
		}
		u := unions[at]
		if !slices.Equal(u.Index, r.Index) || !slices.Equal(u.Label, r.Label) || !slices.Equal(u.Predicted, r.Predicted) {
			return nil, fmt.Errorf("the reports of %s are of different examples or predictions, so no worst case over them exists: evaluate on the same examples, or merge parts by Report.Merge first", r.Classifier)
		}
		u.Cascade = u.Cascade || r.Cascade
		u.Attacks = append(u.Attacks, r.Attacks...)
		u.Certificates = append(u.Certificates, r.Certificates...)
		u.Warnings = append(slices.Clone(u.Warnings), r.Warnings...)
	}
	return unions, nil
}

// point is an accuracy at a radius. Measured points get a marker; those between only shape the line.
type point struct {
	radius   float64
	rate     advlib.Rate
	measured bool
}

// series is a line of a panel.
type series struct {
	name   string
	points []point
	style  lineStyle
	band   bool
}

// lineStyle tells lines apart by colour, by dashes, and by markers.
type lineStyle struct {
	color  color.NRGBA
	width  vg.Length
	dashes []vg.Length
	glyph  draw.GlyphDrawer
}

var (
	// One colour for each classifier; the certified line of several is dashed in the same colour, of one it is green.
	worstStyles = []lineStyle{
		{black, 2.4, nil, draw.CircleGlyph{}},
		{vermillion, 2.4, nil, draw.CircleGlyph{}},
		{blue, 2.4, nil, draw.CircleGlyph{}},
		{purple, 2.4, nil, draw.CircleGlyph{}},
	}
	attackStyles = []lineStyle{
		{vermillion, 1.1, []vg.Length{4, 2}, draw.TriangleGlyph{}},
		{blue, 1.1, []vg.Length{1.5, 1.5}, draw.BoxGlyph{}},
		{purple, 1.1, []vg.Length{6, 2, 1.5, 2}, draw.PyramidGlyph{}},
		{orange, 1.1, []vg.Length{3, 1.5, 1, 1.5, 1, 1.5}, draw.PlusGlyph{}},
		{sky, 1.1, []vg.Length{8, 3}, draw.CrossGlyph{}},
		{gray, 1.1, []vg.Length{2, 3}, draw.RingGlyph{}},
	}
)

// panel is the lines of one norm.
type panel struct {
	norm    string
	largest float64 // radius
	series  []series
}

// newPanel collects the lines of a norm, and whether there are any.
func newPanel(unions []*advlib.Report, norm string) (panel, bool) {
	p := panel{norm: norm}
	var budgets, found []float64
	for _, r := range unions {
		for _, a := range r.Attacks {
			if a.Norm != norm || a.Targeted {
				continue
			}
			if !a.Minimal() {
				budgets = append(budgets, float64(a.Radius))
				continue
			}
			for i, d := range a.Distance {
				if a.Success[i] && d > 0 {
					found = append(found, float64(d))
				}
			}
		}
		for _, c := range r.Certificates {
			if c.Norm == norm {
				budgets = append(budgets, c.Radius)
			}
		}
	}
	budgets, found = distinct(budgets), distinct(found)
	switch {
	case len(budgets) > 0 && budgets[len(budgets)-1] > 0:
		p.largest = budgets[len(budgets)-1]
	case len(found) > 0:
		p.largest = found[len(found)-1]
	default:
		return panel{}, false
	}

	for i, r := range unions {
		worst := worstStyles[i%len(worstStyles)]
		certified := lineStyle{green, 1.5, []vg.Length{6, 2}, draw.SquareGlyph{}}
		prefix := ""
		if len(unions) > 1 {
			prefix, certified.color = oneLine(r.Classifier)+": ", worst.color
		}
		if slices.ContainsFunc(r.Attacks, func(a report.AttackRow) bool { return a.Norm == norm && !a.Targeted }) {
			p.series = append(p.series, series{name: prefix + "worst case over attacks", style: worst, points: p.robust(r), band: true})
		}
		if points := p.certified(r); points != nil {
			p.series = append(p.series, series{name: prefix + "certified (" + strings.Join(methods(r, norm), ", ") + ")", style: certified, points: points, band: true})
		}
		if len(unions) > 1 || r.Cascade {
			continue
		}
		// Last, so that they are drawn on the wide line of the worst case, which often is one of them.
		for k, family := range familiesOf(r, norm) {
			p.series = append(p.series, series{name: oneLine(family.name), style: attackStyles[k%len(attackStyles)], points: p.robust(family.alone(r))})
		}
	}
	return p, true
}

// robust returns the accuracy under all untargeted attacks of r in the panel's norm: measured points at the budgets of
// these attacks, and points in between at each distance that an attack of minimal norm found. It never rises with
// the radius, because Report.Robust counts every adversarial example within it.
func (p panel) robust(r *advlib.Report) []point {
	points := []point{{0, r.Clean(), true}}
	var measured, between []float64
	minimal := false
	for _, a := range r.Attacks {
		if a.Norm != p.norm || a.Targeted {
			continue
		}
		if !a.Minimal() {
			measured = append(measured, float64(a.Radius))
			continue
		}
		minimal = true
		for i, d := range a.Distance {
			if a.Success[i] && d > 0 && float64(d) <= p.largest {
				between = append(between, float64(d))
			}
		}
	}
	for _, c := range r.Certificates { // counterexamples that were found beside proofs
		if c.Norm == p.norm && len(c.Distance) > 0 {
			measured = append(measured, c.Radius)
			for _, d := range c.Distance {
				if d > 0 && float64(d) <= p.largest {
					between = append(between, float64(d))
				}
			}
		}
	}
	if minimal {
		between = append(between, p.largest)
	}
	measured = distinct(measured)
	for _, radius := range distinct(append(between, measured...)) {
		if radius > 0 {
			points = append(points, point{radius, r.Robust(report.Ball{Norm: p.norm, Radius: radius}), slices.Contains(measured, radius)})
		}
	}
	return points
}

// certified returns the certified accuracy at the radii of r's certificates, or nil if there are none. At radius 0 it is
// the clean accuracy: nothing may change.
func (p panel) certified(r *advlib.Report) []point {
	var radii []float64
	for _, c := range r.Certificates {
		if c.Norm == p.norm && c.Radius > 0 {
			radii = append(radii, c.Radius)
		}
	}
	if len(radii) == 0 {
		return nil
	}
	points := []point{{0, r.Clean(), true}}
	for _, radius := range distinct(radii) {
		rate, _ := r.Certified(report.Ball{Norm: p.norm, Radius: radius})
		points = append(points, point{radius, rate, true})
	}
	return points
}

func methods(r *advlib.Report, norm string) []string {
	var names []string
	for _, c := range r.Certificates {
		if c.Norm == norm && !slices.Contains(names, oneLine(c.Method)) {
			names = append(names, oneLine(c.Method))
		}
	}
	return names
}

// family is one attack at all its radii.
type family struct {
	name string
	rows []report.AttackRow
}

// familiesOf groups the untargeted attacks in a norm by their names without the ball.
func familiesOf(r *advlib.Report, norm string) []family {
	var families []family
	for _, a := range r.Attacks {
		if a.Norm != norm || a.Targeted {
			continue
		}
		name := a.Name
		if !a.Minimal() {
			// Reports that are older have decimals where balls are written as 8/255 now.
			for _, ball := range []string{report.Ball{Norm: norm, Radius: float64(a.Radius)}.String(), fmt.Sprintf("%s ≤ %.6g", norm, float64(a.Radius))} {
				name = strings.Join(strings.Fields(strings.Replace(name, ball, "", 1)), " ")
			}
			name = strings.TrimSuffix(strings.NewReplacer("()", "", " ,", ",").Replace(name), ",")
		}
		if name == "" {
			name = a.Name
		}
		at := slices.IndexFunc(families, func(f family) bool { return f.name == name })
		if at < 0 {
			at = len(families)
			families = append(families, family{name: name})
		}
		families[at].rows = append(families[at].rows, a)
	}
	return families
}

// alone is the report with this family's attacks only.
func (f family) alone(r *advlib.Report) *advlib.Report {
	alone := *r
	alone.Attacks, alone.Certificates = f.rows, nil
	return &alone
}

func distinct(v []float64) []float64 {
	slices.Sort(v)
	return slices.Compact(v)
}

// title and caption say in words and numbers what the panels show.
func describe(unions []*advlib.Report, panels []panel) (title, caption string) {
	names := make([]string, len(unions))
	for i, r := range unions {
		names[i] = oneLine(r.Classifier)
	}
	n := fmt.Sprintf("%d examples", len(unions[0].Label))
	for _, r := range unions[1:] {
		if len(r.Label) != len(unions[0].Label) {
			n = "not all on the same number of examples"
		}
	}
	title = fmt.Sprintf("Accuracy against ε: %s on %s, %s", strings.Join(names, ", "), oneLine(unions[0].Data), n)
	t := NewTable("norm", "line", "ε", "accuracy", "95 % interval")
	for _, p := range panels {
		for _, s := range p.series {
			for _, pt := range s.points {
				// An attack of minimal norm has a point for each example: the last one says enough.
				if pt.measured || pt.radius == p.largest {
					t.Add(p.norm, s.name, fmt.Sprintf("%.6g", pt.radius), pt.rate, pt.rate.Interval())
				}
			}
		}
	}
	return title, t.String()
}

func drawPanels(unions []*advlib.Report, panels []panel) (Picture, error) {
	title, caption := describe(unions, panels)
	const plotWidth, plotHeight = 300, 230 // points
	legendHeight := func(p panel) vg.Length { return vg.Length(len(p.series)) * 12 }
	var deepest vg.Length
	for _, p := range panels {
		deepest = max(deepest, legendHeight(p))
	}
	width := vg.Length(len(panels)*plotWidth) + 2*margin
	for _, p := range panels {
		for _, s := range p.series {
			width = max(width, vg.Length(len(panels))*(sans(8.5, black).Width(s.name)+70)+2*margin)
		}
	}
	note := "shades: 95 % intervals (Wilson)"
	for _, p := range panels {
		if slices.ContainsFunc(p.series, func(s series) bool { return strings.Contains(s.name, "certified (") }) {
			note = "shades: 95 % intervals (Wilson); what lies between certified and worst case is unknown"
		}
	}
	width = max(width, sans(8, black).Width(note)+2*margin)
	const head = 2*lineHeight + 10
	height := 2*margin + head + plotHeight + 8 + deepest
	return newPicture(title, caption, width, height, func(c draw.Canvas, _ int) {
		s := bold(sans(10, black))
		s.YAlign = draw.YTop
		c.FillText(s, vg.Point{X: margin, Y: height - margin}, fit(s, title, width-2*margin))
		s = sans(8, darkGray)
		s.YAlign = draw.YTop
		c.FillText(s, vg.Point{X: margin, Y: height - margin - lineHeight - 3}, note)
		each := (width - 2*margin) / vg.Length(len(panels))
		for i, p := range panels {
			left := margin + vg.Length(i)*each
			chart, legend := p.plot(unions[0].Box)
			chart.Draw(at(c, left, margin+deepest+8, left+each-10, margin+deepest+8+plotHeight))
			legend.Draw(at(c, left+44, margin, left+each-10, margin+deepest))
		}
	})
}

// at is a part of a canvas.
func at(c draw.Canvas, x0, y0, x1, y1 vg.Length) draw.Canvas {
	return draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: x0, Y: y0}, Max: vg.Point{X: x1, Y: y1}}}
}

// newLegend returns an empty legend, which is drawn below a chart.
func newLegend() plot.Legend {
	legend := plot.NewLegend()
	legend.TextStyle = sans(8.5, black)
	legend.Left, legend.Top = true, true
	legend.ThumbnailWidth = 34
	legend.Padding = 2
	return legend
}

// axis styles an axis.
func axis(a *plot.Axis, label string) {
	a.Label.Text, a.Label.Padding, a.Padding, a.Tick.Length = label, 4, 4, 4
	a.Color, a.Tick.Color = darkGray, darkGray
	style := func(to *draw.TextStyle, size vg.Length) {
		s := sans(size, black)
		to.Font, to.Handler = s.Font, s.Handler
	}
	style(&a.Label.TextStyle, 9)
	style(&a.Tick.Label, 8.5)
}

// frame returns the panel's chart without lines, and an empty legend, which is drawn below it so that it hides no line.
func (p panel) frame(box report.Box) (*plot.Plot, plot.Legend) {
	chart, legend := plot.New(), newLegend()
	axis(&chart.X, fmt.Sprintf("radius ε of the %v ball, in units of the box %v", p.norm, box))
	axis(&chart.Y, "accuracy (%)")
	chart.X.Min, chart.X.Max = 0, p.largest
	chart.Y.Min, chart.Y.Max = 0, 100
	chart.X.Tick.Marker, chart.Y.Tick.Marker = p.ticks(box), percentTicks

	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = lightGray, lightGray
	grid.Vertical.Width, grid.Horizontal.Width = 0.5, 0.5
	chart.Add(grid)
	return chart, legend
}

// plot returns the panel's chart and its legend.
func (p panel) plot(box report.Box) (*plot.Plot, plot.Legend) {
	chart, legend := p.frame(box)
	for _, s := range p.series {
		if s.band {
			chart.Add(s.wilson())
		}
	}
	for _, s := range p.series {
		line := &plotter.Line{XYs: s.line(), LineStyle: draw.LineStyle{Color: s.style.color, Width: s.style.width, Dashes: s.style.dashes}}
		markers := &plotter.Scatter{GlyphStyle: draw.GlyphStyle{Color: s.style.color, Radius: 2.6, Shape: s.style.glyph}}
		for _, pt := range s.points {
			if pt.measured {
				markers.XYs = append(markers.XYs, plotter.XY{X: pt.radius, Y: 100 * pt.rate.Value()})
			}
		}
		chart.Add(line, markers)
		legend.Add(s.name, line, markers)
	}
	return chart, legend
}

// line joins measured points. To a point that an attack of minimal norm found it goes as a step: nothing was found
// before.
func (s series) line() plotter.XYs {
	var xys plotter.XYs
	for i, pt := range s.points {
		y := 100 * pt.rate.Value()
		if i > 0 && !pt.measured {
			xys = append(xys, plotter.XY{X: pt.radius, Y: xys[len(xys)-1].Y})
		}
		xys = append(xys, plotter.XY{X: pt.radius, Y: y})
	}
	return xys
}

// wilson is the line's 95 % interval.
func (s series) wilson() *plotter.Polygon {
	var up, down plotter.XYs
	for i, pt := range s.points {
		lo, hi := pt.rate.Wilson()
		if i > 0 && !pt.measured {
			up = append(up, plotter.XY{X: pt.radius, Y: up[len(up)-1].Y})
			down = append(down, plotter.XY{X: pt.radius, Y: down[len(down)-1].Y})
		}
		up = append(up, plotter.XY{X: pt.radius, Y: 100 * hi})
		down = append(down, plotter.XY{X: pt.radius, Y: 100 * lo})
	}
	slices.Reverse(down)
	shade := s.style.color
	shade.A = 40
	return &plotter.Polygon{XYs: []plotter.XYs{append(up, down...)}, Color: shade}
}

var percentTicks = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 20, Label: "20"}, {Value: 40, Label: "40"}, {Value: 60, Label: "60"}, {Value: 80, Label: "80"}, {Value: 100, Label: "100"}}

// ticks of pixels' budgets are whole 255ths where all radii are.
func (p panel) ticks(box report.Box) plot.Ticker {
	steps, short := box == report.UnitBox && p.norm == report.Linf, true
	for _, s := range p.series {
		for _, pt := range s.points {
			k := pt.radius * 255
			steps = steps && (!pt.measured || math.Abs(k-math.Round(k)) < 1e-6)
			short = short && len(fmt.Sprint(pt.radius)) <= 6 // 0.2 was not meant as 51/255
		}
	}
	if !steps || short {
		return roundTicks(p.largest)
	}
	most := int(math.Round(p.largest * 255))
	step := 1
	for most/step > 5 {
		step *= 2
	}
	var ticks plot.ConstantTicks
	for k := 0; k <= most; k += step {
		label := "0"
		if k > 0 {
			label = fmt.Sprintf("%d/255", k)
		}
		ticks = append(ticks, plot.Tick{Value: float64(k) / 255, Label: label})
	}
	return ticks
}

// roundTicks are 3 to 6 round numbers from 0.
func roundTicks(largest float64) plot.ConstantTicks {
	unit := math.Pow(10, math.Floor(math.Log10(largest)))
	var step float64
	for _, m := range []float64{1, 0.5, 0.2} {
		if step = m * unit; largest/step >= 2.5 {
			break
		}
	}
	if largest/step > 6 {
		step *= 2
	}
	var ticks plot.ConstantTicks
	for k := 0; float64(k)*step <= largest*(1+1e-9); k++ {
		ticks = append(ticks, plot.Tick{Value: float64(k) * step, Label: fmt.Sprintf("%.6g", float64(k)*step)})
	}
	return ticks
}
