package onnxtest

import (
	"fmt"
	"math"
	"slices"
)

// spatial computes convolutions, pools and changes of size.
func spatial[T Float](c *call[T]) []Array[T] {
	switch c.OpType {
	case "Conv":
		return one(conv(c))
	case "ConvTranspose":
		return one(convTranspose(c))
	case "MaxPool", "AveragePool", "LpPool":
		return one(pool(c))
	case "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool":
		return one(globalPool(c))
	case "Resize", "Upsample":
		return one(resize(c))
	case "DepthToSpace", "SpaceToDepth":
		return one(blocks(c))
	}
	return nil
}

// window is where a convolution or a pool looks.
type window struct {
	kernel, strides, dilations, begin, end, out []int
	ceiled                                      []int // how much of end is there for ceil_mode only
}

func (w window) extent(i int) int { return (w.kernel[i]-1)*w.dilations[i] + 1 }

func repeated(v, n int) []int { return slices.Repeat([]int{v}, n) }

func windowOf[T Float](c *call[T], size, kernel []int) window {
	rank := len(size)
	w := window{kernel: kernel, strides: c.ints("strides", repeated(1, rank)),
		dilations: c.ints("dilations", repeated(1, rank)), ceiled: make([]int, rank)}
	pads := c.ints("pads", repeated(0, 2*rank))
	w.begin, w.end = slices.Clone(pads[:rank]), slices.Clone(pads[rank:])
	for i, d := range size {
		k := w.extent(i)
		switch c.text("auto_pad", "NOTSET") {
		case "NOTSET":
		case "VALID":
			w.begin[i], w.end[i] = 0, 0
		case "SAME_UPPER", "SAME_LOWER":
			out := (d + w.strides[i] - 1) / w.strides[i]
			total := max(0, (out-1)*w.strides[i]+k-d)
			w.begin[i] = total / 2
			if c.text("auto_pad", "") == "SAME_LOWER" {
				w.begin[i] = total - total/2
			}
			w.end[i] = total - w.begin[i]
		default:
			panic("auto_pad")
		}
		room := d + w.begin[i] + w.end[i] - k
		if room < 0 {
			panic(fmt.Sprintf("a kernel of %v is larger than its input %v", kernel, size))
		}
		out := room/w.strides[i] + 1
		if c.int("ceil_mode", 0) == 1 && room%w.strides[i] != 0 && out*w.strides[i] < d+w.begin[i] {
			w.ceiled[i] = w.strides[i] - room%w.strides[i]
			out++
		}
		w.out = append(w.out, out)
	}
	return w
}

// inputs calls f with each position of the kernel, and where it looks for an output; inside tells whether that is in
// the image.
func (w window) inputs(size, out []int, f func(kernel, at []int, inside bool)) {
	at := make([]int, len(size))
	each(w.kernel, func(k []int) {
		inside := true
		for i := range at {
			at[i] = out[i]*w.strides[i] + k[i]*w.dilations[i] - w.begin[i]
			inside = inside && at[i] >= 0 && at[i] < size[i]
		}
		f(k, at, inside)
	})
}

func conv[T Float](c *call[T]) Array[T] {
	x, k := c.in[0], c.in[1]
	size, group := x.Dims[2:], c.int("group", 1)
	w := windowOf(c, size, k.Dims[2:])
	channels, perGroup := k.Dims[1], k.Dims[0]/group
	if channels*group != x.Dims[1] || perGroup*group != k.Dims[0] {
		panic(fmt.Sprintf("a convolution of %v with %v in %d groups", x.Dims, k.Dims, group))
	}
	return build(slices.Concat([]int{x.Dims[0], k.Dims[0]}, w.out), func(at []int) T {
		var sum T
		first := at[1] / perGroup * channels
		for ch := range channels {
			w.inputs(size, at[2:], func(kernel, in []int, inside bool) {
				if inside {
					sum += x.Values[flat(x.Dims, slices.Concat([]int{at[0], first + ch}, in))] * k.Values[flat(k.Dims,
						slices.Concat([]int{at[1], ch}, kernel))]
				}
			})
		}
		if c.given(2) {
			sum += c.in[2].Values[at[1]]
		}
		return sum
	})
}

