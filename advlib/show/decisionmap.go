package show

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"advlab/advlib"
)

// Mark is something drawn on a [DecisionMap]: the outline of a ball around a point, as far as it lies in the
// classifier's box, or, without a ball, the point itself as a cross.
type Mark struct {
	// Name is what the legend calls it; marks of the same name look the same.
	Name string
	// At are the point's two coordinates.
	At []float32
	// Ball is what is drawn around it, in L1, L2 or Linf.
	Ball advlib.Ball
}

// DecisionMap draws the whole input box of a classifier of two numbers: which class it predicts where, examples by
// their labels, and marks, such as the balls for which a prediction is certified. Examples may be nil. Up to six
// classes can be told apart, by colour and by the shape of their points.
//
// The classifier is asked on a grid of 240 × 240 points: a region smaller than that may be missed.
func DecisionMap(c *advlib.Classifier, e *advlib.Examples, marks ...Mark) (Picture, error) {
	p, err := decisionMap(c, e, marks)
	if err != nil {
		return Picture{}, fmt.Errorf("show: decision map: %w", err)
	}
	return p, nil
}

// gridSide is how many points along an axis the classifier is asked at.
const gridSide = 240

var classStyles = []struct {
	color color.NRGBA
	glyph draw.GlyphDrawer
}{
	{blue, draw.CircleGlyph{}}, {orange, draw.PyramidGlyph{}}, {green, draw.SquareGlyph{}},
	{purple, draw.PlusGlyph{}}, {sky, draw.RingGlyph{}}, {vermillion, draw.CrossGlyph{}},
}

var markStyles = []lineStyle{
	{color: black, width: 1.6},
	{color: vermillion, width: 1.6, dashes: []vg.Length{4, 2}},
	{color: black, width: 1.2, dashes: []vg.Length{1.2, 1.8}},
	{color: purple, width: 1.6, dashes: []vg.Length{6, 2, 1.5, 2}},
	{color: darkGray, width: 1, dashes: []vg.Length{8, 3}},
}

// boldCross is a cross that is seen on any ground.
type boldCross struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (boldCross) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	for _, slope := range []vg.Length{1, -1} {
		c.StrokeLine2(draw.LineStyle{Color: s.Color, Width: 1.8}, at.X-s.Radius, at.Y-slope*s.Radius, at.X+s.Radius, at.Y+slope*s.Radius)
	}
}

func decisionMap(c *advlib.Classifier, e *advlib.Examples, marks []Mark) (Picture, error) {
	if err := checkMap(c, e, marks); err != nil {
		return Picture{}, err
	}
	class, err := gridClasses(c)
	if err != nil {
		return Picture{}, err
	}
	title := "Decision map of " + oneLine(c.Name())
	if e != nil {
		title += fmt.Sprintf(", %d examples of %s", e.Len(), oneLine(e.Name))
	}
	var names []string
	for _, m := range marks {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}

	const side = 300
	entries := c.Classes() + len(names)
	legend := vg.Length(entries) * 12
	const width = side + 60 + 2*margin
	height := 2*margin + lineHeight + 8 + side + 40 + legend
	return newPicture(title, mapTable(c, marks, class).String(), width, height, func(canvas draw.Canvas, _ int) {
		s := bold(sans(10, black))
		s.YAlign = draw.YTop
		canvas.FillText(s, vg.Point{X: margin, Y: height - margin}, fit(s, title, width-2*margin))
		chart, keys := mapChart(c, e, marks, names, class)
		chart.Draw(canvasPart(canvas, margin, margin+legend, width-margin, height-margin-lineHeight-4))
		keys.Draw(canvasPart(canvas, margin+34, margin, width-margin, margin+legend))
	})
}

