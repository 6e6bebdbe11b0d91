package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // decodes JPEG
	_ "image/png"  // decodes PNG
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	_ "golang.org/x/image/bmp" // decodes BMP
	"golang.org/x/image/draw"
	_ "golang.org/x/image/tiff" // decodes TIFF
	_ "golang.org/x/image/webp" // decodes WebP

	"advlab/advlib"
)

// Pictures says how files of pictures become inputs [height, width, channels] in [0, 1]: each value is divided by the
// largest that the format allows, 255 or 65535, or what a PGM's or PPM's header says. The zero value takes them in the
// size that they have.
//
// PNG, JPEG, PPM, PGM and PBM, BMP, TIFF and WebP are read, by what is in the file and not by its name. A picture that
// a camera took sideways, as its Exif data say, is turned upright. A transparent pixel is as on black.
type Pictures struct {
	// Height and Width are the size that all are brought to, by linear interpolation over as many pixels as become one
	// (what Pillow's resize does with BILINEAR). 0 leaves them as they are; then they must all be of one size.
	Height, Width int
	// Channels is 1 for gray, 3 for red, green and blue. 0 means 1 where all pictures are gray, else 3: a gray one among
	// colours has the same value three times. A colour becomes gray by its luma, as in ITU-R BT.601.
	Channels int
	// SkipBroken leaves out files that cannot be read. They are counted and named in [advlib.Examples.Notes]. Without it,
	// one such file is an error, which names it.
	SkipBroken bool
}

// extensions are the endings by which files of pictures are found in a folder.
var extensions = []string{".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp"}

// isPicture tells a file of a picture by its name. Files that begin with a point are those of file managers.
func isPicture(name string) bool {
	return !strings.HasPrefix(name, ".") && slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
}

// entry is a file of a picture that is to be read, with its label, the group that it belongs to, and what is taken of
// it; an empty crop means all.
type entry struct {
	path  string
	label int32
	group string
	crop  image.Rectangle
}

// picture is a file that was read.
type picture struct {
	entry
	height, width     int
	values            []float32 // [height, width, 1] of a gray picture, else [height, width, 3]
	gray, transparent bool
}

// picture reads a file.
func (o Pictures) picture(from entry) (p picture, err error) {
	defer func() {
		if r := recover(); r != nil { // one of the decoders: a broken file must not end a run of hours
			err = fmt.Errorf("it is damaged: %v", r)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", from.path, err)
		}
	}()
	file, err := readWhole(from.path)
	if err != nil {
		return p, err
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(file))
	if errors.Is(err, image.ErrFormat) {
		return p, fmt.Errorf("it begins with %q, and is no picture in PNG, JPEG, PPM, PGM, PBM, BMP, TIFF or WebP", file[:min(8, len(file))])
	}
	if err != nil {
		return p, endsEarly(err)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > maxPixels/config.Height {
		return p, fmt.Errorf("it has %d × %d pixels, 1 to %d in all are read", config.Width, config.Height, maxPixels)
	}
	img, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return p, endsEarly(err)
	}
	p = picture{entry: from, gray: isGray(img)}
	if i, ok := img.(interface{ Opaque() bool }); ok {
		p.transparent = !i.Opaque()
	}
	pix := upright(img, orientation(file))
	part := pix.Bounds()
	if !from.crop.Empty() {
		if !from.crop.In(part) {
			return p, fmt.Errorf("it has %d × %d pixels, and the part that is to be taken is %v", part.Dx(), part.Dy(), from.crop)
		}
		part = from.crop
	}
	p.height, p.width = o.Height, o.Width
	if p.height == 0 {
		p.height, p.width = part.Dy(), part.Dx()
	}
	if part != image.Rect(0, 0, p.width, p.height) {
		sized := image.NewRGBA64(image.Rect(0, 0, p.width, p.height))
		draw.BiLinear.Scale(sized, sized.Bounds(), pix, part, draw.Src, nil)
		pix = sized
	}
	p.take(pix)
	return p, nil
}

// readWhole reads a file.
func readWhole(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err) // which the caller names
	}
	defer f.Close()
	const largest = 1 << 30
	file, err := io.ReadAll(io.LimitReader(f, largest+1))
	switch {
	case err != nil:
		return nil, err
	case len(file) == 0:
		return nil, errors.New("it is empty")
	case len(file) > largest:
		return nil, fmt.Errorf("it is larger than %d bytes", largest)
	}
	return file, nil
}

// take takes the values of pixels, which begin at the origin.
func (p *picture) take(pix *image.RGBA64) {
	for y := range p.height {
		for x := range p.width {
			c := pix.RGBA64At(x, y)
			p.values = append(p.values, float32(c.R)/65535)
			if !p.gray {
				p.values = append(p.values, float32(c.G)/65535, float32(c.B)/65535)
			}
		}
	}
}

// isGray tells a format without colours, or a palette of grays.
func isGray(img image.Image) bool {
	switch m := img.ColorModel().(type) {
	case color.Palette:
		return !slices.ContainsFunc(m, func(c color.Color) bool {
			r, g, b, _ := c.RGBA()
			return r != g || g != b
		})
	default:
		return m == color.GrayModel || m == color.Gray16Model
	}
}

