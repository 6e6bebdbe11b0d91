package attacktest

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/sbinet/npyio/npz"

	"advlab/advlib"
)

//go:embed testdata
var testdata embed.FS

// References names the reference vectors: two multi-layer perceptrons on UCI digits with 64 examples each, and a small
// convolutional network on MNIST with 8.
var References = []string{"mlp-digits", "mlp-digits-adv", "cnn-mnist-adv"}

// Reference is a fixed model with what other libraries compute on it; testdata/README.md says which and how.
type Reference struct {
	// Classifier is the model, with inputs in [0, 1].
	Classifier *advlib.Classifier
	// Examples are the inputs and labels that the arrays are about.
	Examples *advlib.Examples
	// Peers is the peers' summary over the examples: "fgm_linf/0.1" for example is a robust accuracy, in [0, 1],
	// "median_cw_l2_9x1000_lr=0.01_c0=1e-3" a distance. It is nil for cnn-mnist-adv.
	Peers map[string]float64

	name   string
	arrays map[string]array
}

type array struct {
	flat []float32
	dims []int
}

// LoadReference returns the reference of the given name, its classifier on backend b.
func LoadReference(name string, b compute.Backend) (*Reference, error) {
	folder, err := fs.Sub(testdata, "testdata")
	if err != nil {
		return nil, fmt.Errorf("attacktest: %w", err)
	}
	return LoadReferenceFrom(folder, name, b)
}

// LoadReferenceFrom is [LoadReference] from a folder that holds NAME.npz and perhaps NAME.json: one with more examples.
func LoadReferenceFrom(folder fs.FS, name string, b compute.Backend) (*Reference, error) {
	r, err := loadReference(folder, name, b)
	if err != nil {
		return nil, fmt.Errorf("attacktest: reference %q: %w", name, err)
	}
	return r, nil
}

// Array returns the values of an array in C order, and its dimensions. It is an error if there is no such array.
func (r *Reference) Array(key string) (flat []float32, dims []int, err error) {
	a, ok := r.arrays[key]
	if !ok {
		return nil, nil, fmt.Errorf("attacktest: reference %q has no array %q; it has %s", r.name, key, strings.Join(r.Keys(), ", "))
	}
	return a.flat, a.dims, nil
}

// Keys returns the names of the arrays, sorted.
func (r *Reference) Keys() []string {
	keys := make([]string, 0, len(r.arrays))
	for k := range r.arrays {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func loadReference(folder fs.FS, name string, b compute.Backend) (*Reference, error) {
	if !slices.Contains(References, name) {
		return nil, fmt.Errorf("there is none; the names are %s", strings.Join(References, ", "))
	}
	r := &Reference{name: name, arrays: map[string]array{}}
	file, err := fs.ReadFile(folder, name+".npz")
	if err != nil {
		return nil, err
	}
	y, err := r.read(file)
	if err != nil {
		return nil, err
	}
	if summary, err := fs.ReadFile(folder, name+".json"); err == nil {
		var s struct {
			Results map[string]float64 `json:"results"`
		}
		if err := json.Unmarshal(summary, &s); err != nil {
			return nil, fmt.Errorf("its summary: %w", err)
		}
		r.Peers = s.Results
	}
	x := r.arrays["x"]
	if r.Examples, err = advlib.NewExamples(name, x.flat, x.dims[1:], y); err != nil {
		return nil, err
	}
	r.Classifier, err = r.classifier(b)
	return r, err
}

// read fills the arrays from an npz file and returns the labels, its only integers.
func (r *Reference) read(file []byte) (y []int32, err error) {
	z, err := npz.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	for _, entry := range z.Keys() {
		key := strings.TrimSuffix(entry, ".npy")
		if key == "y" {
			if err := z.Read(entry, &y); err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("array %q: %w", key, err)
			}
			continue
		}
		header := z.Header(entry)
		if header == nil {
			return nil, fmt.Errorf("array %q has no header", key)
		}
		a := array{dims: header.Descr.Shape}
		if err := z.Read(entry, &a.flat); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("array %q: %w", key, err)
		}
		if header.Descr.Fortran {
			if len(a.dims) != 2 {
				return nil, fmt.Errorf("array %q of shape %v is in Fortran order: only matrices may be", key, a.dims)
			}
			a.flat = transpose(a.flat, a.dims[1], a.dims[0])
		}
		r.arrays[key] = a
	}
	return y, nil
}

// classifier builds the model from the weights: convK and denseK layers in the order of K, ReLU between them.
func (r *Reference) classifier(b compute.Backend) (*advlib.Classifier, error) {
	store := model.NewStore()
	var layers []string
	for _, key := range r.Keys() {
		layer, part, _ := strings.Cut(key, "__")
		if part != "w" && part != "b" {
			continue
		}
		if part == "w" {
			layers = append(layers, layer)
		}
		a := r.arrays[key]
		if _, err := store.CreateVariable("/"+layer+"/"+part, tensors.FromFlatDataAndDimensions(a.flat, a.dims...)); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(layers, func(a, b string) int { return int(a[len(a)-1]) - int(b[len(b)-1]) }) // fewer than ten layers
	logits := func(scope *model.Scope, x *graph.Node) *graph.Node {
		for i, layer := range layers {
			if i > 0 {
				x = graph.MaxScalar(x, 0)
			}
			s := scope.In("%s", layer)
			w, bias := s.GetVariable("w").NodeValue(x), s.GetVariable("b").NodeValue(x)
			if strings.HasPrefix(layer, "conv") {
				x = graph.Convolve(x, w).Strides(2).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done()
			} else {
				x = graph.Dot(graph.Reshape(x, x.Shape().Dimensions[0], -1), w).Product()
			}
			x = graph.Add(x, graph.ExpandLeftToRank(bias, x.Rank()))
		}
		return x
	}
	return advlib.NewClassifier(advlib.Spec{
		Name: r.name, Logits: logits, Store: store, Backend: b,
		Input: r.arrays["x"].dims[1:], Box: advlib.UnitBox,
	})
}

// transpose returns the matrix a [rows, columns] as [columns, rows].
func transpose(a []float32, rows, columns int) []float32 {
	t := make([]float32, len(a))
	for i := range rows {
		for j := range columns {
			t[j*rows+i] = a[i*columns+j]
		}
	}
	return t
}
