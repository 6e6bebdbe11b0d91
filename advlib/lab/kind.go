package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/internal/npz"
)

// Kind says how values of a type are written to a directory of their own, and read from there, without loss. Write
// creates the files, with names other than provenance.json.
type Kind[T any] struct {
	// Name is part of the key.
	Name  string
	Write func(dir string, v T) error
	Read  func(dir string) (T, error)
}

// Models are a model's variables, in variables.npz, which NumPy reads too. Hyper-parameters in the store are refused: a
// model function that asks for them would find none when the variables are read back.
var Models = Kind[*model.Store]{"model", writeModel, readModel}

// Sets are labelled examples.
var Sets = Kind[*advlib.Examples]{"examples", writeExamples, readExamples}

// Results are attacks' results, with the adversarial examples.
var Results = Kind[*advlib.Result]{"result", writeResult, readResult}

// Pieces are what pieces of a measurement gave: see [Journal].
var Pieces = Kind[advlib.Outcome]{"piece", writeOutcome, readOutcome}

// Reports are numbers only.
var Reports = Kind[*advlib.Report]{"report", writeJSON[*advlib.Report], readJSON[*advlib.Report]}

// Values returns the kind of values that JSON holds without loss, under a name of the caller's. A value that does not
// come back equal, because it has unexported fields for example, is refused when it is written.
func Values[T any](name string) Kind[T] {
	return Kind[T]{"value " + name, func(dir string, v T) error {
		text, err := json.Marshal(v)
		if err != nil {
			return &refusal{fmt.Errorf("a %T cannot be kept as JSON: %w", v, err)}
		}
		var back T
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(v, back) {
			return &refusal{fmt.Errorf("a %T cannot be kept as JSON: it does not come back equal (unexported fields, or an "+
				"empty slice that becomes nil?)", v)}
		}
		return writeJSON(dir, v)
	}, readJSON[T]}
}

const (
	jsonFile    = "value.json"
	tensorsFile = "tensors.npz"
)

func writeJSON[T any](dir string, v T) error {
	text, err := json.Marshal(v)
	if err != nil {
		return &refusal{err}
	}
	return writeFile(dir, jsonFile, func(w io.Writer) error { _, err := w.Write(text); return err })
}

func readJSON[T any](dir string) (v T, err error) {
	text, err := os.ReadFile(filepath.Join(dir, jsonFile))
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(text, &v)
}

func writeTensors(dir string, arrays map[string]*tensors.Tensor) error {
	return writeFile(dir, tensorsFile, func(w io.Writer) error { return npz.Write(w, arrays) })
}

func readTensors(dir string, names ...string) (map[string]*tensors.Tensor, error) {
	arrays, err := npz.ReadFile(filepath.Join(dir, tensorsFile))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if arrays[name] == nil {
			return nil, fmt.Errorf("there is no array %s", name)
		}
	}
	return arrays, nil
}

// modelJSON is what a model's tensors do not say.
type modelJSON struct {
	Frozen []string // paths of variables that are not trainable
	Order  []string // paths of all, as created
}

func writeModel(dir string, store *model.Store) error {
	if store == nil {
		return &refusal{fmt.Errorf("the model has no store")}
	}
	for path := range store.IterParams() {
		return &refusal{fmt.Errorf("the model's store has the hyper-parameter %s, which is not kept: build it into the model function", path)}
	}
	arrays := make(map[string]*tensors.Tensor)
	var about modelJSON
	for v := range store.IterVariables() {
		value, err := v.Value()
		if err != nil {
			return &refusal{err}
		}
		name := strings.TrimPrefix(v.Path(), model.ScopeSeparator)
		arrays[name] = value
		about.Order = append(about.Order, name)
		if !v.Trainable {
			about.Frozen = append(about.Frozen, name)
		}
	}
	if err := writeTensors(dir, arrays); err != nil {
		return err
	}
	return writeJSON(dir, about)
}

func readModel(dir string) (*model.Store, error) {
	about, err := readJSON[modelJSON](dir)
	if err != nil {
		return nil, err
	}
	arrays, err := readTensors(dir, about.Order...)
	if err != nil {
		return nil, err
	}
	store := model.NewStore()
	for _, name := range about.Order {
		v, err := store.CreateVariable(name, arrays[name])
		if err != nil {
			return nil, err
		}
		v.SetTrainable(!slices.Contains(about.Frozen, name))
	}
	return store, nil
}

type examplesJSON struct {
	Name    string
	Y       []int32
	Index   []int64
	Classes []string
	Notes   []string `json:",omitempty"`
}

func writeExamples(dir string, e *advlib.Examples) error {
	if e == nil || e.X == nil {
		return &refusal{fmt.Errorf("there are no examples")}
	}
	if err := writeTensors(dir, map[string]*tensors.Tensor{"x": e.X}); err != nil {
		return err
	}
	return writeJSON(dir, examplesJSON{e.Name, e.Y, e.Index, e.Classes, e.Notes})
}

