package show

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot"

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
// Of a cascade, which is what Evaluate does by default, there is the worst case only: what each attack would do alone
// is not known. To compare attacks, evaluate with [advlib.Settings].Alone.
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
	for _, norm := range normsOf(unions) {
		if p, ok := newPanel(unions, norm); ok {
			panels = append(panels, p)
		}
	}
	if len(panels) == 0 {
		return Picture{}, errors.New("no report has an untargeted attack or a certificate with a radius above 0: there is " +
			"nothing to draw against ε")
	}
	return drawPanels(unions, panels)
}

// normsOf are the names of the norms that reports have numbers in.
func normsOf(unions []*advlib.Report) []string {
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
			return nil, fmt.Errorf("the reports of %s are of different examples or predictions, so no worst case over them "+
				"exists: evaluate on the same examples, or merge parts by Report.Merge first", r.Classifier)
		}
		u.Cascade = u.Cascade || r.Cascade
		u.Attacks = append(u.Attacks, r.Attacks...)
		u.Certificates = append(u.Certificates, r.Certificates...)
		u.Warnings = append(slices.Clone(u.Warnings), r.Warnings...)
	}
	return unions, nil
}

// describe says in words and numbers what the panels show.
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
	note := "shades: 95 % intervals (Wilson)"
	names := make([][]string, len(panels))
	for i, p := range panels {
		for _, s := range p.series {
			names[i] = append(names[i], s.name)
		}
		if slices.ContainsFunc(p.series, func(s series) bool { return strings.Contains(s.name, "certified (") }) {
			note = "shades: 95 % intervals (Wilson); what lies between certified and worst case is unknown"
		}
	}
	return drawCharts(title, note, caption, names, func(i int) (*plot.Plot, plot.Legend) { return panels[i].plot(unions[0].Box) })
}
