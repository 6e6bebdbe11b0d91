package advlib

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"weak"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// Wide is a model's variables in float64. Float32, float16 and bfloat16 ones are widened, which is exact; others are
// copied. Certificates are computed with it: the model is built again, in the type of its input x; see [LogitsFn].
//
// Graphs on the store must be built and executed with the lock held, because GoMLX registers variables meanwhile.
type Wide struct {
	sync.Mutex
	source, store *model.Store
	version       int
}

// NewWide returns a store's variables in float64. All of them must have values. Where they are constants of the graphs
// that they are in, so are these.
func NewWide(source *model.Store) (*Wide, error) {
	w := &Wide{source: source, store: model.NewStore().WithVariableAsConst(source.VariablesAsConst())}
	return w, w.Refresh()
}

// Store returns the store of float64 variables, under the same names.
func (w *Wide) Store() *model.Store { return w.store }

// Version returns a number that is another one after each change of a variable here.
func (w *Wide) Version() int {
	w.Lock()
	defer w.Unlock()
	return w.version
}

// Refresh copies the variables that have changed.
func (w *Wide) Refresh() error {
	w.Lock()
	defer w.Unlock()
	for v := range w.source.IterVariables() {
		value, err := v.Value()
		if err != nil {
			return fmt.Errorf("advlib: the variable %s in float64: %w", v.Path(), err)
		}
		wide, err := widened(value)
		if err != nil {
			return fmt.Errorf("advlib: the variable %s in float64: %w", v.Path(), err)
		}
		old := w.store.GetVariable(v.Path())
		if old == nil {
			w.version++
			_, err = w.store.CreateVariable(v.Path(), wide)
		} else if !same(old, wide) {
			w.version++
			err = old.SetValue(wide)
		}
		if err != nil {
			return fmt.Errorf("advlib: the variable %s in float64: %w", v.Path(), err)
		}
	}
	return nil
}

func same(v *model.Variable, t *tensors.Tensor) bool {
	value, err := v.Value()
	return err == nil && value.Equal(t)
}

func widened(t *tensors.Tensor) (*tensors.Tensor, error) {
	dims := slices.Clone(t.Shape().Dimensions)
	switch t.DType() {
	case dtypes.Float32:
		flat, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return nil, err
		}
		wide := make([]float64, len(flat))
		for i, v := range flat {
			wide[i] = float64(v)
		}
		return tensors.FromFlatDataAndDimensions(wide, dims...), nil
	case dtypes.Float16, dtypes.BFloat16:
		return nil, fmt.Errorf("it is of type %s: only models whose variables are float32 or float64 can be built in float64", t.DType())
	}
	return t.Clone()
}

// wide is made when it is first asked for, and is one for all classifiers of a store: a graph of one of them has others
// in it, as that of a transformation before a classifier has the classifier's, and GoMLX feeds a graph the variables
// of one store.
type wide struct {
	once sync.Once
	wide *Wide
	err  error
}

// wides are those in use, by their stores. Neither is kept alive.
var wides sync.Map // weak.Pointer[model.Store] → weak.Pointer[wide]

// wideOf returns that of a store.
func wideOf(store *model.Store) *wide {
	key, made := weak.Make(store), new(wide)
	for {
		found, loaded := wides.LoadOrStore(key, weak.Make(made))
		if !loaded {
			runtime.AddCleanup(made, func(own weak.Pointer[wide]) { wides.CompareAndDelete(key, own) }, weak.Make(made))
			return made
		}
		if w := found.(weak.Pointer[wide]).Value(); w != nil {
			return w
		}
		wides.CompareAndDelete(key, found)
	}
}

// made returns the variables as they were when they were last refreshed.
func (w *wide) made(store *model.Store) (*Wide, error) {
	w.once.Do(func() { w.wide, w.err = NewWide(store) })
	return w.wide, w.err
}

// Wide returns the model's variables in float64, as they are now. [Classifier.LogitsGraph] uses them for inputs x of
// type float64. All classifiers of one [Spec].Store have the same, so that one may build on another.
func (c *Classifier) Wide() (*Wide, error) {
	w, err := c.wide.made(c.spec.Store)
	if err != nil {
		return nil, err
	}
	return w, w.Refresh()
}

// Memo returns what create returns for a key, at the first call, and the same value from then on: what is computed from
// the classifier's graph and lives as long as it. An error is not kept.
func (c *Classifier) Memo(key any, create func() (any, error)) (any, error) {
	c.memoMu.Lock()
	defer c.memoMu.Unlock()
	if v, ok := c.memo[key]; ok {
		return v, nil
	}
	v, err := create()
	if err == nil {
		c.memo[key] = v
	}
	return v, err
}
