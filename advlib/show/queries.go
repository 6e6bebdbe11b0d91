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
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib"
	"advlab/advlib/report"
)

// Queries draws how far attacks that only ask have come after so many queries for each example, on a logarithmic axis.
// Attacks of minimal norm have a panel for each norm: the median distance, and shaded what lies between the quantiles
// of 10 % and 90 %; a line begins where half of the examples have an adversarial one. Attacks in a ball have a panel
// for each ball: the share of the examples that is broken, with its 95 % interval. The reports are of the same
// examples, and may be of several victims, such as views of one model.
func Queries(reports ...*advlib.Report) (Picture, error) {
	p, err := queries(reports)
	if err != nil {
		return Picture{}, fmt.Errorf("show: queries: %w", err)
	}
	return p, nil
}

// asking is a panel of attacks that ask.
type asking struct {
	what    string // the axis
	minimal bool
	names   []string
	curves  [][]report.After
}

func queries(reports []*advlib.Report) (Picture, error) {
	if len(reports) == 0 {
		return Picture{}, errors.New("there are no reports: give at least one")
	}
	var panels []*asking
	var victims []string
	for i, r := range reports {
		if r == nil || len(r.Label) == 0 {
			return Picture{}, fmt.Errorf("report %d is empty", i)
		}
		if r.Data != reports[0].Data || !slices.Equal(r.Index, reports[0].Index) {
			return Picture{}, fmt.Errorf("the reports of %s and of %s are of different examples", reports[0].Classifier, r.Classifier)
		}
		victims = append(victims, oneLine(r.Classifier))
		for _, a := range r.Attacks {
			curve := a.Curve()
			if curve == nil {
				continue
			}
			name, what := oneLine(a.Name), "broken (%), "+report.Ball{Norm: a.Norm, Radius: float64(a.Radius)}.String()
			if a.Minimal() {
				what = a.Norm + " distance, median"
			}
			if len(reports) > 1 {
				name = oneLine(r.Classifier) + ": " + name
			}
			at := slices.IndexFunc(panels, func(p *asking) bool { return p.what == what })
			if at < 0 {
				at, panels = len(panels), append(panels, &asking{what: what, minimal: a.Minimal()})
			}
			panels[at].names, panels[at].curves = append(panels[at].names, name), append(panels[at].curves, curve)
		}
	}
	if len(panels) == 0 {
		return Picture{}, errors.New("no attack of the reports only asks: there are no queries to draw")
	}
	title := fmt.Sprintf("What queries buy: %s on %s, %d examples", strings.Join(victims, ", "), oneLine(reports[0].Data),
		len(reports[0].Label))
	names := make([][]string, len(panels))
	table := NewTable("panel", "line", "queries", "broken", "10 %", "median", "90 %")
	note := map[bool]string{}
	for i, p := range panels {
		names[i] = p.names
		note[p.minimal] = map[bool]string{true: "from the 10 % to the 90 % quantile of distances", false: "95 % intervals (Wilson)"}[p.minimal]
		for k, curve := range p.curves {
			for _, c := range curve {
				table.Add(p.what, p.names[k], c.Queries, c.Success, c.Low, c.Median, c.High)
			}
		}
	}
	both := note[true]
	if both != "" && note[false] != "" {
		both += ", or "
	}
	note[true] = "shades: " + both + note[false]
	return drawCharts(title, note[true], table.String(), names, func(i int) (*plot.Plot, plot.Legend) { return panels[i].plot() })
}

// plot returns the panel's chart and its legend.
func (p *asking) plot() (*plot.Plot, plot.Legend) {
	chart, legend := plot.New(), newLegend()
	axis(&chart.X, "queries for each example")
	axis(&chart.Y, p.what)
	least, most, highest := math.MaxInt, 0, 0.
	for _, curve := range p.curves {
		least, most = min(least, curve[0].Queries), max(most, curve[len(curve)-1].Queries)
		for _, c := range curve {
			if !math.IsInf(c.Median, 1) { // of what is farther the axis shows a part
				highest = max(highest, 1.25*c.Median)
			}
		}
	}
	chart.X.Scale, chart.X.Min, chart.X.Max = plot.LogScale{}, float64(least), float64(max(most, least+1))
	chart.X.Tick.Marker = decades(chart.X.Max)
	chart.Y.Min, chart.Y.Max, chart.Y.Tick.Marker = 0, 100, percentTicks
	if p.minimal && highest > 0 {
		chart.Y.Max, chart.Y.Tick.Marker = highest, roundTicks(highest)
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = lightGray, lightGray
	grid.Vertical.Width, grid.Horizontal.Width = 0.5, 0.5
	chart.Add(grid)
	for k, curve := range p.curves {
		style := attackStyles[k%len(attackStyles)]
		var line, up, down plotter.XYs
		for _, c := range curve {
			x, y, lo, hi := float64(c.Queries), c.Median, c.Low, c.High
			if !p.minimal {
				lo, hi = c.Success.Wilson()
				y, lo, hi = 100*c.Success.Value(), 100*lo, 100*hi
			}
			if math.IsInf(y, 1) || math.IsNaN(y) {
				continue
			}
			line = append(line, plotter.XY{X: x, Y: y})
			up, down = append(up, plotter.XY{X: x, Y: min(hi, chart.Y.Max)}), append(down, plotter.XY{X: x, Y: lo})
		}
		thumb := &plotter.Line{LineStyle: draw.LineStyle{Color: style.color, Width: 1.6, Dashes: style.dashes}}
		if len(line) > 0 {
			slices.Reverse(down)
			shade := color.NRGBA{style.color.R, style.color.G, style.color.B, 32}
			thumb.XYs = line
			markers := &plotter.Scatter{XYs: line, GlyphStyle: draw.GlyphStyle{Color: style.color, Radius: 2.4, Shape: style.glyph}}
			chart.Add(&plotter.Polygon{XYs: []plotter.XYs{append(up, down...)}, Color: shade}, thumb, markers)
		}
		legend.Add(p.names[k], thumb)
	}
	return chart, legend
}

// decades are the powers of ten, and ticks without a label between them.
func decades(largest float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for unit := 1.; unit <= largest; unit *= 10 {
		ticks = append(ticks, plot.Tick{Value: unit, Label: fmt.Sprintf("%.0f", unit)})
		for k := 2.; k < 10; k++ {
			ticks = append(ticks, plot.Tick{Value: k * unit})
		}
	}
	return ticks
}
