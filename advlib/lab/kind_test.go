package lab_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"advlab/advlib"
	"advlab/advlib/lab"
	"advlab/advlib/report"
)

// roundTrip returns a value as it comes back.
func roundTrip[T any](t *testing.T, kind lab.Kind[T], v T) T {
	t.Helper()
	dir := t.TempDir()
	if err := kind.Write(dir, v); err != nil {
		t.Fatal(err)
	}
	back, err := kind.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestModels(t *testing.T) {
	store := model.NewStore()
	for path, v := range map[string]any{"b/w": [][]float32{{1, float32(math.Inf(-1))}, {math.Pi, 1e-40}}, "a": []int32{7},
		"x__y": float32(2)} {
		if _, err := store.CreateVariable(path, tensorOf(t, v)); err != nil {
			t.Fatal(err)
		}
	}
	store.GetVariable("a").SetTrainable(false)
	back := roundTrip(t, lab.Models, store)
	want, _ := lab.Variables(store)
	if got, err := lab.Variables(back); err != nil || got != want {
		t.Errorf("variables do not come back equal (%v)", err)
	}
	if v := back.GetVariable("x__y"); v == nil {
		t.Error("a name with underscores does not come back")
	}
	store.SetParam("/dropout", 0.5)
	if err := lab.Models.Write(t.TempDir(), store); err == nil || !strings.Contains(err.Error(), "hyper-parameter /dropout") {
		t.Errorf("hyper-parameters: error %v", err)
	}
}

func someExamples(t *testing.T) *advlib.Examples {
	t.Helper()
	e, err := advlib.NewExamples("some", []float32{0, 0.5, 1, 0.1}, []int{2}, []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	e.Index, e.Classes = []int64{4, 9}, []string{"no", "yes"}
	return e
}

func TestSets(t *testing.T) {
	e := someExamples(t)
	back := roundTrip(t, lab.Sets, e)
	if back.Hash() != e.Hash() || back.Name != e.Name || !reflect.DeepEqual(back.Classes, e.Classes) {
		t.Errorf("%+v became %+v", e, back)
	}
}

func TestResults(t *testing.T) {
	e := someExamples(t)
	for _, threat := range []advlib.Threat{{Norm: advlib.Linf, Radius: 8. / 255, Goal: advlib.Targeted(1)},
		{Norm: advlib.L2, Radius: math.Inf(1)}} {
		r := &advlib.Result{
			Attack: "FGM", Threat: threat, Examples: e, Box: advlib.UnitBox,
			Adversarial: tensors.FromFlatDataAndDimensions([]float32{0.1, 0.5, 1, 0.1}, 2, 2),
			Attempted:   []bool{true, false}, Success: []bool{true, false}, Distance: []float64{0.1, math.Inf(1)},
			Clean: []advlib.Prediction{{Class: 0, Confidence: 0.75}, {Class: 1, Confidence: 1}},
			Final: []advlib.Prediction{{Class: 1, Confidence: 0.3}, {Class: 1, Confidence: 1}},
			Stats: advlib.Stats{Forward: 3, Backward: 1, Elapsed: 17 * time.Microsecond}, Warnings: []string{"careful"},
			Queries: []int{7, 1}, Progress: [][]advlib.Improvement{{{Query: 3, Distance: 0.5}, {Query: 6, Distance: 0.1}}, nil},
			LeftOut: []advlib.NotFinite{{Index: 9, Label: 1, Logit: 1, Value: "NaN"}},
			Reached: []int{18, 0}, Draws: 20,
		}
		back := roundTrip(t, lab.Results, r)
		if !back.Adversarial.Equal(r.Adversarial) || back.Examples.Hash() != e.Hash() {
			t.Error("tensors do not come back equal")
		}
		// Every other field, also those that Result may get later.
		back.Adversarial, back.Examples = r.Adversarial, r.Examples
		if !reflect.DeepEqual(back, r) {
			t.Errorf("%+v became %+v", r, back)
		}
		v := reflect.ValueOf(*r)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Field(i).IsZero() { // the others are for the run itself
				t.Errorf("the field %s is not tested, or not kept", v.Type().Field(i).Name)
			}
		}
	}
}

func TestReports(t *testing.T) {
	r := &advlib.Report{
		Classifier: "c", Data: "d", Backend: "go", Box: report.UnitBox, Seed: 3, Index: []int64{1}, Label: []int32{0}, Predicted: []int32{0},
		Attacks: []report.AttackRow{{Name: "a", Norm: "Linf", Radius: 8. / 255, Attempted: []bool{true}, Success: []bool{false},
			Skipped: []bool{false}, Distance: []advlib.Distance{advlib.Distance(math.Inf(1))},
			Programs: []advlib.Programs{{Batch: 8, Compiled: 1}}, Seconds: 0.1}},
		Sanity: report.Sanity{Unbounded: advlib.Rate{Count: 1, Of: 2}},
	}
	if diff := cmp.Diff(r, roundTrip(t, lab.Reports, r), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the report changed:\n%s", diff)
	}
}

func tensorOf(t *testing.T, v any) *tensors.Tensor {
	t.Helper()
	x, err := tensors.FromAnyValue(v)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
