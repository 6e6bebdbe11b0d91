package signs

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
	"advlab/advlib/dataset"
	"advlab/advlib/internal/perspective"
)

// Print is what is on stickers: to be printed, or measured on views by the attack that On returns.
type Print struct {
	// Name says how it was made.
	Name string
	// Outline is that of the sign, Stickers where they are on it.
	Outline  Outline
	Stickers []Sticker
	// Gamut is the printer's.
	Gamut Gamut
	// Goal is what it was made for, and is measured by.
	Goal advlib.Goal
	// Channels is the number of values of a texel, Longer how many texels are along the longer side of each sticker.
	Channels, Longer int
	// Texels are, for each sticker, the colours sent to the printer, in 0..1, row by row.
	Texels [][]float32
}

// String returns its name.
func (p *Print) String() string { return p.Name }

// blank returns stickers in gray.
func blank(name string, on Outline, stickers []Sticker, g Gamut, goal advlib.Goal, channels, longer int) *Print {
	p := &Print{Name: name, Outline: on, Stickers: slices.Clone(stickers), Gamut: g, Goal: goal, Channels: channels, Longer: longer}
	for _, s := range stickers {
		rows, columns := s.texels(longer)
		p.Texels = append(p.Texels, slices.Repeat([]float32{0.5}, rows*columns*channels))
	}
	return p
}

// Random returns the print with random colours in place of its own, each uniform in 0..1: what stickers of the same
// size and place do that nobody has made for the purpose.
func (p *Print) Random(seed uint64) *Print {
	q := *p
	q.Name, q.Texels = "random colours on the same stickers", nil
	r := rand.New(rand.NewPCG(seed, 0))
	for _, t := range p.Texels {
		t = slices.Clone(t)
		for i := range t {
			t[i] = r.Float32()
		}
		q.Texels = append(q.Texels, t)
	}
	return &q
}

// Sheet is a sticker to be printed.
type Sheet struct {
	// Image has a pixel for each texel, transparent outside of an ellipse.
	Image image.Image
	// Width and Height are its size in millimetres.
	Width, Height float64
}

// Sheets returns the stickers for a sign of the given width in millimetres: show.Printed(s.Image, title, s.Width, dpi)
// makes of each what show.Save writes as PDF, PNG or SVG. It fails for prints that are neither gray nor in three
// colours.
func (p *Print) Sheets(width float64) ([]Sheet, error) {
	if p.Channels != 1 && p.Channels != 3 {
		return nil, fmt.Errorf("signs: a print of %d channels is no picture: 1 and 3 are", p.Channels)
	}
	if !(width > 0) || math.IsInf(width, 1) {
		return nil, fmt.Errorf("signs: a sign of %g mm: give its width in millimetres", width)
	}
	var sheets []Sheet
	for k, s := range p.Stickers {
		rows, columns := s.texels(p.Longer)
		img := image.NewNRGBA(image.Rect(0, 0, columns, rows))
		for i := range rows * columns {
			at := p.Texels[k][i*p.Channels : (i+1)*p.Channels]
			level := func(c int) uint8 { return uint8(math.Round(255 * float64(at[c%p.Channels]))) }
			c := color.NRGBA{level(0), level(1), level(2), 255}
			if u, v := (float64(i%columns)+0.5)/float64(columns)-0.5, (float64(i/columns)+0.5)/float64(rows)-0.5; s.Round && u*u+v*v > 0.25 {
				c.A = 0
			}
			img.SetNRGBA(i%columns, i/columns, c)
		}
		sheets = append(sheets, Sheet{img, s.Width * width / 2, s.Height * width / 2})
	}
	return sheets, nil
}