func readExamples(dir string) (*advlib.Examples, error) {
	v, err := readJSON[examplesJSON](dir)
	if err != nil {
		return nil, err
	}
	arrays, err := readTensors(dir, "x")
	if err != nil {
		return nil, err
	}
	return &advlib.Examples{Name: v.Name, X: arrays["x"], Y: v.Y, Index: v.Index, Classes: v.Classes, Notes: v.Notes}, nil
}

// resultJSON is a Result without its tensors; its fields are those of advlib.Result, which a test compares.
type resultJSON struct {
	Attack             string
	Norm               string
	Radius             advlib.Distance
	Goal               advlib.Goal
	Examples           examplesJSON
	Box                advlib.Box
	Attempted, Success []bool
	Clean, Final       []advlib.Prediction
	Stats              advlib.Stats
	LeftOut            []advlib.NotFinite
	Warnings           []string
	Queries            []int
	Progress           [][]advlib.Improvement
	Reached            []int
	Draws              int
}

var norms = []advlib.Norm{advlib.L0, advlib.L1, advlib.L2, advlib.Linf}

func writeResult(dir string, r *advlib.Result) error {
	if r == nil || r.Adversarial == nil || r.Examples == nil {
		return &refusal{fmt.Errorf("there is no result")}
	}
	if !slices.Contains(norms, r.Threat.Norm) {
		return &refusal{fmt.Errorf("the norm %v is not one of advlib's, whose values are found by name", r.Threat.Norm)}
	}
	e := r.Examples
	v := resultJSON{
		Attack: r.Attack, Norm: r.Threat.Norm.String(), Radius: advlib.Distance(r.Threat.Radius), Goal: r.Threat.Goal,
		Examples: examplesJSON{e.Name, e.Y, e.Index, e.Classes, e.Notes}, Box: r.Box, Attempted: r.Attempted, Success: r.Success,
		Clean: r.Clean, Final: r.Final, Stats: r.Stats, LeftOut: r.LeftOut, Warnings: r.Warnings,
		Queries: r.Queries, Progress: r.Progress, Reached: r.Reached, Draws: r.Draws,
	}
	distance := tensors.FromFlatDataAndDimensions(slices.Clone(r.Distance), len(r.Distance))
	if err := writeTensors(dir, map[string]*tensors.Tensor{"x": e.X, "adversarial": r.Adversarial, "distance": distance}); err != nil {
		return err
	}
	return writeJSON(dir, v)
}

func readResult(dir string) (*advlib.Result, error) {
	v, err := readJSON[resultJSON](dir)
	if err != nil {
		return nil, err
	}
	arrays, err := readTensors(dir, "x", "adversarial", "distance")
	if err != nil {
		return nil, err
	}
	norm := slices.IndexFunc(norms, func(n advlib.Norm) bool { return n.String() == v.Norm })
	if norm < 0 {
		return nil, fmt.Errorf("its norm %q is unknown", v.Norm)
	}
	return &advlib.Result{
		Attack: v.Attack, Threat: advlib.Threat{Norm: norms[norm], Radius: float64(v.Radius), Goal: v.Goal},
		Examples: &advlib.Examples{Name: v.Examples.Name, X: arrays["x"], Y: v.Examples.Y, Index: v.Examples.Index,
			Classes: v.Examples.Classes, Notes: v.Examples.Notes},
		Box: v.Box, Adversarial: arrays["adversarial"], Attempted: v.Attempted, Success: v.Success,
		Distance: tensors.MustCopyFlatData[float64](arrays["distance"]),
		Clean:    v.Clean, Final: v.Final, Stats: v.Stats, LeftOut: v.LeftOut, Warnings: v.Warnings,
		Queries: v.Queries, Progress: v.Progress, Reached: v.Reached, Draws: v.Draws,
	}, nil
}

// outcomeJSON is an Outcome without its tensor.
type outcomeJSON struct {
	Success  []bool
	Rows     []int
	Queries  []int64
	Progress [][]advlib.Improvement
	Proof    *advlib.Proof
	Stats    advlib.Stats
}

func writeOutcome(dir string, o advlib.Outcome) error {
	if o.Adversarial != nil {
		if err := writeTensors(dir, map[string]*tensors.Tensor{"adversarial": o.Adversarial}); err != nil {
			return err
		}
	}
	return writeJSON(dir, outcomeJSON{o.Success, o.Rows, o.Queries, o.Progress, o.Proof, o.Stats})
}

func readOutcome(dir string) (advlib.Outcome, error) {
	v, err := readJSON[outcomeJSON](dir)
	if err != nil {
		return advlib.Outcome{}, err
	}
	o := advlib.Outcome{Success: v.Success, Rows: v.Rows, Queries: v.Queries, Progress: v.Progress, Proof: v.Proof, Stats: v.Stats}
	if len(v.Rows) > 0 {
		arrays, err := readTensors(dir, "adversarial")
		if err != nil {
			return o, err
		}
		o.Adversarial = arrays["adversarial"]
	}
	return o, nil
}
