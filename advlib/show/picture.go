package show

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"maps"
	"slices"
	"strings"
	"unicode"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Picture is a finished picture. It holds the same drawing as SVG and as PNG, because front-ends differ: JupyterLab
// shows no SVG of a notebook that it does not trust yet. The zero Picture shows nothing.
type Picture struct {
	title, caption string
	svg            string
	png            []byte
	pdf            []byte  // of what is to be printed
	screen         string  // SVG, how a notebook shows what is to be printed
	width, height  float64 // in CSS pixels
}

// Title is one line on what the picture shows: its alternative text.
func (p Picture) Title() string { return p.title }

// String returns the title and the numbers that the picture shows.
func (p Picture) String() string { return strings.TrimRight(p.title+"\n"+p.caption, "\n") }

// SVG returns the picture as a stand-alone SVG document, with its title and its numbers as <title> and <desc>.
func (p Picture) SVG() string { return p.svg }

// PNG returns the picture as a PNG file of two pixels a point (144 dots an inch).
func (p Picture) PNG() []byte { return p.png }

// PDF returns a picture of [Printed] as a PDF file of one page; other pictures have none.
func (p Picture) PDF() []byte { return p.pdf }

// Size returns the size at which the picture is meant to be shown, in CSS pixels (96 an inch).
func (p Picture) Size() (width, height float64) { return p.width, p.height }

// HTML returns the picture as a fragment of HTML: an image, and its numbers as text to unfold.
func (p Picture) HTML() string {
	if p.svg == "" {
		return ""
	}
	return fmt.Sprintf(`<figure style="margin:0.4em 0"><img alt="%s" width="%.0f" style="max-width:100%%;height:auto" `+
		`src="data:image/svg+xml;base64,%s">`+
		`<figcaption><details><summary>numbers</summary><pre>%s</pre></details></figcaption></figure>`+"\n",
		html.EscapeString(p.title), p.width, base64.StdEncoding.EncodeToString([]byte(p.svg)), html.EscapeString(p.String()))
}

// pngDensity is pixels a point. It is whole, so that enlarged pixels of an example end on whole pixels.
const pngDensity = 2

// paint draws on a canvas of the given size in points. density is the device's pixels a point, 0 for a vector format.
type paint func(c draw.Canvas, density int)

// newPicture draws with both renderers. They panic on mistakes, such as a font that is missing.
func newPicture(title, caption string, w, h vg.Length, draws paint) (p Picture, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = Picture{}, fmt.Errorf("show: drawing %q: %v", title, r)
		}
	}()
	p = Picture{title: title, caption: caption, width: w.Points() * 96 / 72, height: h.Points() * 96 / 72}
	background := func(c draw.Canvas) {
		c.SetColor(color.White)
		c.Fill(c.Path())
	}

	vector := vgsvg.New(w, h)
	c := draw.New(vector)
	background(c)
	draws(c, 0)
	var b bytes.Buffer
	if _, err := vector.WriteTo(&b); err != nil {
		return Picture{}, fmt.Errorf("show: drawing %q: %w", title, err)
	}
	if p.svg, err = p.finishSVG(b.String(), w, h); err != nil {
		return Picture{}, err
	}

	raster := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(72*pngDensity))
	c = draw.New(raster)
	background(c)
	draws(c, pngDensity)
	b.Reset()
	if err := png.Encode(&b, reduced(raster.Image())); err != nil {
		return Picture{}, fmt.Errorf("show: drawing %q: %w", title, err)
	}
	p.png = b.Bytes()
	return p, nil
}

// reduced returns a drawing with at most 256 colours, which takes less than half of the bytes: the frequent ones stay
// as they are, and the many that appear along the edges of letters become the nearest of these. Photographs, which
// have far more colours, are left alone.
func reduced(img image.Image) image.Image {
	const drawing = 4096 // colours; the curves of the tests have up to 3100
	full, ok := img.(*image.RGBA)
	if !ok {
		return img
	}
	b := full.Bounds()
	count := map[color.RGBA]int{}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			count[full.RGBAAt(x, y)]++
		}
		if len(count) > drawing {
			return img
		}
	}
	colors := slices.SortedFunc(maps.Keys(count), func(p, q color.RGBA) int {
		order := func(c color.RGBA) int { return int(c.R)<<16 | int(c.G)<<8 | int(c.B) }
		return cmp.Or(count[q]-count[p], order(p)-order(q))
	})
	palette := make(color.Palette, min(len(colors), 256))
	for i := range palette {
		palette[i] = colors[i]
	}
	index := make(map[color.RGBA]uint8, len(colors))
	for i, c := range colors {
		if i < len(palette) {
			index[c] = uint8(i)
		} else {
			index[c] = uint8(palette.Index(c))
		}
	}
	out := image.NewPaletted(b, palette)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			out.SetColorIndex(x, y, index[full.RGBAAt(x, y)])
		}
	}
	return out
}