// convTranspose adds each input, times the kernel, at its place.
func convTranspose[T Float](c *call[T]) Array[T] {
	x, k := c.in[0], c.in[1]
	size, group := x.Dims[2:], c.int("group", 1)
	rank := len(size)
	strides, dilations := c.ints("strides", repeated(1, rank)), c.ints("dilations", repeated(1, rank))
	extra := c.ints("output_padding", repeated(0, rank))
	pads := c.ints("pads", repeated(0, 2*rank))
	begin, end := slices.Clone(pads[:rank]), slices.Clone(pads[rank:])
	wanted := c.ints("output_shape", nil)
	auto := c.text("auto_pad", "NOTSET")
	if wanted != nil {
		wanted = wanted[len(wanted)-rank:]
	} else if auto == "SAME_UPPER" || auto == "SAME_LOWER" {
		for i, d := range size {
			wanted = append(wanted, d*strides[i])
		}
	}
	if auto == "VALID" {
		begin, end = repeated(0, rank), repeated(0, rank)
	}
	out := make([]int, rank)
	for i, d := range size {
		full := strides[i]*(d-1) + extra[i] + (k.Dims[2+i]-1)*dilations[i] + 1
		if wanted != nil {
			total := max(0, full-wanted[i])
			begin[i] = total - total/2
			if auto == "SAME_UPPER" {
				begin[i] = total / 2
			}
			end[i] = total - begin[i]
		}
		out[i] = full - begin[i] - end[i]
		if wanted != nil && out[i] != wanted[i] || out[i] < 1 {
			panic("an output of ConvTranspose that no padding gives")
		}
	}
	channels, perGroup := x.Dims[1]/group, k.Dims[1]
	y := Array[T]{Dims: slices.Concat([]int{x.Dims[0], perGroup * group}, out)}
	y.Values = make([]T, product(y.Dims))
	if k.Dims[0] != x.Dims[1] || channels*group != x.Dims[1] {
		panic("channels of ConvTranspose")
	}
	each(x.Dims, func(at []int) {
		v := x.Values[flat(x.Dims, at)]
		for o := range perGroup {
			to := []int{at[0], at[1]/channels*perGroup + o}
			each(k.Dims[2:], func(kernel []int) {
				to := slices.Clone(to)
				for i, p := range kernel {
					to = append(to, at[2+i]*strides[i]+p*dilations[i]-begin[i])
					if to[2+i] < 0 || to[2+i] >= out[i] {
						return
					}
				}
				y.Values[flat(y.Dims, to)] += v * k.Values[flat(k.Dims, slices.Concat([]int{at[1], o}, kernel))]
			})
		}
	})
	if c.given(2) {
		return build(y.Dims, func(at []int) T { return y.Values[flat(y.Dims, at)] + c.in[2].Values[at[1]] })
	}
	return y
}

// pool: padding counts as nothing, or, for a mean that counts it, as 0; what ceil_mode adds is never counted.
func pool[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	size := x.Dims[2:]
	w := windowOf(c, size, c.ints("kernel_shape", nil))
	p := float64(c.int("p", 2))
	return build(slices.Concat(x.Dims[:2], w.out), func(at []int) T {
		n, sum, largest := 0, 0., math.Inf(-1)
		w.inputs(size, at[2:], func(_, in []int, inside bool) {
			if inside {
				v := float64(x.Values[flat(x.Dims, slices.Concat(at[:2], in))])
				n, largest = n+1, max(largest, v)
				if c.OpType == "LpPool" {
					v = math.Pow(math.Abs(v), p)
				}
				sum += v
				return
			}
			counted := c.int("count_include_pad", 0) == 1
			for i, d := range size {
				counted = counted && in[i] < d+w.end[i]
			}
			if counted {
				n++
			}
		})
		switch c.OpType {
		case "MaxPool":
			if n == 0 {
				panic("a window without a pixel")
			}
			return T(largest)
		case "LpPool":
			return T(math.Pow(sum, 1/p))
		}
		if n == 0 {
			panic("a window without a pixel")
		}
		return T(sum / float64(n))
	})
}