// checkMap refuses what is not of two numbers, and what could not be told apart.
func checkMap(c *advlib.Classifier, e *advlib.Examples, marks []Mark) error {
	switch {
	case c == nil:
		return fmt.Errorf("the classifier is nil")
	case !slices.Equal(c.Input(), []int{2}):
		return fmt.Errorf("%s takes inputs of shape %v: a map is of inputs of two numbers, shape [2]", c.Name(), c.Input())
	case c.Classes() > len(classStyles):
		return fmt.Errorf("%s has %d classes: up to %d can be told apart", c.Name(), c.Classes(), len(classStyles))
	}
	for i, m := range marks {
		if len(m.At) != 2 {
			return fmt.Errorf("mark %d, %q, has %d coordinates: it needs two", i, m.Name, len(m.At))
		}
		if m.Ball.Norm != nil && outlineOf(m.Ball.Norm) == nil {
			return fmt.Errorf("mark %d, %q: a ball in %v has no outline: use L1, L2 or Linf", i, m.Name, m.Ball.Norm)
		}
	}
	if e == nil {
		return nil
	}
	return e.Check(advlib.Spec{Name: c.Name(), Input: c.Input(), Box: c.Box(), Domain: c.Domain()}, c.Classes())
}

// gridClasses returns the classes of the points of a grid over the box, row by row from below.
func gridClasses(c *advlib.Classifier) ([]int, error) {
	box := c.Box()
	x := make([]float32, 0, 2*gridSide*gridSide)
	coordinate := func(k int) float64 { return box.Lo + box.Width()*(float64(k)+0.5)/gridSide }
	for j := range gridSide {
		for i := range gridSide {
			x = append(x, float32(coordinate(i)), float32(coordinate(j)))
		}
	}
	z, err := c.Logits(tensors.FromFlatDataAndDimensions(x, gridSide*gridSide, 2))
	if err != nil {
		return nil, err
	}
	class := make([]int, len(z))
	for k, row := range z {
		for j, v := range row {
			if v > row[class[k]] {
				class[k] = j
			}
		}
	}
	return class, nil
}

// mapTable says in words what the map shows.
func mapTable(c *advlib.Classifier, marks []Mark, class []int) *Table {
	share := make([]int, c.Classes())
	for _, k := range class {
		share[k]++
	}
	t := NewTable("drawn", "at", "ball", "share of the box")
	for k, n := range share {
		t.Add("class "+oneLine(c.ClassName(k)), "", "", fmt.Sprintf("%.1f %%", 100*float64(n)/float64(len(class))))
	}
	for _, m := range marks {
		ball := ""
		if m.Ball.Norm != nil {
			ball = m.Ball.String()
		}
		t.Add(m.Name, fmt.Sprintf("(%.4g, %.4g)", m.At[0], m.At[1]), ball, "")
	}
	return t
}

// mapChart returns the map without its title, and its legend. names are those of the marks, each once.
func mapChart(c *advlib.Classifier, e *advlib.Examples, marks []Mark, names []string, class []int) (*plot.Plot, plot.Legend) {
	box := c.Box()
	chart, keys := plot.New(), newLegend()
	axis(&chart.X, "x₁")
	axis(&chart.Y, "x₂")
	chart.X.Min, chart.X.Max, chart.Y.Min, chart.Y.Max = box.Lo, box.Hi, box.Lo, box.Hi
	chart.X.Padding, chart.Y.Padding = 0, 0
	chart.Add(plotter.NewImage(regions(class), box.Lo, box.Lo, box.Hi, box.Hi))
	for k := range c.Classes() {
		addClass(chart, &keys, c, e, k)
	}
	for k, name := range names {
		addMarks(chart, &keys, box, marks, name, markStyles[k%len(markStyles)])
	}
	return chart, keys
}

// regions is an image of the classes of a grid's points, with a dark line where they change.
func regions(class []int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, gridSide, gridSide))
	for j := range gridSide {
		for i := range gridSide {
			k := class[j*gridSide+i]
			// Where the class changes towards the right or above there is a boundary.
			edge := i+1 < gridSide && class[j*gridSide+i+1] != k || j+1 < gridSide && class[(j+1)*gridSide+i] != k
			tint := classStyles[k].color
			mix := func(v uint8) uint8 { return uint8(255 - (255-float64(v))*0.3) }
			shade := color.RGBA{mix(tint.R), mix(tint.G), mix(tint.B), 255}
			if edge {
				shade = color.RGBA{darkGray.R, darkGray.G, darkGray.B, 255}
			}
			img.SetRGBA(i, gridSide-1-j, shade)
		}
	}
	return img
}

