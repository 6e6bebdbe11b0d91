package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute"

	"advlab/advlib"
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
	// Output names the output with the logits; empty means the only one of real numbers.
	Output string
	// StripSoftmax leaves out a final softmax or sigmoid, which is refused otherwise.
	StripSoftmax bool
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
		return 0, fmt.Errorf("Options.MaxValues is %d: it must not be below 0", o.MaxValues)
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
)

// String returns "as file", "channels last" or "channels first".
func (l Layout) String() string {
	switch l {
	case AsFile:
		return "as file"
	case ChannelsLast:
		return "channels last"
	case ChannelsFirst:
		return "channels first"
	}
	return fmt.Sprintf("Layout(%d)", int(l))
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
		return nil, fmt.Errorf("there is no layout %v: use AsFile, ChannelsLast or ChannelsFirst", l)
	case rank < 2:
		return nil, fmt.Errorf("the layout %v needs an input with channels and at least one more axis, the file's has %d axes without the batch: use AsFile", l, rank)
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
}

// fitOf reconciles the file's input, with 0 for an open size, with the options.
func fitOf(file []int, o Options) (fit, error) {
	perm, err := o.Layout.ofFile(len(file))
	if err != nil {
		return fit{}, err
	}
	f := fit{perm: perm, file: slices.Clone(file), middle: make([]int, len(file))}
	for _, d := range o.Input {
		if d <= 0 {
			return fit{}, fmt.Errorf("the input shape %v of the options has a size below 1", o.Input)
		}
	}
	for i, axis := range perm {
		f.middle[axis] = file[i]
		if file[i] == 0 {
			if len(o.Input) != len(file) {
				return fit{}, fmt.Errorf("the file leaves sizes of its input open, %v without the batch (0 is open): give the shape of one input of the data in Options.Input, with %d sizes", file, len(file))
			}
			f.file[i], f.middle[axis] = o.Input[axis], o.Input[axis]
		}
	}
	f.data = f.middle
	if o.Input != nil {
		if sizeOf(o.Input) != sizeOf(f.file) {
			return fit{}, fmt.Errorf("inputs of shape %v have %d values, the file takes %v (without the batch), which are %d", o.Input, sizeOf(o.Input), f.file, sizeOf(f.file))
		}
		if a, b := withoutOnes(o.Input), withoutOnes(f.middle); !slices.Equal(a, b) && len(a) > 1 && len(b) > 1 {
			return fit{}, fmt.Errorf("inputs of shape %v have other axes than the file, which takes %v (without the batch) in the layout %v; %s", o.Input, f.middle, o.Layout, otherLayout(file, o))
		}
		f.data = slices.Clone(o.Input)
	}
	return f, nil
}

// otherLayout says which layout would fit the options' input.
func otherLayout(file []int, o Options) string {
	for l, name := range []string{AsFile: "AsFile", ChannelsLast: "ChannelsLast", ChannelsFirst: "ChannelsFirst"} {
		perm, err := Layout(l).ofFile(len(file))
		if err != nil {
			continue
		}
		middle := make([]int, len(file))
		for i, axis := range perm {
			middle[axis] = file[i]
		}
		if slices.Equal(withoutOnes(middle), withoutOnes(o.Input)) {
			return fmt.Sprintf("the layout %s fits", name)
		}
	}
	return "no layout fits: transpose the data, or flatten it if its values are in the file's order"
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
