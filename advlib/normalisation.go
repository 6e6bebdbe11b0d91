package advlib

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/internal/option"
)

// Normalisation is what a model wants done to its inputs first: (x − Mean)/Std, where its author did that outside of
// the model, as torchvision.transforms.Normalize does. In [Spec] it becomes part of the classifier: the box, radii,
// distances and certificates stay in units of x, such as pixels in [0, 1].
//
// Mean and Std are in units of x too. Numbers for pixels in 0..255, such as 123.675, are divided by 255 for pixels in
// [0, 1].
type Normalisation struct {
	// Mean and Std have one number, or one for each channel. A nil Mean is 0, a nil Std is 1.
	Mean, Std []float64
	// Axis is that of the channels in x [n, d...]: 1 for [n, c, h, w], 3 or −1 for [n, h, w, c]. 0 finds it: the only axis
	// that has as many entries as there are numbers.
	Axis int
}

// NormalisationOf returns a normalisation by the same two numbers everywhere.
func NormalisationOf(mean, std float64) *Normalisation {
	return &Normalisation{Mean: []float64{mean}, Std: []float64{std}}
}

// Channels returns how many channels have numbers of their own; 1 if there is one number for all.
func (n Normalisation) Channels() int { return max(len(n.Mean), len(n.Std), 1) }

// Fit returns the normalisation for inputs of a shape, without the batch axis: with its Axis from 1 on, or 0 where
// there is one number for all, and with a number in Mean and in Std for each channel. It is an error if the numbers do
// not make a normalisation, or if the axis does not exist, has another size, or is one of several that it could be.
func (n Normalisation) Fit(input []int) (Normalisation, error) {
	channels := n.Channels()
	fitted := Normalisation{}
	for _, part := range []struct {
		name      string
		from      []float64
		otherwise float64
		to        *[]float64
	}{{"mean", n.Mean, 0, &fitted.Mean}, {"std", n.Std, 1, &fitted.Std}} {
		values := part.from
		if len(values) == 0 {
			values = []float64{part.otherwise}
		}
		if len(values) == 1 {
			values = slices.Repeat(values, channels)
		}
		if len(values) != channels {
			return n, fmt.Errorf("the normalisation has %d means and %d standard deviations: give one of each, or one for each channel",
				len(n.Mean), len(n.Std))
		}
		for i, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) || part.name == "std" && !(float32(v) > 0) {
				return n, fmt.Errorf("the normalisation's %s of channel %d is %g: it must be a finite number%s", part.name, i, v,
					map[string]string{"std": " above 0"}[part.name])
			}
		}
		*part.to = slices.Clone(values)
	}
	if channels == 1 {
		return fitted, nil
	}
	var err error
	fitted.Axis, err = n.axis(channels, input)
	return fitted, err
}

// axis returns that of the channels, from 1 on.
func (n Normalisation) axis(channels int, input []int) (int, error) {
	var fits []int
	for i, d := range input {
		if d == channels {
			fits = append(fits, i+1)
		}
	}
	shape := append([]string{"n"}, strings.Fields(strings.Trim(fmt.Sprint(input), "[]"))...)
	x := "[" + strings.Join(shape, ", ") + "]"
	axis := n.Axis
	if axis < 0 {
		axis += len(input) + 1
	}
	switch {
	case n.Axis == 0 && len(fits) == 1:
		return fits[0], nil
	case n.Axis == 0 && len(fits) > 1:
		return 0, fmt.Errorf("the normalisation has %d channels, and inputs x %s have several axes of that size, %s: say which are "+
			"the channels by %v",
			channels, x, strings.Trim(fmt.Sprint(fits), "[]"), option.Name("Normalisation.Axis"))
	case n.Axis == 0:
		return 0, fmt.Errorf("the normalisation has %d channels, and inputs x %s have no axis of that size: give one mean and one "+
			"standard deviation, or one for each channel", channels, x)
	case axis < 1 || axis > len(input):
		return 0, fmt.Errorf("the normalisation's axis %d is not one of the inputs' x %s: 1 is the first after the examples, −1 the "+
			"last", n.Axis, x)
	case input[axis-1] != channels:
		return 0, fmt.Errorf("the normalisation has %d channels, and the axis %d of inputs x %s has the size %d", channels, n.Axis,
			x, input[axis-1])
	}
	return axis, nil
}

