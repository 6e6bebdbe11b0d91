package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute"

	"advlab/advlib"
	"advlab/advlib/internal/option"
)

// Options say what the file does not.
type Options struct {
	// Box is the domain of the inputs. It must be given: a file does not say it.
	Box advlib.Box
	// Domain describes each feature of the inputs, if there is more to say than the Box: see [advlib.Domain].
	Domain advlib.Domain
	// Name is shown in reports; empty means the file's name, or the graph's.
	Name string
	// Classes are the names of the classes; nil names them by their numbers.
	Classes []string
	// Layout says where the data has its channels, and where the file.
	Layout Layout
	// Input is the shape of one input of the data, without the batch axis; nil means the file's, in the given layout. It
	// is needed where the file leaves sizes open. It may have other axes than the file's if the values are in the same
	// order all the same, because all axes are one, or only axes of size 1 differ: 784, or 28, 28, or 28, 28, 1 for a
	// file that takes 1, 28, 28.
	Input []int
	// Normalisation, if it is set, is done to the inputs first, inside of the classifier. Its Axis is one of the data's;
	// where the data has its values in a row and the file has channels, one of the file's in the given layout.
	Normalisation *advlib.Normalisation
	// Output names the output with the logits; empty means the only one of real numbers.
	Output string
	// StripSoftmax leaves out a final softmax, logarithm of one, or sigmoid. A final softmax or sigmoid is refused
	// otherwise, but with Returns. What comes behind it may only rename, cast or reshape.
	StripSoftmax bool
	// Returns says what the output is if it is not logits: probabilities, or the one logit of a binary model. Where
	// probabilities come from a final softmax or sigmoid, that is left out, and what goes into it are the logits; else the
	// logarithms of the probabilities are.
	Returns advlib.Returns
	// MaxValues is the most values that one input may lead to in one place of the model, constants among them; 0 means
	// 67,108,864. A file of a hundred bytes can ask for more memory than there is: the limit refuses it before anything is
	// allocated. Raise it for a model that is meant to be so large.
	MaxValues int
	// Backend is where the model runs; nil means backend.Open().
	Backend compute.Backend
}

// maxValues is the default of Options.MaxValues.
const maxValues = 1 << 26

// limit returns MaxValues, or its default.
func (o Options) limit() (int, error) {
	switch {
	case o.MaxValues < 0:
		return 0, fmt.Errorf("%v is %d: it must not be below 0", maxValuesName, o.MaxValues)
	case o.MaxValues == 0:
		return maxValues, nil
	}
	return min(o.MaxValues, math.MaxInt/probeBatch), nil
}

// Layout says how the axes of the data stand to those of the file. The transpose it needs is part of the model, so that
// attacks see the data's own axes.
type Layout int

const (
	// AsFile means that the data has the file's axes.
	AsFile Layout = iota
	// ChannelsLast means that data [n, h, w, c] meets a file that takes [n, c, h, w], as PyTorch's do.
	ChannelsLast
	// ChannelsFirst means that data [n, c, h, w] meets a file that takes [n, h, w, c], as some of TensorFlow's do.
	ChannelsFirst
	// FromShapes means the one of these that fits the shapes of Options.Input and of the file, which is in the
	// classifier's notes if it is another than AsFile. It is an error if several fit that would give the file its values
	// in different orders.
	FromShapes
)

// String returns "as file", "channels last", "channels first" or "from shapes".
func (l Layout) String() string {
	switch l {
	case AsFile:
		return "as file"
	case ChannelsLast:
		return "channels last"
	case ChannelsFirst:
		return "channels first"
	case FromShapes:
		return "from shapes"
	}
	return fmt.Sprintf("Layout(%d)", int(l))
}

// name is the layout as one sets it.
func (l Layout) name() option.Name {
	return []option.Name{"Layout: onnx.AsFile", "Layout: onnx.ChannelsLast", "Layout: onnx.ChannelsFirst", "Layout: onnx.FromShapes"}[l]
}

