package endpoint

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// inputs says how inputs are written into requests.
type inputs struct {
	examples []int    // the shape of one, as the examples have it
	server   []int    // the shape of one, as the server takes it
	datatype datatype // of the numbers
	factor   float64  // by which values are multiplied first
	channels bool     // channels are moved from the last axis to the first
	form     Form
}

// datatype is how the protocol calls a type of numbers.
type datatype struct {
	name  string
	size  int  // in bytes
	whole bool // it has whole numbers only
	lo    float64
	hi    float64
}

var datatypes = []datatype{
	{"FP32", 4, false, 0, 0}, {"FP64", 8, false, 0, 0},
	{"UINT8", 1, true, 0, math.MaxUint8}, {"UINT16", 2, true, 0, math.MaxUint16},
	{"UINT32", 4, true, 0, math.MaxUint32}, {"UINT64", 8, true, 0, 1 << 53},
	{"INT8", 1, true, math.MinInt8, math.MaxInt8}, {"INT16", 2, true, math.MinInt16, math.MaxInt16},
	{"INT32", 4, true, math.MinInt32, math.MaxInt32}, {"INT64", 8, true, -1 << 53, 1 << 53},
	{"BOOL", 1, true, 0, 1},
}

// datatypeOf finds a type by its name.
func datatypeOf(name string) (datatype, error) {
	i := slices.IndexFunc(datatypes, func(d datatype) bool { return d.name == name })
	if i >= 0 {
		return datatypes[i], nil
	}
	var all []string
	for _, d := range datatypes {
		all = append(all, d.name)
	}
	return datatype{}, fmt.Errorf("inputs of the datatype %q cannot be sent exactly: there are %s", name, strings.Join(all, ", "))
}

// levels is the number of steps of 8-bit images in the box from 0 to 1.
const levels = 255

// settle completes what follows from the box, and returns the domain: where numbers are whole, each coordinate has
// steps.
func (in *inputs) settle(box advlib.Box, d advlib.Domain) (advlib.Domain, error) {
	in.factor = 1
	if in.form == PNG {
		in.datatype = datatypes[2]
	}
	if !in.datatype.whole {
		return d, nil
	}
	if in.datatype.name == "UINT8" && box.Lo >= 0 && box.Hi <= 1 {
		in.factor = levels
	}
	if d == nil {
		if low, high := box.Lo*in.factor, box.Hi*in.factor; low < in.datatype.lo || high > in.datatype.hi ||
			low != math.Round(low) || high != math.Round(high) {
			return nil, fmt.Errorf("inputs in the box %v do not fit whole numbers of %s, from %g to %g", box, in.datatype.name, in.datatype.lo,
				in.datatype.hi)
		}
		d = make(advlib.Domain, product(in.examples))
		for i := range d {
			d[i] = advlib.Feature{Lo: box.Lo, Hi: box.Hi, Step: 1 / in.factor}
		}
		return d, nil
	}
	for i, f := range d {
		whole := func(v float64) bool { return math.Abs(v*in.factor-math.Round(v*in.factor)) < 1e-6 }
		if f.OneHot == 0 && f.Formula == "" && (f.Step == 0 || !whole(f.Step) || !whole(f.Lo)) {
			return nil, fmt.Errorf("feature %d, %q, of the domain has the step %g from %g on, and the server takes whole numbers (%s): its "+
				"step must be %g, or several of these", i, f.Name, f.Step, f.Lo, in.datatype.name, 1/in.factor)
		}
	}
	return d, nil
}

// sent returns the numbers that are sent for a flat input, in the server's order.
func (in *inputs) sent(x []float32) ([]float64, error) {
	v := make([]float64, len(x))
	for i, f := range x {
		v[i] = float64(f) * in.factor
		if in.datatype.whole {
			r := math.Round(v[i])
			if math.Abs(r-v[i]) > 1e-3 || r < in.datatype.lo || r > in.datatype.hi {
				return nil, fmt.Errorf("value %d of the input is %g, and the server takes whole numbers (%s)", i, v[i], in.datatype.name)
			}
			v[i] = r
		}
		if math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
			return nil, fmt.Errorf("value %d of the input is %g, which cannot be sent", i, v[i])
		}
	}
	if !in.channels {
		return v, nil
	}
	c := in.examples[len(in.examples)-1]
	moved, pixels := make([]float64, len(v)), len(v)/c
	for p := range pixels {
		for k := range c {
			moved[k*pixels+p] = v[p*c+k]
		}
	}
	return moved, nil
}

// little appends numbers as the binary extension has them: little-endian.
func (in *inputs) little(b []byte, v []float64) []byte {
	for _, f := range v {
		switch in.datatype.name {
		case "FP32":
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(f)))
		case "FP64":
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
		default:
			n := uint64(int64(f))
			for range in.datatype.size {
				b = append(b, byte(n))
				n >>= 8
			}
		}
	}
	return b
}