// addClass adds the examples whose label is k, if there are any, and the class's place in the legend.
func addClass(chart *plot.Plot, keys *plot.Legend, c *advlib.Classifier, e *advlib.Examples, k int) {
	dark := classStyles[k].color // than the region that most of them lie in
	dark.R, dark.G, dark.B = dark.R/2, dark.G/2, dark.B/2
	points := &plotter.Scatter{GlyphStyle: draw.GlyphStyle{Color: dark, Radius: 2.4, Shape: classStyles[k].glyph}}
	if e != nil {
		flat := tensors.MustCopyFlatData[float32](e.X)
		for i, y := range e.Y {
			if int(y) == k {
				points.XYs = append(points.XYs, plotter.XY{X: float64(flat[2*i]), Y: float64(flat[2*i+1])})
			}
		}
	}
	chart.Add(points)
	name := "class " + oneLine(c.ClassName(k)) + " predicted"
	tint := classStyles[k].color
	patch := &plotter.Polygon{Color: color.NRGBA{tint.R, tint.G, tint.B, 77}}
	if len(points.XYs) > 0 {
		keys.Add(name+"; points: its label", patch, points)
	} else {
		keys.Add(name, patch)
	}
}

// addMarks adds the marks of one name, as crosses or as the outlines of their balls, and their place in the legend.
func addMarks(chart *plot.Plot, keys *plot.Legend, box advlib.Box, marks []Mark, name string, style lineStyle) {
	var balls []*plotter.Line
	cross := &plotter.Scatter{GlyphStyle: draw.GlyphStyle{Color: style.color, Radius: 4, Shape: boldCross{}}}
	for _, m := range marks {
		if m.Name != name {
			continue
		}
		x, y := float64(m.At[0]), float64(m.At[1])
		if m.Ball.Norm == nil {
			cross.XYs = append(cross.XYs, plotter.XY{X: x, Y: y})
			continue
		}
		line := &plotter.Line{LineStyle: draw.LineStyle{Color: style.color, Width: style.width, Dashes: style.dashes}}
		for _, d := range outlineOf(m.Ball.Norm) {
			line.XYs = append(line.XYs, plotter.XY{
				X: min(max(x+m.Ball.Radius*d.X, box.Lo), box.Hi),
				Y: min(max(y+m.Ball.Radius*d.Y, box.Lo), box.Hi),
			})
		}
		chart.Add(line)
		balls = append(balls, line)
	}
	if len(cross.XYs) > 0 {
		chart.Add(cross)
	}
	switch {
	case len(balls) > 0 && len(cross.XYs) > 0:
		keys.Add(oneLine(name), balls[0], cross)
	case len(balls) > 0:
		keys.Add(oneLine(name), balls[0])
	default:
		keys.Add(oneLine(name), cross)
	}
}

// outlineOf is the closed outline of the unit ball, nil for a norm that has none.
func outlineOf(norm advlib.Norm) plotter.XYs {
	switch norm {
	case advlib.Norm(advlib.Linf):
		return plotter.XYs{{X: -1, Y: -1}, {X: 1, Y: -1}, {X: 1, Y: 1}, {X: -1, Y: 1}, {X: -1, Y: -1}}
	case advlib.Norm(advlib.L1):
		var xys plotter.XYs // points on the sides too, so that cutting at the box leaves the rest as it is
		corners := plotter.XYs{{X: 1}, {Y: 1}, {X: -1}, {Y: -1}, {X: 1}}
		for i, a := range corners[:4] {
			for k := range 64 {
				b, t := corners[i+1], float64(k)/64
				xys = append(xys, plotter.XY{X: a.X + t*(b.X-a.X), Y: a.Y + t*(b.Y-a.Y)})
			}
		}
		return append(xys, corners[4])
	case advlib.Norm(advlib.L2):
		var xys plotter.XYs
		for k := range 129 {
			sin, cos := math.Sincos(2 * math.Pi * float64(k) / 128)
			xys = append(xys, plotter.XY{X: cos, Y: sin})
		}
		return xys
	}
	return nil
}
