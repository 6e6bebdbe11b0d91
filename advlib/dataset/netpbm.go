package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
)

// maxPixels is the largest picture that is read, a photograph of 64 megapixels.
const maxPixels = 64 << 20

func init() {
	for magic := '1'; magic <= '6'; magic++ {
		image.RegisterFormat("netpbm", "P"+string(magic), decodeNetpbm, netpbmConfig)
	}
}

// netpbm is the header of a PBM, PGM or PPM image, as pbm(5), pgm(5) and ppm(5) of Netpbm describe them.
type netpbm struct {
	bits, text    bool // PBM; numbers in text
	channels      int
	width, height int
	most          int // the largest value, 1..65535
}

// readNetpbmHeader reads the magic, the width, the height, and the largest value.
func readNetpbmHeader(r *bufio.Reader) (netpbm, error) {
	var magic [2]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return netpbm{}, endsEarly(err)
	}
	kind := magic[1] - '0'
	if magic[0] != 'P' || kind < 1 || kind > 6 {
		return netpbm{}, fmt.Errorf("it begins with %q, a PBM, PGM or PPM image with P1 to P6", magic)
	}
	h := netpbm{bits: kind%3 == 1, text: kind <= 3, channels: 1, most: 1}
	if kind%3 == 0 {
		h.channels = 3
	}
	for _, field := range []struct {
		name string
		to   *int
		most int
	}{{"width", &h.width, 1 << 20}, {"height", &h.height, 1 << 20}, {"largest value", &h.most, 65535}} {
		if field.to == &h.most && h.bits {
			break
		}
		n, err := netpbmNumber(r)
		if err != nil {
			return netpbm{}, fmt.Errorf("its %s: %w", field.name, err)
		}
		if n < 1 || n > field.most {
			return netpbm{}, fmt.Errorf("its %s is %d, not in 1..%d", field.name, n, field.most)
		}
		*field.to = n
	}
	if n := h.width * h.height; n > maxPixels {
		return netpbm{}, fmt.Errorf("it has %d × %d pixels, up to %d in all are read", h.width, h.height, maxPixels)
	}
	return h, nil
}

// endsEarly says in words that a file is cut, where a decoder says no more than that.
func endsEarly(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("it ends too early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// netpbmNumber reads a number in text, with the white space and the comments before it, and the one byte behind it.
func netpbmNumber(r *bufio.Reader) (int, error) {
	n, digits, comment := 0, 0, false
	for {
		c, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && digits > 0:
			return n, nil
		case err != nil:
			return 0, endsEarly(err)
		case comment:
			comment = c != '\n' && c != '\r'
		case c >= '0' && c <= '9':
			if digits++; digits > 8 {
				return 0, fmt.Errorf("a number has more than 8 digits")
			}
			n = 10*n + int(c-'0')
		case c == ' ' || c >= '\t' && c <= '\r':
			if digits > 0 {
				return n, nil
			}
		case c == '#' && digits == 0:
			comment = true
		default:
			return 0, fmt.Errorf("it has the byte %q where a number was expected", c)
		}
	}
}

func netpbmConfig(r io.Reader) (image.Config, error) {
	h, err := readNetpbmHeader(bufio.NewReader(r))
	if err != nil {
		return image.Config{}, fmt.Errorf("netpbm: %w", err)
	}
	model := color.Gray16Model
	if h.channels == 3 {
		model = color.RGBA64Model
	}
	return image.Config{ColorModel: model, Width: h.width, Height: h.height}, nil
}

// decodeNetpbm reads the first image of a file. Values are scaled so that the largest that the header allows is white:
// 0..most becomes 0..65535.
func decodeNetpbm(r io.Reader) (image.Image, error) {
	img, err := readNetpbm(bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("netpbm: %w", err)
	}
	return img, nil
}

func readNetpbm(r *bufio.Reader) (image.Image, error) {
	h, err := readNetpbmHeader(r)
	if err != nil {
		return nil, err
	}
	gray, rgb := &image.Gray16{}, &image.RGBA64{}
	bounds := image.Rect(0, 0, h.width, h.height)
	row := make([]int, h.width*h.channels)
	var pix []byte // grows with what arrives, not with what the header promises
	for y := range h.height {
		if err := h.row(r, row); err != nil {
			return nil, fmt.Errorf("row %d of %d: %w", y, h.height, err)
		}
		for i, v := range row {
			if v > h.most {
				return nil, fmt.Errorf("row %d has the value %d, above its largest, %d", y, v, h.most)
			}
			v = (v*65535 + h.most/2) / h.most
			pix = append(pix, byte(v>>8), byte(v))
			if h.channels == 3 && i%3 == 2 {
				pix = append(pix, 255, 255)
			}
		}
	}
	if h.channels == 1 {
		gray.Pix, gray.Stride, gray.Rect = pix, 2*h.width, bounds
		return gray, nil
	}
	rgb.Pix, rgb.Stride, rgb.Rect = pix, 8*h.width, bounds
	return rgb, nil
}

// row reads the values of a row. In a PBM, 1 is black.
func (h netpbm) row(r *bufio.Reader, to []int) error {
	switch {
	case h.bits && h.text: // digits need no space between them
		for i := range to {
			for {
				c, err := r.ReadByte()
				if err != nil {
					return endsEarly(err)
				}
				if c == '0' || c == '1' {
					to[i] = int('1' - c)
					break
				}
				if c != ' ' && (c < '\t' || c > '\r') {
					return fmt.Errorf("it has the byte %q where 0 or 1 was expected", c)
				}
			}
		}
	case h.text:
		for i := range to {
			n, err := netpbmNumber(r)
			if err != nil {
				return err
			}
			to[i] = n
		}
	default:
		size := 1
		if h.most > 255 {
			size = 2
		}
		b := make([]byte, len(to)*size)
		if h.bits {
			b = make([]byte, (len(to)+7)/8)
		}
		if _, err := io.ReadFull(r, b); err != nil {
			return endsEarly(err)
		}
		for i := range to {
			switch {
			case h.bits:
				to[i] = int(1 - b[i/8]>>(7-i%8)&1)
			case size == 2:
				to[i] = int(b[2*i])<<8 | int(b[2*i+1])
			default:
				to[i] = int(b[i])
			}
		}
	}
	return nil
}