// Scanned returns the print as it is on pictures of its sheets, one for each sticker, of any size: what was exported is
// read back so. Each texel is the mean of the pixels that it covers.
func (p *Print) Scanned(sheets ...image.Image) (*Print, error) {
	if len(sheets) != len(p.Stickers) || p.Channels != 1 && p.Channels != 3 {
		return nil, fmt.Errorf("signs: there are %d pictures of %d stickers in %d channels: give one for each, of 1 or 3 channels", len(sheets),
			len(p.Stickers), p.Channels)
	}
	q := *p
	q.Name, q.Texels = p.Name+", read back", nil
	for k, img := range sheets {
		rows, columns := p.Stickers[k].texels(p.Longer)
		b := img.Bounds()
		if b.Dx() < columns || b.Dy() < rows {
			return nil, fmt.Errorf("signs: the picture of sticker %d has %d × %d pixels, less than its %d × %d texels", k, b.Dx(), b.Dy(), columns,
				rows)
		}
		sum, n := make([]float64, rows*columns*p.Channels), make([]float64, rows*columns)
		for y := range b.Dy() {
			for x := range b.Dx() {
				c := color.NRGBA64Model.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA64)
				v, at := [3]uint16{c.R, c.G, c.B}, y*rows/b.Dy()*columns+x*columns/b.Dx()
				n[at]++
				for j := range p.Channels {
					sum[at*p.Channels+j] += float64(v[j]) / 65535
				}
			}
		}
		texels := make([]float32, len(sum))
		for i, v := range sum {
			texels[i] = float32(v / n[i/p.Channels])
		}
		q.Texels = append(q.Texels, texels)
	}
	return &q, nil
}

func (p *Print) check() error {
	if err := checkStickers(p.Outline, p.Stickers); err != nil {
		return err
	}
	if err := p.Gamut.check(); err != nil {
		return err
	}
	if len(p.Texels) != len(p.Stickers) {
		return fmt.Errorf("there are the texels of %d stickers, and %d stickers", len(p.Texels), len(p.Stickers))
	}
	for k, s := range p.Stickers {
		rows, columns := s.texels(p.Longer)
		if len(p.Texels[k]) != rows*columns*p.Channels {
			return fmt.Errorf("sticker %d has %d values: %d × %d texels of %d channels need %d", k, len(p.Texels[k]), rows, columns, p.Channels,
				rows*columns*p.Channels)
		}
		for i, v := range p.Texels[k] {
			if !(v >= 0 && v <= 1) {
				return fmt.Errorf("sticker %d holds %g at %d, which is outside of 0..1", k, v, i)
			}
		}
	}
	return nil
}

// On returns the attack that puts the stickers on the signs of views: to be run on these views or some of them, which
// are told by their numbers.
func (p *Print) On(w *Views) advlib.Attack { return stuck{p, w} }

// stuck is a print on views.
type stuck struct {
	*Print
	views *Views
}

// Threat implements [advlib.Attack]. Stickers have no ball of a norm; what contains them is the L0 ball whose radius is
// the number of values of the pixels that any view shows them in.
func (a stuck) Threat(v advlib.Victim) (advlib.Threat, error) {
	threat := advlib.Threat{Norm: advlib.L0, Goal: a.Goal}
	if a.Print == nil || a.views == nil {
		return threat, fmt.Errorf("there is no print, or there are no views")
	}
	if err := a.views.fits(v); err != nil {
		return threat, err
	}
	if a.Channels != a.views.plane.channels {
		return threat, fmt.Errorf("the print has %d channels, the views %d", a.Channels, a.views.plane.channels)
	}
	if err := a.check(); err != nil {
		return threat, err
	}
	threat.Radius = float64(a.views.most(a.Stickers))
	return threat, nil
}

// fits tells whether a victim takes the views.
func (w *Views) fits(v advlib.Victim) error {
	s := v.Signature()
	if !slices.Equal(s.Input, w.Shape()) || s.Box != w.box {
		return fmt.Errorf("the views have the shape %v in %v, inputs of %s %v in %v", w.Shape(), w.box, v.Name(), s.Input, s.Box)
	}
	return s.Limits().Check()
}

// most is in how many values a view shows stickers, at most.
func (w *Views) most(stickers []Sticker) int {
	most := 0
	for _, s := range w.view {
		covered := make([]bool, w.plane.height*w.plane.width)
		for _, sticker := range stickers {
			for i, share := range s.cover(w.plane, sticker).share {
				covered[i] = covered[i] || share > 0
			}
		}
		rows, columns := band(w.plane.height, s.blur), band(w.plane.width, s.blur)
		n := 0
		for i := range covered {
			if w.plane.blurred(covered, rows, columns, i) {
				n++
			}
		}
		most = max(most, n)
	}
	return most * w.plane.channels
}

