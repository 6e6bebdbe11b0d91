package dataset

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/internal/npz"
)

// Arrays reads arrays of a file that numpy.savez or numpy.savez_compressed wrote, by their names: those named, or else
// all. Booleans, integers and floats of 32 and 64 bits are read as they are, floats of 16 bits as float32, which holds
// them exactly.
func Arrays(path string, names ...string) (map[string]*tensors.Tensor, error) {
	file, err := npz.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer file.Close()
	if len(names) == 0 {
		names = file.Names()
	}
	arrays := make(map[string]*tensors.Tensor)
	for _, name := range names {
		a, err := file.Array(name)
		if err == nil {
			arrays[name], err = a.Tensor()
		}
		if err != nil {
			return nil, fmt.Errorf("dataset: %s: %w (it has %s; name those that you want)", path, err, listed(file))
		}
	}
	return arrays, nil
}

// NPZ reads examples from a file with an array x of inputs [n, d...] and an array y of n labels, as
//
//	numpy.savez("mine.npz", x=x, y=y)
//
// writes it. Inputs become float32 with their values unchanged: pixels stored as bytes stay in 0..255, so the
// classifier's box must be [0, 255], or see [NPZScaled]. [File] has the other names, types and shapes that are read.
func NPZ(path string) (*advlib.Examples, error) { return File{Path: path}.Examples() }

// NPZScaled is [NPZ] with every input multiplied by scale: 1./255 brings pixels stored as bytes to [0, 1].
func NPZScaled(path string, scale float64) (*advlib.Examples, error) {
	if scale == 0 {
		return nil, fmt.Errorf("dataset: %s: the scale 0 makes no inputs: give a finite number other than 0, such as 1./255", path)
	}
	return File{Path: path, Scale: scale}.Examples()
}

// Weights reads a model's weights: a store with one variable for each array, under the array's name, where "__" may
// stand for "/", so that an array dense0__w or dense0/w becomes the variable that a model function creates by
//
//	scope.In("dense0").VariableWithShape("w", shape)
//
// Names given behind the path select arrays, or groups of them: "dense0" is dense0/w and dense0/b. Floats of 64 bits,
// NumPy's default, are rounded to float32, which models compute in.
func Weights(path string, names ...string) (*model.Store, error) {
	file, err := npz.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer file.Close()
	store, err := storeOf(file, names)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", path, err)
	}
	return store, nil
}

func storeOf(file *npz.File, names []string) (*model.Store, error) {
	variable := func(name string) string { return strings.Trim(strings.ReplaceAll(name, "__", "/"), "/") }
	from := make(map[string]string) // variable → array
	for _, array := range file.Names() {
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
			return nil, fmt.Errorf("there is no array %s: it has %s", name, listed(file))
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
		a, err := file.Array(from[v])
		if err != nil {
			return nil, err
		}
		value, err := a.Tensor()
		if err != nil {
			return nil, err
		}
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
