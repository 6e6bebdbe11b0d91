package show

import (
	"errors"
	"fmt"
	"image"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Panel is an image with a caption above it and a note below.
type Panel struct {
	Image         image.Image
	Caption, Note string
}

// Panels draws images side by side, so many to a line, each with its caption and its note: a story in pictures, such as
// who came, what he wore, and whom the door took him for. Small images are enlarged, not blurred; [Gallery] makes one
// of an example.
func Panels(title string, columns int, panels ...Panel) (Picture, error) {
	if len(panels) == 0 || columns < 1 {
		return Picture{}, fmt.Errorf("show: panels: %d columns of %d images: give at least one of each", columns, len(panels))
	}
	const about = 100 // points wide
	table := NewTable("image", "caption", "note")
	var wide, high vg.Length
	images, sizes := make([]image.Image, len(panels)), make([]vg.Point, len(panels))
	for k, p := range panels {
		if p.Image == nil || p.Image.Bounds().Empty() {
			return Picture{}, errors.New("show: panels: an image is empty")
		}
		b := p.Image.Bounds()
		points := max(1, about/b.Dx()) // of a pixel
		images[k] = enlarge(p.Image, points*pngDensity)
		sizes[k] = vg.Point{X: vg.Length(points * b.Dx()), Y: vg.Length(points * b.Dy())}
		wide, high = max(wide, sizes[k].X, sans(8, black).Width(oneLine(p.Caption)), sans(8, black).Width(oneLine(p.Note))), max(high, sizes[k].Y)
		table.Add(k+1, p.Caption, p.Note)
	}
	wide += 12
	columns = min(columns, len(panels))
	lines := (len(panels) + columns - 1) / columns
	const head = lineHeight + 10
	row := high + 2*lineHeight + 14
	width := max(vg.Length(columns)*wide, min(bold(sans(10, black)).Width(title), 640)) + 2*margin
	height := 2*margin + head + vg.Length(lines)*row
	return newPicture(title, table.String(), width, height, func(c draw.Canvas, _ int) {
		put := func(size vg.Length, heavy bool, x, top vg.Length, text string, within vg.Length) {
			s := sans(size, black)
			if heavy {
				s = bold(s)
			}
			s.YAlign = draw.YTop
			c.FillText(s, vg.Point{X: x, Y: height - top}, fit(s, oneLine(text), within))
		}
		put(10, true, margin, margin, title, width-2*margin)
		for k, p := range panels {
			x, top := margin+vg.Length(k%columns)*wide, margin+head+vg.Length(k/columns)*row
			put(8, false, x, top, p.Caption, wide)
			y := height - top - lineHeight - 2
			at := vg.Rectangle{Min: vg.Point{X: x, Y: y - sizes[k].Y}, Max: vg.Point{X: x + sizes[k].X, Y: y}}
			c.DrawImage(at, images[k])
			outline(c, draw.LineStyle{Color: lightGray, Width: 0.5}, at)
			put(8, false, x, top+lineHeight+2+sizes[k].Y+3, p.Note, wide)
		}
	})
}
