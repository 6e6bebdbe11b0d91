package show

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib"
)

// Layout says which examples a grid shows, and how. The zero value is a good one.
type Layout struct {
	// N is the largest number of examples; 0 means 8.
	N int
	// Rows are the positions of the examples to show, in this order; nil takes the first examples on which the attack
	// succeeded by changing something, then those on which it failed, then those misclassified from the start.
	Rows []int
	// Height and Width say how flat inputs of shape [h·w] or [h·w·3] are laid out; 0 takes them from the shape.
	Height, Width int
	// Columns is the largest number of examples side by side; 0 means 10 or less, such that all lines are of one length
	// if that can be: 12 examples stand in two lines of 6.
	Columns int
}

// Grid draws n examples of a result under the default layout; see [Layout.Grid].
func Grid(res *advlib.Result, n int) (Picture, error) {
	if n <= 0 {
		return Picture{}, fmt.Errorf("show: grid: %d examples: ask for at least 1", n)
	}
	return Layout{N: n}.Grid(res)
}

// Grid draws examples of a result in columns: the original, the perturbation, and the adversarial example, with the
// classifier's answer and its confidence under each image.
//
// Originals and adversarial examples are shown by their place in the box: black is its lower end, white its upper.
// Perturbations are shown on a scale of their own, one for the whole grid, which the picture states: gray is no
// change. A success has a solid frame, a failure a dashed one, and a word says which it is.
//
// Inputs must be images of shape [h, w], [h, w, 1] or [h, w, 3], or flat with Height and Width given.
func (l Layout) Grid(res *advlib.Result) (Picture, error) {
	p, err := l.grid(res)
	if err != nil {
		return Picture{}, fmt.Errorf("show: grid: %w", err)
	}
	return p, nil
}

func (l Layout) grid(res *advlib.Result) (Picture, error) {
	if err := l.check(res); err != nil {
		return Picture{}, err
	}
	px, err := pixelsOf(res.Examples.Shape(), l.Height, l.Width)
	if err != nil {
		return Picture{}, err
	}
	rows := l.Rows
	if rows == nil {
		rows = choose(res, l.N)
	}
	if len(rows) == 0 {
		return Picture{}, errors.New("the attack attempted no example: there is nothing to show")
	}
	original := tensors.MustCopyFlatData[float32](res.Examples.X)
	adversarial := tensors.MustCopyFlatData[float32](res.Adversarial)
	cells := make([]cell, len(rows))
	var largest float64
	for i, row := range rows {
		lo, hi := row*px.size(), (row+1)*px.size()
		cells[i] = newCell(res, row, original[lo:hi], adversarial[lo:hi])
		for _, d := range cells[i].δ {
			largest = max(largest, math.Abs(float64(d)))
		}
	}
	g := grid{layout: l, px: px, box: res.Box, cells: cells, norm: res.Threat.Norm.String(), scale: scaleFor(largest, res.Box)}
	g.title = oneLine(fmt.Sprintf("%s on %s", res.Attack, res.Examples.Name))
	if goal := oneLine(res.Threat.Goal.String()); res.Threat.Goal.IsTargeted() && !strings.Contains(g.title, goal) {
		g.title += ", " + goal
	}
	g.note = fmt.Sprintf("%d of %d examples; perturbations ×%.3g: gray = 0, white = +%.3g, black = −%.3g", len(rows),
		res.Examples.Len(), g.scale, res.Box.Width()/2/g.scale, res.Box.Width()/2/g.scale)
	return g.picture()
}

func (l Layout) check(res *advlib.Result) error {
	switch {
	case res == nil || res.Examples == nil || res.Adversarial == nil:
		return errors.New("the result is empty: run an attack first")
	case !res.Adversarial.Shape().Equal(res.Examples.X.Shape()):
		return fmt.Errorf("the adversarial examples have shape %v, the originals %v", res.Adversarial.Shape(), res.Examples.X.Shape())
	case !(res.Box.Lo < res.Box.Hi):
		return fmt.Errorf("the result's box %v is empty: pixels have no range", res.Box)
	case l.N < 0 || l.Columns < 0:
		return fmt.Errorf("Layout has N %d and Columns %d: neither may be below 0", l.N, l.Columns)
	}
	n := res.Examples.Len()
	for _, row := range l.Rows {
		if row < 0 || row >= n {
			return fmt.Errorf("row %d is not in 0..%d: the result has %d examples", row, n-1, n)
		}
	}
	return nil
}