func globalPool[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	n := product(x.Dims[2:])
	p := float64(c.int("p", 2))
	return build(slices.Concat(x.Dims[:2], repeated(1, len(x.Dims)-2)), func(at []int) T {
		sum, largest := 0., math.Inf(-1)
		first := (at[0]*x.Dims[1] + at[1]) * n
		for _, v := range x.Values[first : first+n] {
			largest = max(largest, float64(v))
			if c.OpType == "GlobalLpPool" {
				sum += math.Pow(math.Abs(float64(v)), p)
			} else {
				sum += float64(v)
			}
		}
		switch c.OpType {
		case "GlobalMaxPool":
			return T(largest)
		case "GlobalLpPool":
			return T(math.Pow(sum, 1/p))
		}
		return T(sum / float64(n))
	})
}

// blocks moves blocks of pixels to channels, or back.
func blocks[T Float](c *call[T]) Array[T] {
	x, b := c.in[0], c.int("blocksize", 0)
	n, ch, h, w := x.Dims[0], x.Dims[1], x.Dims[2], x.Dims[3]
	if c.OpType == "SpaceToDepth" {
		if h%b != 0 || w%b != 0 {
			panic("SpaceToDepth")
		}
		return arrange(x, []int{n, ch * b * b, h / b, w / b}, func(at []int) int {
			block, k := at[1]/ch, at[1]%ch
			return flat(x.Dims, []int{at[0], k, at[2]*b + block/b, at[3]*b + block%b})
		})
	}
	if ch%(b*b) != 0 {
		panic("DepthToSpace")
	}
	out := ch / (b * b)
	return arrange(x, []int{n, out, h * b, w * b}, func(at []int) int {
		block := at[2]%b*b + at[3]%b
		k := block*out + at[1]
		if c.text("mode", "DCR") == "CRD" {
			k = at[1]*b*b + block
		}
		return flat(x.Dims, []int{at[0], k, at[2] / b, at[3] / b})
	})
}

// resize interpolates along one axis after the other. Coordinates are in float32, as ONNX Runtime has them.
func resize[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	scales, sizes := c.scales(), c.outputSizes()
	for axis := range x.Dims {
		in := x.Dims[axis]
		out, scale := in, float32(1)
		if sizes != nil {
			out, scale = sizes[axis], float32(sizes[axis])/float32(in)
		} else {
			scale = scales[axis]
			out = int(float32(in) * scale)
		}
		if out == in && scale == 1 {
			continue
		}
		if out < 1 {
			panic("a size of 0")
		}
		weights := make([]map[int]float64, out)
		for o := range out {
			weights[o] = c.interpolation(c.original(o, in, out, scale), in, scale)
		}
		dims := slices.Clone(x.Dims)
		dims[axis] = out
		from := x
		x = build(dims, func(at []int) T {
			sum, own := 0., slices.Clone(at)
			for k, w := range weights[at[axis]] {
				own[axis] = k
				sum += w * float64(from.Values[flat(from.Dims, own)])
			}
			return T(sum)
		})
	}
	return x
}

func (c *call[T]) scales() []float32 {
	rank := len(c.in[0].Dims)
	var given []float32
	switch {
	case c.OpType == "Upsample" && c.opset < 9:
		return c.attribute("scales").Floats
	case c.opset < 11:
		return asFloat32(c.in[1].Values)
	case !c.given(2) || len(c.in[2].Values) == 0:
		return nil
	default:
		given = asFloat32(c.in[2].Values)
	}
	if axes := c.ints("axes", nil); axes != nil {
		all := slices.Repeat([]float32{1}, rank)
		for i, a := range axesOf(axes, rank) {
			all[a] = given[i]
		}
		return all
	}
	return given
}