// upright copies a picture, on black, turned as its orientation says.
func upright(img image.Image, orientation int) *image.RGBA64 {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	out := image.NewRGBA64(image.Rect(0, 0, w, h))
	draw.Copy(out, image.Point{}, img, b, draw.Src, nil)
	if orientation == 1 {
		return out
	}
	if orientation >= 5 {
		w, h = h, w
	}
	turned := image.NewRGBA64(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			i, j := x, y // where it lies in the file
			switch orientation {
			case 2:
				i = w - 1 - x
			case 3:
				i, j = w-1-x, h-1-y
			case 4:
				j = h - 1 - y
			case 5:
				i, j = y, x
			case 6:
				i, j = y, w-1-x
			case 7:
				i, j = h-1-y, w-1-x
			case 8:
				i, j = h-1-y, x
			}
			turned.SetRGBA64(x, y, out.RGBA64At(i, j))
		}
	}
	return turned
}

func (o Pictures) check() error {
	switch {
	case o.Height < 0 || o.Width < 0 || (o.Height == 0) != (o.Width == 0):
		return fmt.Errorf("the size %d × %d makes no picture: give Height and Width, or neither", o.Height, o.Width)
	case o.Height > 0 && o.Width > maxPixels/o.Height:
		return fmt.Errorf("the size %d × %d has more than %d pixels", o.Height, o.Width, maxPixels)
	case o.Channels != 0 && o.Channels != 1 && o.Channels != 3:
		return fmt.Errorf("%d channels are asked for: there are 1, gray, and 3, colour; 0 leaves it to the files", o.Channels)
	}
	return nil
}

// read reads the files, and puts those that are not skipped together, in their order.
func (o Pictures) read(name string, classes []string, entries []entry) (*Grouped, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	all, notes, err := o.decode(entries)
	if err != nil {
		return nil, err
	}
	channels, said := o.channels(all)
	notes = append(notes, said...)
	height, width := all[0].height, all[0].width
	x := make([]float32, 0, len(all)*height*width*channels)
	g := &Grouped{}
	var labels []int32
	for i, p := range all {
		if p.height != height || p.width != width {
			return nil, fmt.Errorf("%s has %d × %d pixels and %s has %d × %d: say which size all are to have, by Pictures.Height "+
				"and Pictures.Width", all[0].path, width, height, p.path, p.width, p.height)
		}
		x = p.appendTo(x, channels)
		labels, g.Group = append(labels, p.label), append(g.Group, p.group)
		all[i].values = nil // it is in x now
	}
	if g.Examples, err = advlib.NewExamples(name, x, []int{height, width, channels}, labels); err != nil {
		return nil, err
	}
	g.Classes, g.Notes = classes, notes
	return g, nil
}

// decode reads the files on as many processors as there are. It returns at least one, and what is to be said of those
// that were skipped.
func (o Pictures) decode(entries []entry) (all []picture, notes []string, err error) {
	read, failed := make([]picture, len(entries)), make([]error, len(entries))
	var next atomic.Int64
	var stop atomic.Bool
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(entries)) && !stop.Load(); i = next.Add(1) - 1 {
				if read[i], failed[i] = o.picture(entries[i]); failed[i] != nil && !o.SkipBroken {
					stop.Store(true)
				}
			}
		})
	}
	group.Wait()
	var broken []string
	for i, err := range failed {
		switch {
		case err == nil:
			all = append(all, read[i])
		case !o.SkipBroken:
			return nil, nil, fmt.Errorf("%w; to leave out files that cannot be read, set Pictures.SkipBroken", err)
		default:
			broken = append(broken, err.Error())
		}
	}
	if len(broken) > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d files cannot be read and are left out: %s", len(broken), len(entries),
			strings.Join(broken, "; ")))
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("none of its pictures can be read: %s", strings.Join(notes, ""))
	}
	return all, notes, nil
}

// channels returns how many channels the pictures are given, and what is to be said of those that have others.
func (o Pictures) channels(all []picture) (channels int, notes []string) {
	grays, transparent := 0, 0
	for _, p := range all {
		if p.gray {
			grays++
		}
		if p.transparent {
			transparent++
		}
	}
	channels = o.Channels
	if channels == 0 && grays == len(all) {
		channels = 1
	}
	if channels == 0 {
		channels = 3
	}
	switch {
	case channels == 3 && grays > 0:
		notes = append(notes, fmt.Sprintf("%d of %d pictures are gray: they have the same value in three channels", grays, len(all)))
	case channels == 1 && grays < len(all):
		notes = append(notes, fmt.Sprintf("%d of %d pictures are in colour: they are taken by their luma", len(all)-grays, len(all)))
	}
	if transparent > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d pictures have transparent pixels: they are taken as on black", transparent, len(all)))
	}
	return channels, notes
}

// appendTo appends the picture's values, in so many channels.
func (p picture) appendTo(x []float32, channels int) []float32 {
	switch {
	case p.gray && channels == 3:
		for _, v := range p.values {
			x = append(x, v, v, v)
		}
		return x
	case !p.gray && channels == 1:
		for c := range slices.Chunk(p.values, 3) {
			x = append(x, float32(0.299*float64(c[0])+0.587*float64(c[1])+0.114*float64(c[2])))
		}
		return x
	}
	return append(x, p.values...)
}
