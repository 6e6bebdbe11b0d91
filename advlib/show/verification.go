package show

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib/report"
)

// Verifier is what says whether two things are of the same person, by a score: those of pairs of the same person, and
// of others, and the threshold from which on it accepts.
type Verifier struct {
	Name              string
	Genuine, Impostor []float64
	Threshold         float64
}

// Verification draws the receiver operating characteristic of verifiers: what share of the genuine each accepts, at
// each share of impostors that it accepts, on a logarithmic axis, for a door that lets in every tenth is no door. A
// ring marks the threshold.
//
//	s, err := door.Scores(test)
//	v := show.Verifier{Name: "door", Genuine: s.Genuine, Impostor: s.Impostor, Threshold: door.Threshold}
//	show.Display(show.Verification(v))
func Verification(verifiers ...Verifier) (Picture, error) {
	if len(verifiers) == 0 {
		return Picture{}, errors.New("show: verification: there is no verifier: give at least one")
	}
	table := NewTable("verifier", "AUC", "95 % interval", "threshold", "impostors accepted", "genuine accepted")
	var names []string
	least := 1. // of a hundred
	curves := make([]plotter.XYs, len(verifiers))
	marks := make([]plotter.XYs, len(verifiers))
	for k, v := range verifiers {
		roc, err := report.NewROC(v.Impostor, v.Genuine)
		if err != nil {
			return Picture{}, fmt.Errorf("show: verification: %s: %d impostors and %d genuine: %w", v.Name, len(v.Impostor), len(v.Genuine), err)
		}
		accepted := func(scores []float64) report.Rate {
			r := report.Rate{Of: len(scores)}
			for _, s := range scores {
				if s >= v.Threshold {
					r.Count++
				}
			}
			return r
		}
		impostors, genuine := accepted(v.Impostor), accepted(v.Genuine)
		area, lo, hi := roc.AUC()
		table.Add(v.Name, fmt.Sprintf("%.4f", area), fmt.Sprintf("[%.4f, %.4f]", lo, hi), fmt.Sprintf("%.3f", v.Threshold), impostors.Fine(),
			genuine)
		names = append(names, oneLine(v.Name))
		for _, p := range roc.Points() {
			curves[k] = append(curves[k], plotter.XY{X: 100 * p.FPR, Y: 100 * p.TPR})
		}
		marks[k] = plotter.XYs{{X: 100 * impostors.Value(), Y: 100 * genuine.Value()}}
		least = min(least, 100/float64(len(v.Impostor)))
	}
	least = math.Pow(10, math.Floor(math.Log10(least)))
	for k := range curves { // where no impostor is accepted there is no logarithm: that is the left edge
		for _, line := range []plotter.XYs{curves[k], marks[k]} {
			for i := range line {
				line[i].X = max(line[i].X, least)
			}
		}
	}
	title, note := "Who is accepted, against the wrong ones who are", "at the left edge: none of the impostors; a ring marks the threshold"
	return drawCharts(title, note, table.String(), [][]string{names}, func(int) (*plot.Plot, plot.Legend) {
		return verificationChart(names, curves, marks, least)
	})
}

func verificationChart(names []string, curves, marks []plotter.XYs, least float64) (*plot.Plot, plot.Legend) {
	chart, legend := plot.New(), newLegend()
	axis(&chart.X, "impostors accepted (%)")
	axis(&chart.Y, "genuine accepted (%)")
	chart.X.Scale = plot.LogScale{}
	chart.X.Min, chart.X.Max = least, 100
	var ticks plot.ConstantTicks
	for at := least; at < 101; at *= 10 {
		ticks = append(ticks, plot.Tick{Value: at, Label: fmt.Sprintf("%.3g", at)})
	}
	chart.X.Tick.Marker = ticks
	chart.Y.Min, chart.Y.Max, chart.Y.Tick.Marker = 0, 100, percentTicks
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = lightGray, lightGray
	grid.Vertical.Width, grid.Horizontal.Width = 0.5, 0.5
	chart.Add(grid)
	for k := range curves {
		style := attackStyles[k%len(attackStyles)]
		line := &plotter.Line{XYs: curves[k], LineStyle: draw.LineStyle{Color: style.color, Width: 1.6, Dashes: style.dashes}}
		ring := &plotter.Scatter{XYs: marks[k], GlyphStyle: draw.GlyphStyle{Color: style.color, Radius: 4, Shape: draw.RingGlyph{}}}
		chart.Add(line, ring)
		legend.Add(names[k], line)
	}
	return chart, legend
}