// ofFile returns for each axis of the file's input, without the batch axis, the axis of the data that it is.
func (l Layout) ofFile(rank int) ([]int, error) {
	switch {
	case l == AsFile:
		axes := make([]int, rank)
		for i := range axes {
			axes[i] = i
		}
		return axes, nil
	case l != ChannelsLast && l != ChannelsFirst:
		return nil, fmt.Errorf("there is no layout %v: use AsFile, ChannelsLast, ChannelsFirst or FromShapes", l)
	case rank < 2:
		return nil, fmt.Errorf("the layout %v needs an input with channels and at least one more axis, the file's has %d "+
			"axes without the batch: use %v", l, rank, AsFile.name())
	case l == ChannelsLast: // the file's channels, its first axis, are the data's last one
		axes := []int{rank - 1}
		for i := range rank - 1 {
			axes = append(axes, i)
		}
		return axes, nil
	default:
		var axes []int
		for i := 1; i < rank; i++ {
			axes = append(axes, i)
		}
		return append(axes, 0), nil
	}
}

// fit is how an input of the data becomes one of the file.
type fit struct {
	data   []int // shape of an input of the data
	middle []int // the same values with the axes of the layout; equal to data unless Options.Input says otherwise
	perm   []int // for each axis of the file, that of middle
	file   []int // shape of an input of the file
	layout Layout
}

// Options, as errors name them.
const (
	inputName     = option.Name("Options.Input")
	outputName    = option.Name("Options.Output")
	stripName     = option.Name("Options.StripSoftmax")
	maxValuesName = option.Name("Options.MaxValues")
)

// fitOf reconciles the file's input, with 0 for an open size, with the options.
func fitOf(file []int, o Options) (fit, error) {
	if o.Layout == FromShapes {
		return fromShapes(file, o.Input)
	}
	f, err := o.Layout.fit(file, o.Input)
	if axes := new(otherAxes); errors.As(err, &axes) {
		return fit{}, fmt.Errorf("%w; %s", err, axes.advice())
	}
	return f, err
}

// fit is fitOf in one layout.
func (l Layout) fit(file, input []int) (fit, error) {
	perm, err := l.ofFile(len(file))
	if err != nil {
		return fit{}, err
	}
	f := fit{layout: l, perm: perm, file: slices.Clone(file), middle: make([]int, len(file))}
	for _, d := range input {
		if d <= 0 {
			return fit{}, fmt.Errorf("the input shape %v of the options has a size below 1", input)
		}
	}
	for i, axis := range perm {
		f.middle[axis] = file[i]
		if file[i] == 0 {
			if len(input) != len(file) {
				return fit{}, fmt.Errorf("the file leaves sizes of its input open, %v without the batch (0 is open): give the "+
					"shape of one input of the data in %v, with %d sizes", file, inputName, len(file))
			}
			f.file[i], f.middle[axis] = input[axis], input[axis]
		}
	}
	f.data = f.middle
	if input != nil {
		if sizeOf(input) != sizeOf(f.file) {
			return fit{}, &otherAxes{f, input, fmt.Errorf("inputs of shape %v have %d values, the file takes %v (without the "+
				"batch), which are %d", input, sizeOf(input), f.file, sizeOf(f.file))}
		}
		if a, b := withoutOnes(input), withoutOnes(f.middle); !slices.Equal(a, b) && len(a) > 1 && len(b) > 1 {
			return fit{}, &otherAxes{f, input, fmt.Errorf("inputs of shape %v have other axes than the file, which takes %v "+
				"(without the batch) in the layout %v", input, f.middle, l)}
		}
		f.data = slices.Clone(input)
	}
	return f, nil
}

// otherAxes is an error that another layout may mend.
type otherAxes struct {
	fit   fit
	input []int
	error
}

func (e *otherAxes) advice() string {
	if found := fits(e.fit.file, e.input); len(found) > 0 {
		return fmt.Sprintf("%v fits", found[0].layout.name())
	}
	if sizeOf(e.input) != sizeOf(e.fit.file) {
		return "the data is not what the file takes: resize it, or export the model for its size"
	}
	return "no layout fits: transpose the data, or flatten it if its values are in the file's order"
}