// blurred tells whether anything of what is covered gets into a pixel.
func (on plane) blurred(covered []bool, rows, columns []float32, pixel int) bool {
	i, j := pixel/on.width, pixel%on.width
	for y, a := range rows[i*on.height : (i+1)*on.height] {
		if a == 0 {
			continue
		}
		for x, b := range columns[j*on.width : (j+1)*on.width] {
			if b > 0 && covered[y*on.width+x] {
				return true
			}
		}
	}
	return false
}

// Perturb implements [advlib.Attack].
func (a stuck) Perturb(ctx context.Context, _ *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	adv := craft.NewBest(b)
	for i := range b.Len() {
		k := b.Number(i)
		if k < 0 || int(k) >= len(a.views.view) {
			return nil, fmt.Errorf("signs: there is no view %d: run the attack on the views that it was made for, or some of them", k)
		}
		copy(adv.Row(i), a.paste(a.views, int(k)))
	}
	return adv.Tensor(), ctx.Err()
}

// paste returns a view with the stickers on the sign.
func (p *Print) paste(w *Views, k int) []float32 {
	s, on, gamut := w.view[k], w.plane, p.Gamut.filled()
	sharp, off := slices.Clone(s.under), gamut.errors(s.ink, on.channels)
	colour := make([]float64, on.channels)
	for j, sticker := range p.Stickers {
		rows, columns := sticker.texels(p.Longer)
		at := s.cover(on, sticker)
		for i, share := range at.share {
			if share == 0 {
				continue
			}
			texel(p.Texels[j], rows, columns, at.v[i], at.u[i], colour)
			gamut.ink(colour)
			for c, v := range colour {
				under := &sharp[i*on.channels+c]
				*under += share * (float32(s.lit(c, v*off[c])) - *under)
			}
		}
	}
	return s.develop(on, sharp, w.box)
}

// Corners returns where a view shows a sticker: its corners top left, top right, bottom right and bottom left, as a
// [dataset.Posed] has the sign's. Of an ellipse they are those of the rectangle around it.
func (w *Views) Corners(view int, s Sticker) (q dataset.Quad) {
	toPicture := w.view[view].toSign.Inverse()
	for i, c := range perspective.Square {
		at := toPicture.At(s.place(c.X, c.Y))
		q[i] = [2]float64{at.X / float64(w.plane.width), at.Y / float64(w.plane.height)}
	}
	return q
}

// cover is what a view shows of a sticker, for each pixel: which share of it, and which place of the sticker at its
// middle, v down and u across, in −1..1.
type cover struct{ share, v, u []float32 }

func (s view) cover(on plane, sticker Sticker) cover {
	const n = 4
	pixels := on.height * on.width
	c := cover{make([]float32, pixels), make([]float32, pixels), make([]float32, pixels)}
	for i := range pixels {
		x, y := float64(i%on.width), float64(i/on.width)
		u, v, _ := sticker.inside(s.toSign.At(perspective.Point{X: x + 0.5, Y: y + 0.5}))
		c.u[i], c.v[i] = float32(min(max(u, -1), 1)), float32(min(max(v, -1), 1))
		if math.Abs(u) > 4 || math.Abs(v) > 4 { // nowhere near
			continue
		}
		covered := 0
		for k := range n * n {
			p := perspective.Point{X: x + (float64(k%n)+0.5)/n, Y: y + (float64(k/n)+0.5)/n}
			if _, _, on := sticker.inside(s.toSign.At(p)); on {
				covered++
			}
		}
		c.share[i] = float32(covered) / (n * n)
	}
	return c
}

// texel interpolates between the four texels around a place; beyond the middles of the outermost there is nothing to
// interpolate with.
func texel(t []float32, rows, columns int, v, u float32, colour []float64) {
	r, c := along(v, rows), along(u, columns)
	r0, c0 := int(r), int(c)
	r1, c1 := min(r0+1, rows-1), min(c0+1, columns-1)
	a, b := r-float64(r0), c-float64(c0)
	for j := range colour {
		get := func(r, c int) float64 { return float64(t[(r*columns+c)*len(colour)+j]) }
		colour[j] = (1-a)*((1-b)*get(r0, c0)+b*get(r0, c1)) + a*((1-b)*get(r1, c0)+b*get(r1, c1))
	}
}

// along is a place of −1..1 among n texels, from 0 in the middle of the first to n − 1 in that of the last.
func along(u float32, n int) float64 {
	return min(max((float64(u)+1)/2*float64(n)-0.5, 0), float64(n-1))
}
