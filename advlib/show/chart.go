package show

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib/report"
)

// canvasPart is a part of a canvas.
func canvasPart(c draw.Canvas, x0, y0, x1, y1 vg.Length) draw.Canvas {
	return draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: x0, Y: y0}, Max: vg.Point{X: x1, Y: y1}}}
}

// drawCharts draws charts side by side, each with its legend below it. For each chart there are the names in its
// legend.
func drawCharts(title, note, caption string, names [][]string, chart func(i int) (*plot.Plot, plot.Legend)) (Picture, error) {
	const plotWidth, plotHeight, widest = 300, 230, 640 // points; widest is how far a title widens a picture
	var deepest vg.Length
	width := vg.Length(len(names)*plotWidth) + 2*margin
	for _, list := range names {
		deepest = max(deepest, vg.Length(len(list))*12)
		for _, name := range list {
			width = max(width, vg.Length(len(names))*(sans(8.5, black).Width(name)+70)+2*margin)
		}
	}
	width = max(width, sans(8, black).Width(note)+2*margin, min(bold(sans(10, black)).Width(title)+2*margin, widest))
	const head = 2*lineHeight + 10
	height := 2*margin + head + plotHeight + 8 + deepest
	return newPicture(title, caption, width, height, func(c draw.Canvas, _ int) {
		s := bold(sans(10, black))
		s.YAlign = draw.YTop
		c.FillText(s, vg.Point{X: margin, Y: height - margin}, fit(s, title, width-2*margin))
		s = sans(8, darkGray)
		s.YAlign = draw.YTop
		c.FillText(s, vg.Point{X: margin, Y: height - margin - lineHeight - 3}, note)
		each := (width - 2*margin) / vg.Length(len(names))
		for i := range names {
			left := margin + vg.Length(i)*each
			chart, legend := chart(i)
			chart.Draw(canvasPart(c, left, margin+deepest+8, left+each-10, margin+deepest+8+plotHeight))
			legend.Draw(canvasPart(c, left+44, margin, left+each-10, margin+deepest))
		}
	})
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

var percentTicks = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 20, Label: "20"}, {Value: 40, Label: "40"},
	{Value: 60, Label: "60"}, {Value: 80, Label: "80"}, {Value: 100, Label: "100"}}

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
