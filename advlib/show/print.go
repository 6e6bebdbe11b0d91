package show

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"html"
	"image"
	"image/draw"
	"image/png"
	"math"
	"time"

	"codeberg.org/go-pdf/fpdf"
)

// Printed returns an image as a picture of a stated physical size: an adversarial patch, to be printed and put into the
// world.
//
// The width is in millimetres; the height follows. As PNG it has dpi dots an inch (0 means 300), which the file says,
// so that programs print it at that size; as PDF it is a page of that size; as SVG its size is in millimetres; in HTML
// it is in CSS's. Print at 100 %, without "fit to page". Pixels of the image are repeated, not blurred, and what is
// transparent stays so.
func Printed(img image.Image, title string, width float64, dpi int) (Picture, error) {
	const inch, most = 25.4, 20000 // millimetres; dots
	if img == nil || img.Bounds().Empty() {
		return Picture{}, errors.New("show: there is nothing to print: the image is empty")
	}
	if dpi == 0 {
		dpi = 300
	}
	b := img.Bounds()
	height := width * float64(b.Dy()) / float64(b.Dx())
	dots := func(mm float64) int { return int(math.Round(mm / inch * float64(dpi))) }
	w, h := 0, 0
	if width > 0 && width <= 10000 && dpi > 0 && dpi <= 10000 {
		w, h = dots(width), dots(height)
	}
	switch {
	case w < b.Dx() || h < b.Dy():
		return Picture{}, fmt.Errorf("show: print: a width of %g mm at %d dots an inch is less than a dot for each of %d × "+
			"%d pixels: give a larger width or more dots", width, dpi, b.Dx(), b.Dy())
	case w > most || h > most:
		return Picture{}, fmt.Errorf("show: print: %g × %g mm at %d dots an inch are %d × %d dots, more than %d: lower the dots",
			width, height, dpi, w, h, most)
	}

	large := image.NewNRGBA(image.Rect(0, 0, w, h))
	small := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(small, small.Bounds(), img, b.Min, draw.Src)
	for y := range h {
		for x := range w {
			large.SetNRGBA(x, y, small.NRGBAAt(x*b.Dx()/w, y*b.Dy()/h))
		}
	}
	var file, inner bytes.Buffer
	if err := errors.Join(png.Encode(&file, large), png.Encode(&inner, small)); err != nil {
		return Picture{}, fmt.Errorf("show: print %q: %w", title, err)
	}
	page, err := pageOf(file.Bytes(), width, height)
	if err != nil {
		return Picture{}, fmt.Errorf("show: print %q as PDF: %w", title, err)
	}
	p := Picture{
		pdf: page, title: oneLine(title),
		caption: fmt.Sprintf("%.4g × %.4g mm, %d × %d pixels, %d dots an inch", width, height, b.Dx(), b.Dy(), dpi),
		png:     withDensity(file.Bytes(), float64(dpi)/inch*1000), width: width * 96 / inch, height: height * 96 / inch,
	}
	p.svg = fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" `+
		`width="%.6gmm" height="%.6gmm" style="max-width:100%%;height:auto" viewBox="0 0 %d %d" role="img" aria-label="%s">
<title>%s</title>
<desc>%s</desc>
<image width="%d" height="%d" style="image-rendering:pixelated" xlink:href="data:image/png;base64,%s"/>
</svg>
`, width, height, b.Dx(), b.Dy(), html.EscapeString(p.title), html.EscapeString(p.title), html.EscapeString(p.caption),
		b.Dx(), b.Dy(), base64.StdEncoding.EncodeToString(inner.Bytes()))
	p.screen = p.onScreen(inner.Bytes())
	return p, nil
}

// onScreen is what a notebook shows of a picture to be printed: an image of pixels in PNG, no wider than a page, with
// an edge, as white paper has none on white, and its size below. At its true size a sticker of a road sign is wider
// than a page, which would have to be scrolled.
func (p Picture) onScreen(pixels []byte) string {
	const page, line = 600, 18 // CSS pixels
	width := min(p.width, page)
	height := p.height * width / p.width
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="%.6g" `+
		`height="%.6g" role="img" aria-label="%s">
<title>%s</title>
<desc>%s</desc>
<image x="1" y="1" width="%.6g" height="%.6g" preserveAspectRatio="none" style="image-rendering:pixelated"
xlink:href="data:image/png;base64,%s"/>
<rect x="0.5" y="0.5" width="%.6g" height="%.6g" fill="none" stroke="#808080"/>
<text x="1" y="%.6g" font-family="sans-serif" font-size="12" fill="#808080">%s: %s</text>
</svg>
`, max(width, page)+2, height+2+line, html.EscapeString(p.title), html.EscapeString(p.title), html.EscapeString(p.caption), width, height,
		base64.StdEncoding.EncodeToString(pixels), width+1, height+1, height+line-2, html.EscapeString(p.title), html.EscapeString(p.caption))
}

// pageOf is a PDF of one page of that size in millimetres, with nothing but an image on it, a file in PNG. The same
// picture makes the same file.
func pageOf(image []byte, width, height float64) ([]byte, error) {
	page := fpdf.NewCustom(&fpdf.InitType{UnitStr: "mm", Size: fpdf.SizeType{Wd: width, Ht: height}})
	page.SetCreationDate(time.Unix(0, 0).UTC())
	page.SetModificationDate(time.Unix(0, 0).UTC())
	page.SetMargins(0, 0, 0)
	page.SetAutoPageBreak(false, 0)
	page.AddPage()
	png := fpdf.ImageOptions{ImageType: "PNG"}
	page.RegisterImageOptionsReader("print", png, bytes.NewReader(image))
	page.ImageOptions("print", 0, 0, width, height, false, png, 0, "")
	var file bytes.Buffer
	err := page.Output(&file)
	return file.Bytes(), err
}

// withDensity puts a chunk pHYs behind the header of a PNG file: dots a metre in both directions (PNG specification,
// section 11.3.4.3).
func withDensity(file []byte, perMetre float64) []byte {
	const header = 8 + 4 + 4 + 13 + 4 // signature; length, type, data and checksum of IHDR
	chunk := binary.BigEndian.AppendUint32(nil, 9)
	chunk = append(chunk, "pHYs"...)
	for range 2 {
		chunk = binary.BigEndian.AppendUint32(chunk, uint32(math.Round(perMetre)))
	}
	chunk = append(chunk, 1) // the unit is the metre
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	return append(append(append([]byte(nil), file[:header]...), chunk...), file[header:]...)
}