// finishSVG replaces the head that vgsvg writes by one that says what the picture shows to those who do not see it, and
// mends four things: text without Liberation's fonts falls back to a serif face (Arial and Helvetica have the same
// widths), embedded PNG data is called a JPEG, and browsers blur enlarged pixels, and shrink an image that is to fill a
// rectangle of other proportions. All patterns hold a quotation mark or a tag, which vgsvg escapes in text: no label
// can be mistaken for them.
func (p Picture) finishSVG(svg string, w, h vg.Length) (string, error) {
	_, body, found := strings.Cut(svg, "<svg ")
	if found {
		_, body, found = strings.Cut(body, ">\n")
	}
	if !found {
		return "", errors.New("show: gonum.org/v1/plot wrote no <svg> element: this version of it is not supported")
	}
	body = strings.NewReplacer(
		`style="font-family:Liberation Sans;font-variant:normal;font-weight:normal;font-style:normal;`,
		`style="font-family:Liberation Sans,Arial,Helvetica,sans-serif;`,
		`style="font-family:Liberation Sans;font-variant:normal;`, `style="font-family:Liberation Sans,Arial,Helvetica,sans-serif;`,
		`xlink:href="data:image/jpg;base64,`, `preserveAspectRatio="none" style="image-rendering:pixelated" xlink:href="data:image/png;base64,`,
		"\n\tstyle=", " style=",
	).Replace(body)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="%.6g" `+
		`height="%.6g" viewBox="0 0 %.6g %.6g" style="max-width:100%%;height:auto" role="img" aria-label="%s">
<title>%s</title>
<desc>%s</desc>
%s`, p.width, p.height, w.Points(), h.Points(), html.EscapeString(p.title), html.EscapeString(p.title),
		html.EscapeString(p.caption), body), nil
}

// The colours of Okabe and Ito (2008), "Color universal design", and grays.
var (
	black      = color.NRGBA{A: 255}
	darkGray   = color.NRGBA{85, 85, 85, 255}
	gray       = color.NRGBA{140, 140, 140, 255}
	lightGray  = color.NRGBA{225, 225, 225, 255}
	blue       = color.NRGBA{0, 114, 178, 255}
	vermillion = color.NRGBA{213, 94, 0, 255}
	green      = color.NRGBA{0, 158, 115, 255}
	orange     = color.NRGBA{230, 159, 0, 255}
	purple     = color.NRGBA{204, 121, 167, 255}
	sky        = color.NRGBA{86, 180, 233, 255}
)

var fonts = font.NewCache(liberation.Collection())

// sans is a style of text in points.
func sans(size vg.Length, c color.Color) text.Style {
	return text.Style{Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}, Handler: text.Plain{Fonts: fonts}}
}

func bold(s text.Style) text.Style {
	s.Font.Weight = 3 // golang.org/x/image/font.WeightBold
	return s
}

// oneLine makes foreign text fit for a label: valid UTF-8, one line, no control characters (XML has no place for
// them).
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r) || r == '\uFFFE' || r == '\uFFFF':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// fit shortens text with … until it is at most so wide.
func fit(s text.Style, txt string, width vg.Length) string {
	txt = oneLine(txt)
	if s.Width(txt) <= width {
		return txt
	}
	r := []rune(txt)
	for len(r) > 1 && s.Width(string(r)+"…") > width {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}

// wrapped breaks text between words into lines that are at most so wide.
func wrapped(s text.Style, txt string, width vg.Length) (lines []string) {
	for _, word := range strings.Fields(txt) {
		if n := len(lines); n > 0 && s.Width(lines[n-1]+" "+word) <= width {
			lines[n-1] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}
