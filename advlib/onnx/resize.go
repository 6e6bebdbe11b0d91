package onnx

import (
	"math"
	"slices"
)

// resize changes the sizes of axes by interpolation, which is linear: by the nearest it picks, otherwise each axis is
// multiplied with a matrix. So gradients and bounds come of themselves.
func resize(l *lowering, n *node) {
	if n.int("antialias", 0) != 0 {
		n.fail("it smooths before it reduces (antialias), which is not supported: export the model without antialias")
	}
	if policy := n.text("keep_aspect_ratio_policy", "stretch"); policy != "stretch" {
		n.fail("its attribute keep_aspect_ratio_policy is %q: only stretch is supported", policy)
	}
	dims := l.shapeOf(n, n.in(0)).dims
	if n.err != nil {
		return
	}
	sizes, scales := l.resized(n, dims)
	if n.err != nil {
		return
	}
	x, dims := n.in(0), slices.Clone(dims)
	for axis, in := range dims {
		out, scale := sizes[axis], scales[axis]
		if out == in && scale == 1 {
			continue
		}
		if l.grows(in) || out < 1 {
			n.fail("it makes an axis of size %v one of size %d", batchless(dims[axis : axis+1])[0], out)
			return
		}
		if !l.fits(n, dims, axis, out) {
			return
		}
		places := collect(out, func(o int) float32 { return n.original(o, in, out, scale) })
		if n.text("mode", "nearest") == "nearest" {
			x = l.pick(n, x, dims, axis, collect(out, func(o int) int {
				return min(max(n.nearest(places[o], scale), 0), in-1)
			}))
		} else if in > largestMatrix/out {
			n.fail("it resizes an axis of %d to %d, too large for the matrix that does it", in, out)
			return
		} else {
			x = l.along(x, dims, axis, n.interpolation(places, in), out)
		}
		dims[axis] = out
	}
	if n.err == nil {
		l.same(n, x)
	}
}

// resized returns the size that each axis gets, and the factor by which coordinates are divided. Factors are in
// float32, as in ONNX Runtime: where a coordinate lies between two pixels, that decides.
func (l *lowering) resized(n *node, dims []int) ([]int, []float32) {
	rank := len(dims)
	scales, sizes := l.scalesOf(n), []int(nil)
	if in := n.in(3); l.opset >= 11 && in != "" && scales == nil {
		sizes = l.sizesOf(in)
	}
	axes := n.ints("axes")
	if axes == nil {
		axes = collect(rank, func(i int) int { return i })
	}
	outSizes, factors := slices.Clone(dims), collect(rank, func(int) float32 { return 1 })
	if len(scales) != len(axes) && len(sizes) != len(axes) || scales != nil && sizes != nil {
		n.fail("by how much it resizes is not constant, or not one number for each of %d axes: scales %v, sizes %v", len(axes), scales, sizes)
		return nil, nil
	}
	for i, axis := range axes {
		axis, ok := n.fromFront(axis, rank)
		switch {
		case !ok:
			return nil, nil
		case sizes != nil:
			if l.grows(dims[axis]) && (sizes[i] == max(l.batch, 1) || sizes[i] == dims[axis]) { // the batch, or what it was for an export
				continue
			}
			outSizes[axis], factors[axis] = sizes[i], float32(sizes[i])/float32(dims[axis])
		case !(scales[i] > 0 && scales[i] <= 1<<20):
			n.fail("its scales are %v: they must be above 0", scales)
			return nil, nil
		default:
			outSizes[axis], factors[axis] = int(float32(dims[axis])*scales[i]), scales[i]
		}
	}
	return outSizes, factors
}

// scalesOf returns the constant scales, nil if there are none.
func (l *lowering) scalesOf(n *node) []float32 {
	if a := n.scalesAttribute(); a != nil {
		return a
	}
	in := n.in(2)
	if l.opset < 11 {
		in = n.in(1)
	}
	t := l.constants[in]
	if w := l.weights[in]; w != nil {
		t = w
	}
	if t == nil || !t.isFloat() || len(t.float32s()) == 0 {
		return nil
	}
	return t.float32s()
}

// original returns where in the input output o lies.
func (n *node) original(o, in, out int, scale float32) float32 {
	x := float32(o)
	mode := n.text("coordinate_transformation_mode", "half_pixel")
	if n.opset < 11 {
		mode = "asymmetric"
	}
	switch mode {
	case "asymmetric":
		return x / scale
	case "half_pixel":
		return (x+0.5)/scale - 0.5
	case "pytorch_half_pixel", "align_corners":
		switch {
		case out == 1:
			return 0
		case mode == "align_corners":
			return x * float32(in-1) / float32(out-1)
		}
		return (x+0.5)/scale - 0.5
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / scale
	case "half_pixel_symmetric":
		centre := float32(in) / 2
		return centre*(1-float32(out)/(scale*float32(in))) + (x+0.5)/scale - 0.5
	}
	n.fail("its attribute coordinate_transformation_mode is %q, which is not supported", mode)
	return 0
}

// nearest rounds a coordinate.
func (n *node) nearest(x, scale float32) int {
	if n.opset < 11 { // as ONNX Runtime does
		if scale < 1 {
			return int(math.Ceil(float64(x)))
		}
		return int(x)
	}
	v := float64(x)
	switch mode := n.text("nearest_mode", "round_prefer_floor"); mode {
	case "round_prefer_floor":
		return int(math.Ceil(v - 0.5))
	case "round_prefer_ceil":
		return int(math.Floor(v + 0.5))
	case "floor":
		return int(math.Floor(v))
	case "ceil":
		return int(math.Ceil(v))
	default:
		n.fail("its attribute nearest_mode is %q, which is not supported", mode)
		return 0
	}
}

// interpolation returns the matrix [in, outputs] that interpolates linearly or by cubic polynomials between pixels;
// beyond the ends are the pixels at the ends.
func (n *node) interpolation(places []float32, in int) []float64 {
	m := make([]float64, in*len(places))
	mode := n.text("mode", "nearest")
	for o, x := range places {
		add := func(i int, w float64) { m[min(max(i, 0), in-1)*len(places)+o] += w }
		v := float64(x)
		switch k := math.Floor(v); mode {
		case "linear":
			v = min(max(v, 0), float64(in-1))
			k = math.Floor(v)
			add(int(k), 1-(v-k))
			add(int(k)+1, v-k)
		case "cubic":
			weights := cubic(v-k, n.float("cubic_coeff_a", -0.75))
			sum := 1.
			if n.int("exclude_outside", 0) != 0 {
				sum = 0
				for i := range weights {
					if p := int(k) - 1 + i; p < 0 || p >= in {
						weights[i] = 0
					}
					sum += weights[i]
				}
			}
			for i, w := range weights {
				add(int(k)-1+i, w/sum)
			}
		default:
			n.fail("its mode is %q: only nearest, linear and cubic are supported", mode)
		}
	}
	return m
}

// cubic returns the weights of the four pixels around a place that is r behind the second (Keys 1981).
func cubic(r, a float64) [4]float64 {
	far := func(d float64) float64 { return ((a*d-5*a)*d+8*a)*d - 4*a }
	near := func(d float64) float64 { return ((a+2)*d-(a+3))*d*d + 1 }
	return [4]float64{far(1 + r), near(r), near(1 - r), far(2 - r)}
}