// choose takes n rows: successes that changed something first, then failures, then what was misclassified before.
func choose(res *advlib.Result, n int) []int {
	if n == 0 {
		n = 8
	}
	var rows []int
	for _, want := range []*outcome{success, failure, misclassified} {
		for i := range res.Success {
			if len(rows) < n && outcomeOf(res, i) == want {
				rows = append(rows, i)
			}
		}
	}
	return rows
}

// outcome is how an attack ended on an example.
type outcome struct {
	word   string
	color  color.Color
	width  vg.Length
	dashes []vg.Length
}

var (
	success       = &outcome{"success", vermillion, 1.5, nil}
	failure       = &outcome{"failed", blue, 1.2, []vg.Length{3, 2}}
	misclassified = &outcome{"wrong before", darkGray, 0.8, []vg.Length{1, 1.5}}
	leftOut       = &outcome{"left out", gray, 0.8, []vg.Length{1, 3}}
)

func outcomeOf(res *advlib.Result, i int) *outcome {
	switch {
	case !res.Attempted[i]:
		return leftOut
	case !res.Success[i]:
		return failure
	case res.Distance[i] == 0:
		return misclassified
	}
	return success
}

// cell is one example of a grid.
type cell struct {
	number                   int64
	label                    string
	says, turns              string // classes before and after
	confidence, final        float64
	distance                 float64
	outcome                  *outcome
	original, adversarial, δ []float32
}

func newCell(res *advlib.Result, row int, original, adversarial []float32) cell {
	e := res.Examples
	class := func(k int32) string {
		if k < 0 {
			return "none" // rejected, or not finite
		}
		if int(k) < len(e.Classes) {
			return oneLine(e.Classes[k])
		}
		return fmt.Sprint(k)
	}
	c := cell{
		number: int64(row), label: class(e.Y[row]),
		says: class(res.Clean[row].Class), confidence: res.Clean[row].Confidence,
		turns: class(res.Final[row].Class), final: res.Final[row].Confidence,
		distance: res.Distance[row], outcome: outcomeOf(res, row),
		original: original, adversarial: adversarial, δ: make([]float32, len(original)),
	}
	if e.Index != nil {
		c.number = e.Index[row]
	}
	for i := range c.δ {
		c.δ[i] = adversarial[i] - original[i]
	}
	return c
}

func (c cell) distanceText(norm string) string {
	if math.IsInf(c.distance, 1) {
		return "none found"
	}
	return fmt.Sprintf("%s %.3g", norm, c.distance)
}

// percent writes a confidence; nothing where the victim tells none.
func percent(p float64) string {
	if math.IsNaN(p) {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*p)
}

// grid is what is drawn.
type grid struct {
	layout      Layout
	px          pixels
	box         advlib.Box
	cells       []cell
	norm        string
	scale       float64
	title, note string
}

// caption lists what the images say, for those who do not see them.
func (g grid) caption() string {
	t := Table{Header: []string{"example", "label", "original", "confidence", "perturbation", "adversarial", "confidence", "attack"}}
	for _, c := range g.cells {
		t.Add(c.number, c.label, c.says, percent(c.confidence), c.distanceText(g.norm), c.turns, percent(c.final), c.outcome.word)
	}
	return g.note + "\n" + t.String()
}

// Sizes in points.
const (
	margin     vg.Length = 8
	labelWidth vg.Length = 82 // of the names of the rows, at the left
	lineHeight vg.Length = 11
)

// sheet is where the parts of a grid lie, in points from the top left corner, as one reads.
type sheet struct {
	width, height           vg.Length
	head, band, pitch       vg.Length // of the title, of a row of examples, of a column
	imageWidth, imageHeight vg.Length
	columns, bands          int
	dots                    int // of a PNG for each of an example's pixels
}

// sheet lays the grid out.
func (g grid) sheet() sheet {
	columns := g.layout.Columns
	if columns == 0 {
		const most = 10
		bands := (len(g.cells) + most - 1) / most
		columns = (len(g.cells) + bands - 1) / bands
	}
	s := sheet{columns: min(columns, len(g.cells))}
	s.bands = (len(g.cells) + s.columns - 1) / s.columns
	// An example's pixel is a whole number of the PNG's, so that small images stay crisp; large ones are shrunk.
	side := g.side()
	s.dots = (60*pngDensity + side - 1) / side
	unit := min(vg.Length(s.dots)/pngDensity, 100/vg.Length(side))
	s.imageWidth, s.imageHeight = unit*vg.Length(g.px.width), unit*vg.Length(g.px.height)
	s.pitch = max(s.imageWidth, 62) + 10
	s.head = 2*lineHeight + 10
	s.band = 2*lineHeight + 3*s.rowHeight() + lineHeight + 8
	s.width = 2*margin + labelWidth + vg.Length(s.columns)*s.pitch
	// Room for the longest line at the top.
	s.width = max(s.width, 2*margin+bold(sans(10, black)).Width(g.title), 2*margin+sans(8, black).Width(g.note))
	s.height = 2*margin + s.head + vg.Length(s.bands)*s.band - 8
	return s
}

