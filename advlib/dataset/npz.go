package dataset

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/internal/npz"
)

// Arrays reads all arrays of a file that numpy.savez or numpy.savez_compressed wrote, by their names. Booleans, integers
// and floats of 32 and 64 bits are read as they are.
func Arrays(path string) (map[string]*tensors.Tensor, error) {
	arrays, err := npz.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	return arrays, nil
}

// NPZ reads examples from a file with an array x of inputs [n, d...] and an array y of n integer labels, as
//
//	numpy.savez("mine.npz", x=x, y=y)
//
// writes it. Inputs become float32 with their values unchanged: pixels stored as bytes stay in 0..255, so the classifier's
// box must be [0, 255], or see [NPZScaled].
func NPZ(path string) (*advlib.Examples, error) { return NPZScaled(path, 1) }

// NPZScaled is [NPZ] with every input multiplied by scale: 1./255 brings pixels stored as bytes to [0, 1].
func NPZScaled(path string, scale float64) (*advlib.Examples, error) {
	if scale == 0 || math.IsNaN(scale) || math.IsInf(scale, 0) {
		return nil, fmt.Errorf("dataset: %s: the scale %g makes no inputs: give a finite number other than 0, such as 1./255", path, scale)
	}
	arrays, err := Arrays(path)
	if err != nil {
		return nil, err
	}
	e, err := examplesOf(path, arrays, scale)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", path, err)
	}
	return e, nil
}

func examplesOf(name string, arrays map[string]*tensors.Tensor, scale float64) (*advlib.Examples, error) {
	x, y := arrays["x"], arrays["y"]
	if x == nil || y == nil {
		return nil, fmt.Errorf("it has the arrays %s: examples need x, the inputs, and y, the labels, as numpy.savez(path, x=x, y=y) writes them", list(arrays))
	}
	if x.Rank() < 2 {
		return nil, fmt.Errorf("x has the shape %v: its first axis must be the examples and the others one input", x.Shape().Dimensions)
	}
	inputs, err := numbers(x)
	if err != nil {
		return nil, fmt.Errorf("x: %w", err)
	}
	flat := make([]float32, len(inputs))
	for i, v := range inputs {
		flat[i] = float32(v * scale)
	}
	if !y.DType().IsInt() {
		return nil, fmt.Errorf("y holds %v: labels are integers, so save y.astype(numpy.int32)", y.DType())
	}
	if n := x.Shape().Dimensions[0]; y.Size() != n || y.Rank() == 0 || y.Shape().Dimensions[0] != n {
		return nil, fmt.Errorf("y has the shape %v and x the shape %v: there must be one label for each input", y.Shape().Dimensions, x.Shape().Dimensions)
	}
	classes, err := numbers(y)
	if err != nil {
		return nil, fmt.Errorf("y: %w", err)
	}
	labels := make([]int32, len(classes))
	for i, v := range classes {
		if v < 0 || v > math.MaxInt32 {
			return nil, fmt.Errorf("the label of example %d is %g: labels are numbers of classes, from 0", i, v)
		}
		labels[i] = int32(v)
	}
	return advlib.NewExamples(name, flat, x.Shape().Dimensions[1:], labels)
}

// Weights reads a model's weights: a store with one variable for each array, under the array's name, where "__" may stand
// for "/", so that an array dense0__w or dense0/w becomes the variable that a model function creates by
//
//	scope.In("dense0").VariableWithShape("w", shape)
//
// Names given behind the path select arrays, or groups of them: "dense0" is dense0/w and dense0/b. Floats of 64 bits,
// NumPy's default, are rounded to float32, which models compute in.
func Weights(path string, names ...string) (*model.Store, error) {
	arrays, err := Arrays(path)
	if err != nil {
		return nil, err
	}
	store, err := storeOf(arrays, names)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", path, err)
	}
	return store, nil
}

func storeOf(arrays map[string]*tensors.Tensor, names []string) (*model.Store, error) {
	variable := func(name string) string { return strings.Trim(strings.ReplaceAll(name, "__", "/"), "/") }
	from := make(map[string]string) // variable → array
	for _, array := range slices.Sorted(maps.Keys(arrays)) {
		v := variable(array)
		if other, twice := from[v]; twice {
			return nil, fmt.Errorf("the arrays %s and %s both stand for the variable %s: rename one", other, array, v)
		}
		from[v] = array
	}
	selected := make(map[string]bool)
	for _, name := range names {
		n := len(selected)
		for v := range from {
			if v == variable(name) || strings.HasPrefix(v, variable(name)+"/") {
				selected[v] = true
			}
		}
		if len(selected) == n {
			return nil, fmt.Errorf("there is no array %s: it has %s", name, list(arrays))
		}
	}
	if len(names) == 0 {
		for v := range from {
			selected[v] = true
		}
	}
	if len(selected) == 0 {
		return nil, fmt.Errorf("it has no arrays")
	}
	store := model.NewStore()
	for _, v := range slices.Sorted(maps.Keys(selected)) {
		value := arrays[from[v]]
		if value.DType() == dtypes.Float64 {
			rounded := tensors.FromShape(shapes.Make(dtypes.Float32, value.Shape().Dimensions...))
			tensors.MustConstFlatData(value, func(flat []float64) {
				tensors.MustMutableFlatData(rounded, func(to []float32) {
					for i, x := range flat {
						to[i] = float32(x)
					}
				})
			})
			value = rounded
		}
		if _, err := store.CreateVariable(v, value); err != nil {
			return nil, fmt.Errorf("array %s: %w", from[v], err)
		}
	}
	return store, nil
}

// numbers returns the elements of a tensor of booleans, integers or floats; 64-bit integers are exact up to 2⁵³.
func numbers(t *tensors.Tensor) ([]float64, error) {
	switch t.DType() {
	case dtypes.Float32:
		return converted[float32](t), nil
	case dtypes.Float64:
		return converted[float64](t), nil
	case dtypes.Uint8:
		return converted[uint8](t), nil
	case dtypes.Uint16:
		return converted[uint16](t), nil
	case dtypes.Uint32:
		return converted[uint32](t), nil
	case dtypes.Uint64:
		return converted[uint64](t), nil
	case dtypes.Int8:
		return converted[int8](t), nil
	case dtypes.Int16:
		return converted[int16](t), nil
	case dtypes.Int32:
		return converted[int32](t), nil
	case dtypes.Int64:
		return converted[int64](t), nil
	}
	return nil, fmt.Errorf("it holds %v: save numbers, for example x.astype(numpy.float32)", t.DType())
}

func converted[T float32 | float64 | uint8 | uint16 | uint32 | uint64 | int8 | int16 | int32 | int64](t *tensors.Tensor) []float64 {
	out := make([]float64, t.Size())
	tensors.MustConstFlatData(t, func(flat []T) {
		for i, v := range flat {
			out[i] = float64(v)
		}
	})
	return out
}

// list names arrays with their shapes, for error messages.
func list(arrays map[string]*tensors.Tensor) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		names = append(names, fmt.Sprintf("%s %v", name, arrays[name].Shape().Dimensions))
	}
	if len(names) == 0 {
		return "no arrays"
	}
	const most = 40
	if n := len(names) - most; n > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(names, ", ")
}
