package show

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib/training"
)

// Learning draws what a training's validation has measured, epoch by epoch: clean accuracy and, where an attack
// measured it, robust accuracy. A ring marks the best, whose weights the model has.
//
//	trained, err := m.Train(ctx, examples)
//	show.Display(show.Learning(trained.Record))
func Learning(r training.Record) (Picture, error) {
	if len(r.Epochs) == 0 {
		return Picture{}, errors.New("show: learning: nothing was measured: give the model a Validation")
	}
	// The epoch stands first: of a name that is too long for the picture, the end is cut.
	title := fmt.Sprintf("Learning, epoch %d of %d: %s", r.Epochs[len(r.Epochs)-1].Number, r.Planned, oneLine(r.Name))
	note := "accuracy on validation examples"
	if best, ok := r.Best(); ok {
		note += fmt.Sprintf("; the best is epoch %d (ring)", best.Number)
	}
	if r.Stopped != "" {
		note += "; stopped: " + oneLine(r.Stopped)
	}
	t := NewTable("epoch", "loss", "clean", "robust", "")
	lines := []*learned{{name: "clean accuracy", style: worstStyles[2]}, {name: "robust accuracy", style: worstStyles[1]}}
	for _, e := range r.Epochs {
		robust, mark := any("–"), ""
		if e.Robust >= 0 {
			robust = fmt.Sprintf("%.1f %%", 100*e.Robust)
			lines[1].add(e, e.Robust)
		}
		if e.Best {
			mark = "best so far"
		}
		lines[0].add(e, e.Clean)
		t.Add(e.Number, fmt.Sprintf("%.3g", e.Loss), fmt.Sprintf("%.1f %%", 100*e.Clean), robust, mark)
	}
	if len(lines[1].points) == 0 {
		lines = lines[:1]
	}
	var names []string
	for _, l := range lines {
		names = append(names, l.name)
	}
	return drawCharts(title, note, t.String(), [][]string{names}, func(int) (*plot.Plot, plot.Legend) {
		return plotLearning(lines, max(r.Planned, r.Epochs[len(r.Epochs)-1].Number))
	})
}

// learned is a line of the picture; best is the point with the ring.
type learned struct {
	name   string
	style  lineStyle
	points plotter.XYs
	best   plotter.XYs
}

func (l *learned) add(e training.Epoch, accuracy float64) {
	l.points = append(l.points, plotter.XY{X: float64(e.Number), Y: 100 * accuracy})
	if e.Best {
		l.best = l.points[len(l.points)-1:]
	}
}

func plotLearning(lines []*learned, epochs int) (*plot.Plot, plot.Legend) {
	chart, legend := plot.New(), newLegend()
	axis(&chart.X, "epochs")
	axis(&chart.Y, "accuracy (%)")
	chart.X.Min, chart.X.Max, chart.X.Tick.Marker = 0, float64(epochs), wholeTicks(epochs)
	chart.Y.Min, chart.Y.Max, chart.Y.Tick.Marker = 0, 100, percentTicks
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = lightGray, lightGray
	grid.Vertical.Width, grid.Horizontal.Width = 0.5, 0.5
	chart.Add(grid)
	for _, l := range lines {
		line := &plotter.Line{XYs: l.points, LineStyle: draw.LineStyle{Color: l.style.color, Width: 1.6, Dashes: l.style.dashes}}
		marks := &plotter.Scatter{XYs: l.points, GlyphStyle: draw.GlyphStyle{Color: l.style.color, Radius: 1.8, Shape: l.style.glyph}}
		ring := &plotter.Scatter{XYs: l.best, GlyphStyle: draw.GlyphStyle{Color: l.style.color, Radius: vg.Length(5), Shape: draw.RingGlyph{}}}
		chart.Add(line, marks, ring)
		legend.Add(l.name, line, marks)
	}
	return chart, legend
}

// wholeTicks are round numbers up to the largest, none of them between two whole ones.
func wholeTicks(largest int) plot.ConstantTicks {
	if largest >= 3 {
		ticks := roundTicks(float64(largest))
		for _, t := range ticks {
			if t.Value != math.Trunc(t.Value) {
				ticks = nil
				break
			}
		}
		if ticks != nil {
			return ticks
		}
	}
	var ticks plot.ConstantTicks
	for k := range largest + 1 {
		ticks = append(ticks, plot.Tick{Value: float64(k), Label: fmt.Sprint(k)})
	}
	return ticks
}

// Training returns what draws a training while it runs, for [training.Model].OnEpoch: in a notebook one picture that
// changes in place. Elsewhere it draws nothing, for there the training itself writes a line for each measurement.
//
//	m := zoo.CNN()
//	m.OnEpoch = show.Training()
func Training() func(training.Record) {
	if !gonbui.IsNotebook {
		return func(training.Record) {}
	}
	id := "training-" + gonbui.UniqueId()
	l := &live{now: time.Now, draw: func(p Picture, done bool) {
		display(p, id)
		if done {
			flush()
		}
	}}
	return l.update
}

// live draws a training, not more often than is of use, and always the end.
type live struct {
	mu   sync.Mutex
	last time.Time
	now  func() time.Time
	draw func(p Picture, done bool)
}

func (l *live) update(r training.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); r.Done || now.Sub(l.last) >= pause {
		p, err := Learning(r)
		if err != nil {
			fmt.Fprintln(os.Stderr, err) // what cannot be drawn must not stop the training
			return
		}
		l.last = now
		l.draw(p, r.Done)
	}
}