// side is the longer side of an example, in pixels.
func (g grid) side() int { return max(g.px.height, g.px.width) }

// rowHeight is that of an image with the line below it.
func (s sheet) rowHeight() vg.Length { return s.imageHeight + lineHeight + 4 }

func (g grid) picture() (Picture, error) {
	s := g.sheet()
	return newPicture(g.title, g.caption(), s.width, s.height, func(c draw.Canvas, density int) {
		put := func(style text.Style, x, y vg.Length, txt string) {
			style.YAlign = draw.YTop
			c.FillText(style, vg.Point{X: x, Y: s.height - y}, txt)
		}
		put(bold(sans(10, black)), margin, margin, g.title)
		put(sans(8, darkGray), margin, margin+lineHeight+3, g.note)
		for b := range s.bands {
			top := margin + s.head + vg.Length(b)*s.band
			y := top + 2*lineHeight
			below := []string{"answer, confidence", fmt.Sprintf("×%.3g, gray = 0", g.scale), "answer, confidence"}
			for i, name := range []string{"original", "perturbation", "adversarial"} {
				put(bold(sans(9, black)), margin, y+s.imageHeight/2-lineHeight, name)
				put(sans(8, darkGray), margin, y+s.imageHeight/2, below[i])
				y += s.rowHeight()
			}
			for j, e := range g.cells[b*s.columns : min((b+1)*s.columns, len(g.cells))] {
				x := margin + labelWidth + vg.Length(j)*s.pitch + (s.pitch-s.imageWidth)/2
				g.drawCell(c, density, s, e, x, top)
			}
		}
	})
}

// drawCell draws one example at a place: its number and label, and below them the original, the perturbation and the
// adversarial example, each with what is to be said of it.
func (g grid) drawCell(c draw.Canvas, density int, s sheet, e cell, x, top vg.Length) {
	line := func(style text.Style, y vg.Length, name, rest string) {
		style.XAlign, style.YAlign = draw.XCenter, draw.YTop
		c.FillText(style, vg.Point{X: x + s.imageWidth/2, Y: s.height - y}, fit(style, name, s.pitch-2-style.Width(rest))+rest)
	}
	line(sans(7, darkGray), top, fmt.Sprintf("example %d", e.number), "")
	line(sans(8, black), top+9, "label "+e.label, "")
	shades := []func(float32) uint8{inBox(g.box), enlarged(g.scale, g.box), inBox(g.box)}
	y := top + 2*lineHeight
	for i, row := range [][]float32{e.original, e.δ, e.adversarial} {
		img := g.px.image(row, shades[i])
		if density == 0 {
			// Renderers that blur do so over one of several pixels, not over the image.
			img = enlarge(img, max(1, 64/g.side()))
		} else if s.dots > 1 {
			img = enlarge(img, s.dots)
		}
		at := vg.Rectangle{Min: vg.Point{X: x, Y: s.height - y - s.imageHeight}, Max: vg.Point{X: x + s.imageWidth, Y: s.height - y}}
		c.DrawImage(at, img)
		frame := draw.LineStyle{Color: lightGray, Width: 0.5}
		if i == 2 {
			frame = draw.LineStyle{Color: e.outcome.color, Width: e.outcome.width, Dashes: e.outcome.dashes}
		}
		outline(c, frame, at)
		under := y + s.imageHeight + 2
		switch i {
		case 0:
			line(sans(8, black), under, e.says, ", "+percent(e.confidence))
		case 1:
			line(sans(8, black), under, e.distanceText(g.norm), "")
		case 2:
			line(sans(8, black), under, e.turns, ", "+percent(e.final))
			line(bold(sans(8, e.outcome.color)), under+lineHeight, e.outcome.word, "")
		}
		y += s.rowHeight()
	}
}

// outline strokes a frame just outside of a rectangle.
func outline(c draw.Canvas, s draw.LineStyle, r vg.Rectangle) {
	d := s.Width / 2
	var p vg.Path
	p.Move(vg.Point{X: r.Min.X - d, Y: r.Min.Y - d})
	p.Line(vg.Point{X: r.Max.X + d, Y: r.Min.Y - d})
	p.Line(vg.Point{X: r.Max.X + d, Y: r.Max.Y + d})
	p.Line(vg.Point{X: r.Min.X - d, Y: r.Max.Y + d})
	p.Close()
	c.SetLineStyle(s)
	c.Stroke(p)
}