// number appends a number in JSON. It comes back as the same float32, or, where the server reads float64, as the same
// float64. Floats have a point: some servers take 1 for an integer.
func (in *inputs) number(b []byte, v float64) []byte {
	switch {
	case in.datatype.name == "BOOL":
		return strconv.AppendBool(b, v != 0)
	case in.datatype.whole:
		return strconv.AppendInt(b, int64(v), 10)
	}
	bits := 32
	if in.datatype.name == "FP64" {
		bits = 64
	}
	from := len(b)
	b = strconv.AppendFloat(b, v, 'g', -1, bits)
	if !bytes.ContainsAny(b[from:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// flat appends numbers in JSON, separated by commas.
func (in *inputs) flat(b []byte, v []float64) []byte {
	for i, f := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = in.number(b, f)
	}
	return b
}

// nested appends numbers of a shape as lists of lists.
func (in *inputs) nested(b []byte, v []float64, shape []int) []byte {
	if len(shape) == 0 {
		return in.number(b, v[0])
	}
	b = append(b, '[')
	size := len(v) / shape[0]
	for i := range shape[0] {
		if i > 0 {
			b = append(b, ',')
		}
		b = in.nested(b, v[i*size:(i+1)*size], shape[1:])
	}
	return append(b, ']')
}

// one appends an input in the form of a template.
func (in *inputs) one(b []byte, v []float64) ([]byte, error) {
	switch in.form {
	case Flat:
		return append(in.flat(append(b, '['), v), ']'), nil
	case PNG:
		text, err := in.png(v)
		return strconv.AppendQuote(b, text), err
	}
	return in.nested(b, v, in.server), nil
}

// png returns an image as PNG in base64.
func (in *inputs) png(v []float64) (string, error) {
	h, w, c, err := plane(in.server)
	if err != nil {
		return "", err
	}
	var img image.Image
	if c == 1 {
		g := image.NewGray(image.Rect(0, 0, w, h))
		for i, f := range v {
			g.Pix[i] = uint8(f)
		}
		img = g
	} else {
		g := image.NewNRGBA(image.Rect(0, 0, w, h))
		for i := range h * w {
			for k := range 4 {
				g.Pix[4*i+k] = levels
				if k < c {
					g.Pix[4*i+k] = uint8(v[i*c+k])
				}
			}
		}
		img = g
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// plane returns the height, width and channels of an image.
func plane(shape []int) (h, w, c int, err error) {
	if len(shape) == 2 {
		return shape[0], shape[1], 1, nil
	}
	if len(shape) == 3 && (shape[2] == 1 || shape[2] == 3 || shape[2] == 4) {
		return shape[0], shape[1], shape[2], nil
	}
	return 0, 0, 0, fmt.Errorf("inputs of shape %v are no images: PNG takes [height, width] and [height, width, 1, 3 or 4]", shape)
}

// fit decides how examples go into a shape that the server names, −1 being any size.
func (in *inputs) fit(want []int) error {
	same := func(a []int) bool {
		return slices.EqualFunc(a, want, func(have, want int) bool { return want == -1 || have == want })
	}
	bare := func(s []int) []int { return slices.DeleteFunc(slices.Clone(s), func(d int) bool { return d == 1 }) }
	n := len(in.examples)
	switch {
	case same(in.examples):
		in.server = in.examples
	case len(want) == 1 && (want[0] == -1 || want[0] == product(in.examples)):
		in.server = []int{product(in.examples)}
	case n == 3 && same([]int{in.examples[2], in.examples[0], in.examples[1]}):
		in.server, in.channels = []int{in.examples[2], in.examples[0], in.examples[1]}, true
	case !slices.Contains(want, -1) && slices.Equal(bare(in.examples), bare(want)):
		in.server = slices.Clone(want)
	default:
		return fmt.Errorf("the server takes inputs of shape %v (−1: any), and the examples are of shape %v", want, in.examples)
	}
	return nil
}

// Fit returns examples whose values are those that requests can carry: where these are whole numbers, as the bytes of
// an image, values that a division has rounded are put on the nearest step. It is an error if one is farther from it
// than rounding explains. Other examples are returned as they are.
func (e *Endpoint) Fit(x *advlib.Examples) (*advlib.Examples, error) {
	d := e.signature.Domain
	if !e.inputs.datatype.whole || !slices.Equal(x.Shape(), e.signature.Input) {
		return x, nil
	}
	flat := tensors.MustCopyFlatData[float32](x.X)
	size := product(x.Shape())
	at := 0
	for _, f := range d {
		width := max(1, f.OneHot)
		for j := at; f.OneHot == 0 && f.Formula == "" && j < len(flat); j += size {
			level := math.Round((float64(flat[j]) - f.Lo) / f.Step)
			v := float32(f.Lo + level*f.Step)
			if math.Abs(float64(v-flat[j])) > 1e-2*f.Step {
				return nil, fmt.Errorf("endpoint: example %d has the value %g at position %d, which the server, which takes whole numbers (%s), "+
					"cannot be sent: the nearest is %g", j/size, flat[j], j%size, e.inputs.datatype.name, v)
			}
			flat[j] = v
		}
		at += width
	}
	out := *x
	out.X = tensors.FromFlatDataAndDimensions(flat, x.X.Shape().Dimensions...)
	return &out, nil
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
