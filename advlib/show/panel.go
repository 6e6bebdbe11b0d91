package show

import (
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib"
	"advlab/advlib/report"
)

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
			p.series = append(p.series, series{name: prefix + "certified (" + strings.Join(methodsOf(r, norm), ", ") + ")",
				style: certified, points: points, band: true})
		}
		if len(unions) > 1 || r.Cascade {
			continue
		}
		// Last, so that they are drawn on the wide line of the worst case, which often is one of them.
		for k, family := range familiesOf(r, norm) {
			p.series = append(p.series, series{name: oneLine(family.name), style: attackStyles[k%len(attackStyles)],
				points: p.robust(family.alone(r))})
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

// certified returns the certified accuracy at the radii of r's certificates, or nil if there are none. At radius 0 it
// is the clean accuracy: nothing may change.
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

// methodsOf are the names of the certifiers that were asked in a norm.
func methodsOf(r *advlib.Report, norm string) []string {
	names := r.Methods(norm)
	for i, name := range names {
		names[i] = oneLine(name)
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
			for _, ball := range []string{report.Ball{Norm: norm, Radius: float64(a.Radius)}.String(),
				fmt.Sprintf("%s ≤ %.6g", norm, float64(a.Radius))} {
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