// fits returns how an input can be one of the file's, once for each order in which the file gets the values.
func fits(file, input []int) []fit {
	var found []fit
	for _, l := range []Layout{AsFile, ChannelsLast, ChannelsFirst} {
		f, err := l.fit(file, input)
		if err != nil || slices.ContainsFunc(found, f.same) {
			continue
		}
		found = append(found, f)
	}
	return found
}

// same tells whether the file gets the values in the same order.
func (f fit) same(o fit) bool {
	order := func(f fit) []int {
		var axes []int // of the data, without those of size 1, as the file has them
		for _, axis := range f.perm {
			if f.middle[axis] != 1 {
				axes = append(axes, axis)
			}
		}
		numbered := slices.Sorted(slices.Values(axes))
		for i, axis := range axes {
			axes[i] = slices.Index(numbered, axis)
		}
		return axes
	}
	return slices.Equal(f.file, o.file) && slices.Equal(order(f), order(o))
}

// plausible tells whether the axis that the layout takes for the channels is as small as that of an image is beside its
// height and width.
func (f fit) plausible() bool {
	switch f.layout {
	case ChannelsLast:
		return f.file[0] == slices.Min(f.file)
	case ChannelsFirst:
		return f.file[len(f.file)-1] == slices.Min(f.file)
	}
	return true
}

// ambiguous is an error that choosing one of the layouts mends.
type ambiguous struct {
	fits  []fit
	input []int
}

func (e *ambiguous) Error() string {
	var ways []string
	for _, f := range e.fits {
		ways = append(ways, f.layout.name().String())
	}
	return fmt.Sprintf("inputs of shape %v can be taken in several ways for the file's input %v (without the batch): "+
		"say which by one of %s", e.input, e.fits[0].file, strings.Join(ways, ", "))
}

// fromShapes returns the only way in which the data can be the file's input.
//
// An input of two axes is taken as it is if it fits: it is a gray image, or a sequence, and hardly channels of a line.
// What makes an axis the channels that is longer than the height is left out if there is anything else.
func fromShapes(file, input []int) (fit, error) {
	asFile, err := AsFile.fit(file, input)
	if input == nil || err == nil && len(withoutOnes(asFile.file)) <= 2 {
		return asFile, err
	}
	found := fits(file, input)
	if plausible := slices.DeleteFunc(slices.Clone(found), func(f fit) bool { return !f.plausible() }); len(plausible) > 0 {
		found = plausible
	}
	switch len(found) {
	case 0:
		return fitOf(file, Options{Input: input}) // which says why not
	case 1:
		return found[0], nil
	}
	return fit{}, &ambiguous{found, input}
}

// note says how the axes were taken, if it is not plain.
func (f fit) note() string {
	if f.layout == AsFile || f.same(fit{perm: []int{0, 1, 2, 3, 4, 5, 6, 7}[:len(f.perm)], middle: f.middle, file: f.file}) {
		return ""
	}
	axes := map[Layout]string{ChannelsLast: "channels last", ChannelsFirst: "channels first"}[f.layout]
	return fmt.Sprintf("axes of the data: %s, %v, which the model takes as %v", axes, f.data, f.file)
}

func withoutOnes(dims []int) []int {
	return slices.DeleteFunc(slices.Clone(dims), func(d int) bool { return d == 1 })
}

func sizeOf(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// normalisation is n for inputs with the axes of the layout. Where that names the channels, they are the
// normalisation's too.
func (f fit) normalisation(n advlib.Normalisation) (*advlib.Normalisation, error) {
	switch {
	case n.Channels() == 1:
	case n.Axis != 0 && slices.Equal(withoutOnes(f.data), withoutOnes(f.middle)):
		data, err := n.Fit(f.data)
		if err != nil {
			return nil, err
		}
		// The same axis among those that are longer than 1.
		n.Axis = 1
		for rest := len(withoutOnes(f.data[:data.Axis])); rest > len(withoutOnes(f.middle[:n.Axis])); {
			n.Axis++
		}
	case n.Axis == 0 && f.layout == ChannelsLast:
		n.Axis = -1
	case n.Axis == 0 && f.layout == ChannelsFirst:
		n.Axis = 1
	}
	fitted, err := n.Fit(f.middle)
	return &fitted, err
}