// Rounded returns the normalisation with its numbers in float32, in which a classifier computes: a certificate,
// computed in float64, must be about the same numbers.
func (n Normalisation) Rounded() Normalisation {
	round := func(values []float64) []float64 {
		rounded := make([]float64, len(values))
		for i, v := range values {
			rounded[i] = float64(float32(v))
		}
		return rounded
	}
	n.Mean, n.Std = round(n.Mean), round(n.Std)
	return n
}

// Apply returns (x − Mean)/Std for x [n, d...], in the type of x, for a normalisation that Fit has returned for inputs
// of that shape.
func (n Normalisation) Apply(x *Node) *Node {
	constant := func(values []float64) *Node {
		if n.Axis == 0 {
			return Scalar(x.Graph(), x.DType(), values[0])
		}
		dims := slices.Repeat([]int{1}, x.Rank())
		dims[n.Axis] = len(values)
		return Reshape(ConstAsDType(x.Graph(), x.DType(), values), dims...)
	}
	if slices.ContainsFunc(n.Mean, func(v float64) bool { return v != 0 }) {
		x = Sub(x, constant(n.Mean))
	}
	if slices.ContainsFunc(n.Std, func(v float64) bool { return v != 1 }) {
		x = Div(x, constant(n.Std))
	}
	return x
}

// String says what is done, for reports: "(x − mean)/std by channel (axis 3), mean 0.4914, 0.4822, 0.4465, std 0.2471,
// 0.2435, 0.2616".
func (n Normalisation) String() string {
	list := func(values []float64, otherwise string) string {
		if len(values) == 0 {
			return otherwise
		}
		var text []string
		for _, v := range values {
			text = append(text, strconv.FormatFloat(v, 'g', -1, 32))
		}
		if len(text) > 6 {
			text = append(text[:3:3], fmt.Sprintf("… (%d in all)", len(values)))
		}
		return strings.Join(text, ", ")
	}
	by := ""
	if n.Channels() > 1 {
		by = " by channel"
		if n.Axis != 0 {
			by = fmt.Sprintf(" by channel (axis %d)", n.Axis)
		}
	}
	return fmt.Sprintf("(x − mean)/std%s, mean %s, std %s", by, list(n.Mean, "0"), list(n.Std, "1"))
}

// Note is what reports say of the normalisation.
func (n Normalisation) Note() string { return "inside of the classifier: " + n.String() }

// Warning says in a sentence what looks wrong with the normalisation for inputs in the box, or returns "". It looks for
// numbers that are in other units than the box.
func (n Normalisation) Warning(box Box) string {
	for i, mean := range n.Mean {
		if mean < box.Lo || mean > box.Hi {
			return fmt.Sprintf("the normalisation's mean %g of channel %d lies outside of the box %v: mean and std must be in the units "+
				"of the box%s", mean, i, box, inBytes(mean, box))
		}
	}
	for i, std := range n.Std {
		// Data that fill a box have a standard deviation of a tenth to a half of its width.
		if std > 10*box.Width() || std*200 < box.Width() {
			return fmt.Sprintf("the normalisation's std %g of channel %d is small or large beside the box %v: mean and std must be in "+
				"the units of the box%s", std, i, box, inBytes(std, box))
		}
	}
	return ""
}

// inBytes is advice for a number in other units than the box.
func inBytes(v float64, box Box) string {
	switch {
	case box == UnitBox && v > 1 && v <= 255:
		return fmt.Sprintf(" (%g/255 is %.4g)", v, v/255)
	case box == Box{0, 255} && v >= 0 && v < 1:
		return fmt.Sprintf(" (%g times 255 is %.5g)", v, v*255)
	}
	return ""
}

// Normalised returns a classifier of inputs x in another box, which gives (x − mean)/std to c: for one whose own inputs
// are normalised already, and whose box is theirs. Its box is that of x, in whose units radii and distances are then.
// Variables and backend are those of c. It is an error if c has a [Domain]: give the [Spec] a Normalisation instead.
func (c *Classifier) Normalised(n Normalisation, box Box) (*Classifier, error) {
	if c.Domain() != nil {
		return nil, fmt.Errorf("advlib: classifier %q: its inputs have a domain, which is in their units: set Spec.Normalisation, "+
			"with the domain of what comes before", c.Name())
	}
	spec := c.spec
	spec.Normalisation, spec.Box = &n, box
	d, err := NewClassifier(spec)
	if err != nil {
		return nil, err
	}
	d.mu, d.cost = c.mu, c.cost // it guards the same variables
	clear(d.programs)           // the one that checked it did not know its cost
	return d, nil
}
