package show

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib"
	"advlab/advlib/report"
)

// Detection draws what a detector of adversarial inputs sees, of a report on a victim that rejects, such as
// detect.Screened: at the left the receiver operating characteristic of each attack, at the right the scores of clean
// inputs, and of those that naive and adaptive attacks changed, with the threshold. Naive attacks are drawn in blue,
// those that know the detector in vermillion.
func Detection(r *advlib.Report) (Picture, error) {
	p, err := detection(r)
	if err != nil {
		return Picture{}, fmt.Errorf("show: detection: %w", err)
	}
	return p, nil
}

func detection(r *advlib.Report) (Picture, error) {
	if r == nil || r.Rejection == nil {
		return Picture{}, errors.New("the report is on no victim that rejects: evaluate what detect.Screen returns")
	}
	bars, ok := r.Scores()
	if !ok {
		return Picture{}, errors.New("the report has no score that is finite: there is nothing to draw")
	}
	table := NewTable("attack", "knows the detector", "class changed", "rejected of these", "AUC", "TPR at 5 % FPR")
	var rocs, scores []string
	for _, a := range r.Attacks {
		if a.Screened == nil {
			continue
		}
		changed, detected := r.Changed(a)
		auc, tpr := "none", "none"
		if c := r.ROC(a); c != nil {
			area, lo, hi := c.AUC()
			at, _ := c.TPR(0.05)
			auc, tpr = fmt.Sprintf("%.3f [%.3f, %.3f]", area, lo, hi), at.String()
			rocs = append(rocs, rocName(a, area))
		}
		knows := "no"
		if a.Screened.Adaptive {
			knows = "yes"
		}
		table.Add(a.Short(), knows, changed, detected, auc, tpr)
	}
	for _, k := range kinds(bars) {
		scores = append(scores, k.name)
	}
	title := fmt.Sprintf("What %s sees: %s on %s, %d examples", oneLine(r.Rejection.Detector), oneLine(r.Classifier), oneLine(r.Data),
		len(r.Label))
	note := fmt.Sprintf("rejected above a score of %.4g, set for %.4g %% of clean inputs; clean: %v rejected %s",
		float64(r.Rejection.Threshold), 100*r.Rejection.Rate, r.Rejected(), r.Rejected().Interval())
	return drawCharts(title, note, table.String(), [][]string{rocs, scores}, func(i int) (*plot.Plot, plot.Legend) {
		if i == 0 {
			return rocChart(r)
		}
		return scoreChart(bars, float64(r.Rejection.Threshold))
	})
}

// rocName is how a curve is called in the legend.
func rocName(a report.AttackRow, area float64) string {
	name := oneLine(a.Short())
	if first, _, several := strings.Cut(name, " ("); several { // one made of several, which are in the report
		name = fmt.Sprintf("%s, %s", first, a.Norm)
		if !a.Minimal() {
			name = fmt.Sprintf("%s, %v", first, report.Ball{Norm: a.Norm, Radius: float64(a.Radius)})
		}
	}
	return fmt.Sprintf("%s, AUC %.3f", name, area)
}

// rocChart draws the curves, and dotted that of chance.
func rocChart(r *advlib.Report) (*plot.Plot, plot.Legend) {
	chart, legend := plot.New(), newLegend()
	axis(&chart.X, "clean inputs rejected (%)")
	axis(&chart.Y, "adversarial inputs rejected (%)")
	chart.X.Min, chart.X.Max, chart.X.Tick.Marker = 0, 100, percentTicks
	chart.Y.Min, chart.Y.Max, chart.Y.Tick.Marker = 0, 100, percentTicks
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = lightGray, lightGray
	grid.Vertical.Width, grid.Horizontal.Width = 0.5, 0.5
	chance := &plotter.Line{XYs: plotter.XYs{{X: 0, Y: 0}, {X: 100, Y: 100}},
		LineStyle: draw.LineStyle{Color: gray, Width: 0.8, Dashes: []vg.Length{2, 3}}}
	chart.Add(grid, chance)
	drawn := map[bool]int{}
	for _, a := range r.Attacks {
		c := r.ROC(a)
		if c == nil {
			continue
		}
		style := draw.LineStyle{Color: blue, Width: 1.6}
		if a.Screened.Adaptive {
			style.Color = vermillion
		}
		if k := drawn[a.Screened.Adaptive]; k > 0 { // others of the same kind are dashed, each in its way
			style.Dashes = attackStyles[(k-1)%len(attackStyles)].dashes
		}
		drawn[a.Screened.Adaptive]++
		xys := plotter.XYs{{X: 0, Y: 0}}
		for _, p := range c.Points() {
			xys = append(xys, plotter.XY{X: 100 * p.FPR, Y: 100 * p.TPR})
		}
		line := &plotter.Line{XYs: xys, LineStyle: style}
		area, _, _ := c.AUC()
		chart.Add(line)
		legend.Add(rocName(a, area), line)
	}
	return chart, legend
}

// kind is a histogram with its name and colour.
type kind struct {
	name   string
	colour color.NRGBA
	shares []float64
}

// kinds are those that there are.
func kinds(b report.Bars) (all []kind) {
	for _, k := range []kind{{"clean", gray, b.Clean}, {"changed by naive attacks", blue, b.Naive},
		{"changed by adaptive attacks", vermillion, b.Adaptive}} {
		if k.shares != nil {
			all = append(all, k)
		}
	}
	return all
}

// scoreChart draws the histograms, one behind the other, and the threshold.
func scoreChart(b report.Bars, threshold float64) (*plot.Plot, plot.Legend) {
	chart, legend := plot.New(), newLegend()
	axis(&chart.X, "score (what lies outside is in the outermost bars)")
	axis(&chart.Y, "share of inputs (%)")
	chart.X.Min, chart.X.Max = b.Lo, b.Hi
	width := (b.Hi - b.Lo) / report.ScoreBins
	for _, k := range kinds(b) {
		outline := plotter.XYs{{X: b.Lo, Y: 0}}
		for i, v := range k.shares {
			x := b.Lo + float64(i)*width
			outline = append(outline, plotter.XY{X: x, Y: 100 * v}, plotter.XY{X: x + width, Y: 100 * v})
			chart.Y.Max = max(chart.Y.Max, 100*v)
		}
		outline = append(outline, plotter.XY{X: b.Hi, Y: 0})
		shade := color.NRGBA{k.colour.R, k.colour.G, k.colour.B, 48}
		line := &plotter.Line{XYs: outline, LineStyle: draw.LineStyle{Color: k.colour, Width: 1.2}}
		chart.Add(&plotter.Polygon{XYs: []plotter.XYs{outline}, Color: shade}, line)
		legend.Add(k.name, line)
	}
	chart.Y.Min, chart.Y.Tick.Marker = 0, roundTicks(chart.Y.Max)
	if !math.IsInf(threshold, 0) {
		chart.Add(&plotter.Line{XYs: plotter.XYs{{X: threshold, Y: 0}, {X: threshold, Y: chart.Y.Max}},
			LineStyle: draw.LineStyle{Color: black, Width: 1, Dashes: []vg.Length{2, 2}}})
	}
	return chart, legend
}