func asFloat32[T Float](v []T) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

func (c *call[T]) outputSizes() []int {
	if c.OpType == "Upsample" || c.opset < 11 || !c.given(3) {
		return nil
	}
	sizes := integers(c.in[3].ints)
	if axes := c.ints("axes", nil); axes != nil {
		all := slices.Clone(c.in[0].Dims)
		for i, a := range axesOf(axes, len(all)) {
			all[a] = sizes[i]
		}
		return all
	}
	return sizes
}

// original returns where output o lies in the input.
func (c *call[T]) original(o, in, out int, scale float32) float32 {
	mode := c.text("coordinate_transformation_mode", "half_pixel")
	if c.opset < 11 {
		mode = "asymmetric"
	}
	switch mode {
	case "asymmetric":
		return float32(o) / scale
	case "half_pixel":
		return (float32(o)+0.5)/scale - 0.5
	case "pytorch_half_pixel":
		if out == 1 {
			return 0
		}
		return (float32(o)+0.5)/scale - 0.5
	case "align_corners":
		if out == 1 {
			return 0
		}
		return float32(o) * float32(in-1) / float32(out-1)
	case "tf_half_pixel_for_nn":
		return (float32(o) + 0.5) / scale
	case "half_pixel_symmetric":
		adjustment := float32(out) / (scale * float32(in))
		centre := float32(in) / 2
		return centre*(1-adjustment) + (float32(o)+0.5)/scale - 0.5
	}
	panic("coordinate_transformation_mode " + mode)
}

// interpolation returns the weights of the inputs around x.
func (c *call[T]) interpolation(x float32, in int, scale float32) map[int]float64 {
	inside := func(k int) int { return min(max(k, 0), in-1) }
	weights := map[int]float64{}
	switch mode := c.text("mode", "nearest"); mode {
	case "nearest":
		weights[inside(c.nearest(x, scale))] = 1
	case "linear":
		at := min(max(float64(x), 0), float64(in-1))
		k := int(at)
		weights[k] += 1 - (at - float64(k))
		weights[inside(k+1)] += at - float64(k)
	case "cubic":
		a, k := c.float("cubic_coeff_a", -0.75), int(math.Floor(float64(x)))
		r := float64(x) - float64(k)
		far := func(d float64) float64 { return ((a*d-5*a)*d+8*a)*d - 4*a }
		near := func(d float64) float64 { return ((a+2)*d-(a+3))*d*d + 1 }
		for i, w := range []float64{far(1 + r), near(r), near(1 - r), far(2 - r)} {
			if p := k - 1 + i; c.int("exclude_outside", 0) == 0 || p == inside(p) {
				weights[inside(p)] += w
			}
		}
		if c.int("exclude_outside", 0) == 1 {
			sum := 0.
			for _, w := range weights {
				sum += w
			}
			for p := range weights {
				weights[p] /= sum
			}
		}
	default:
		panic("mode " + mode)
	}
	return weights
}

func (c *call[T]) nearest(x, scale float32) int {
	if c.opset < 11 { // as ONNX Runtime rounds where the operator's text leaves it open
		if scale < 1 {
			return int(math.Ceil(float64(x)))
		}
		return int(x)
	}
	switch mode := c.text("nearest_mode", "round_prefer_floor"); mode {
	case "round_prefer_floor":
		return int(math.Ceil(float64(x) - 0.5))
	case "round_prefer_ceil":
		return int(math.Floor(float64(x) + 0.5))
	case "floor":
		return int(math.Floor(float64(x)))
	case "ceil":
		return int(math.Ceil(float64(x)))
	default:
		panic("nearest_mode " + mode)
	}
}
