package detect_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/detect"
	"advlab/advlib/oracle"
)

// digits returns 300 test digits, as they are and binary.
func digits(t testing.TB) map[string]*advlib.Examples {
	t.Helper()
	_, test := dataset.Digits()
	test = test.First(300)
	binary := tensors.MustCopyFlatData[float32](test.X)
	for i, v := range binary {
		binary[i] = float32(math.Round(float64(v)))
	}
	e, err := advlib.NewExamples("binary digits", binary, test.Shape(), test.Y)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*advlib.Examples{"gray": test, "binary": e}
}

// flagged returns how many of 300 digits a detector flags, one after the other.
func flagged(t *testing.T, d detect.Detector, e *advlib.Examples) int {
	t.Helper()
	w := watch(t, d, advlib.Signature{Input: e.Shape(), Box: advlib.UnitBox, Classes: 10}, detect.Options{})
	w.See("all", tensors.MustCopyFlatData[float32](e.X))
	return w.Report().Total().Flagged
}

// The table of the field guide: with the authors' mod 255 299 of 300 binary digits are flagged, and no gray ones. Of 64
// pixels that are 0 or 1 some digits differ in one, so that a half of their hashes is no sign of an attack: Fit finds
// the share that is.
func TestBenignDigitsAreNotFlagged(t *testing.T) {
	for name, e := range digits(t) {
		for salt := range 6 {
			b := detect.Blacklight{Salt: []byte{byte(salt)}}
			if salt == 5 {
				b.Salt = nil
			}
			got := flagged(t, b, e)
			if name == "gray" && got != 0 || name == "binary" && got != 14 {
				t.Errorf("%s digits, %v: %d flagged", name, b, got)
			}
			fitted, err := b.Fit(e, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := flagged(t, fitted, e); got != 0 {
				t.Errorf("%s digits, %v: %d flagged", name, fitted, got)
			}
			t.Logf("%s digits: %d flagged by %v, none by %v", name, got, b, fitted)
		}
		knn, err := detect.KNN{}.Fit(e, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := flagged(t, knn, e); got != 0 {
			t.Errorf("%s digits, %v: %d flagged", name, knn, got)
		}
	}
}

// unit is the signature of n values in [0, 1].
func unit(n int) advlib.Signature {
	return advlib.Signature{Input: []int{n}, Box: advlib.UnitBox, Classes: 2}
}

// ramp is an input that is nowhere at an end of the box, moved by d.
func ramp(n int, d float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 0.1 + 0.6*float32((i*7)%n)/float32(n) + d
	}
	return x
}

// See of Blacklight, by hand: 25 values have 6 windows of 20; one value that moves by two cells is in some of them.
func TestBlacklightCountsSharedWindows(t *testing.T) {
	base := ramp(25, 0)
	moved := func(at int) []float32 {
		x := slices.Clone(base)
		x[at] += 100. / 255 // two cells
		return x
	}
	for _, c := range []struct {
		share   float64
		x       []float32
		flagged bool
	}{
		{1, base, true},
		{1, moved(0), false}, // 5 of 6 windows are without value 0
		{5. / 6, moved(0), true},
		{5. / 6, moved(1), false}, // 4 of 6 are without value 1
		{0.5, moved(2), true},     // 3 of 6
		{0.5, moved(3), false},
		{1. / 6, moved(12), false}, // value 12 is in each window
		{1. / 6, moved(24), true},
	} {
		for salt := range 20 {
			d := detect.Blacklight{Share: c.share, Salt: []byte{byte(salt)}}
			w := watch(t, d, unit(25), detect.Options{})
			w.See("a", base)
			w.See("a", c.x)
			if got := w.Report().Total().Flagged == 1; got != c.flagged {
				t.Errorf("share %.3g, salt %d: %v flagged %v, want %v", c.share, salt, c.x, got, c.flagged)
			}
		}
	}
	// Windows at one end of the box say nothing: two black inputs are not alike.
	w := watch(t, detect.Blacklight{}, unit(25), detect.Options{})
	w.See("a", make([]float32, 50))
	if got := w.Report().Total().Flagged; got != 0 {
		t.Errorf("%d black inputs are flagged", got)
	}
	// A step that is small beside the cells is seen whatever the salt, one of a cell in each value is not.
	for salt := range 20 {
		d := detect.Blacklight{Salt: []byte{byte(salt)}}
		w := watch(t, d, unit(200), detect.Options{})
		w.See("a", ramp(200, 0))
		w.See("a", ramp(200, 50./255))
		if w.Report().Total().Flagged != 0 {
			t.Errorf("salt %d: a step of a cell in each value is flagged", salt)
		}
		w.See("a", ramp(200, 0.001))
		if w.Report().Total().Flagged != 1 {
			t.Errorf("salt %d: a step of 0.001 is not flagged", salt)
		}
	}
}

// Means of distances by hand, on a line.
func TestKNNTakesTheMeanOfTheNearest(t *testing.T) {
	at := func(v ...float32) (x []float32) { return v }
	d := detect.KNN{K: 2, Threshold: 0.15}
	w := watch(t, d, unit(1), detect.Options{})
	for i, c := range []struct {
		x       float32
		flagged bool
	}{
		{0.5, false}, {0.5, false}, // there are no 2 others yet
		{0.64, true}, // mean 0.14; now all is forgotten
		{0.5, false}, {0.7, false},
		{0.6, true}, // 0.1 and 0.1
		{0.1, false}, {0.3, false}, {0.9, false},
		{0.2, true},  // 0.1 and 0.1; 0.9 is farther
		{0.2, false}, // forgotten
		{0.2, false}, {0.5, false},
		{0.49, false}, // 0.01 and 0.29: mean 0.15, which is no less than the threshold
	} {
		before := w.Report().Total().Flagged
		w.See("a", at(c.x))
		if got := w.Report().Total().Flagged > before; got != c.flagged {
			t.Errorf("query %d, %g: flagged %v, want %v", i, c.x, got, c.flagged)
		}
	}
	// An encoder that leaves nothing of the input makes all alike.
	d.Encode = func([]float32) []float32 { return []float32{0} }
	w = watch(t, d, unit(1), detect.Options{})
	w.See("a", at(0, 0.5, 1))
	if got := w.Report().Total(); got.Flagged != 1 || got.First != 3 {
		t.Errorf("encoded to one point: %+v", got)
	}
}

// The share of examples below the threshold is what was asked for.
func TestFit(t *testing.T) {
	_, test := dataset.Digits()
	means := func(th float64, k int) (below int) { // by the definition
		x := tensors.MustCopyFlatData[float32](test.X)
		n := test.Len()
		for i := range n {
			var ds []float64
			for j := range n {
				if j != i {
					ds = append(ds, advlib.L2.Distance(x[i*64:(i+1)*64], x[j*64:(j+1)*64]))
				}
			}
			slices.Sort(ds)
			sum := 0.
			for _, d := range ds[:k] {
				sum += d
			}
			if sum/float64(k) < th-1e-6 {
				below++
			}
		}
		return below
	}
	for _, q := range []float64{0, 0.1, 0.5} {
		d, err := detect.KNN{K: 7}.Fit(test, q)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := means(d.Threshold, 7), int(q*float64(test.Len())); got > want || got < want-1 {
			t.Errorf("share %g: %d of %d are below the threshold, want %d", q, got, test.Len(), want)
		}
	}
	if _, err := (detect.KNN{}).Fit(test.First(50), 0); err == nil || !strings.Contains(err.Error(), "no 50 others") {
		t.Errorf("50 examples: %v", err)
	}
}

// What is forgotten is the oldest query, and of other clients nothing is compared.
func TestMemoryIsBoundedAndPerClient(t *testing.T) {
	for _, d := range []detect.Detector{detect.Blacklight{Remember: 3}, detect.KNN{K: 1, Threshold: 0.01, Remember: 3}} {
		r := func(i int) []float32 { return ramp(40, 0.07*float32(i)*float32(math.Pow(-1, float64(i)))+0.2) }
		w := watch(t, d, unit(40), detect.Options{})
		for i := range 4 {
			w.See("a", r(i))
		}
		if got := w.Report().Total(); got.Flagged != 0 {
			t.Fatalf("%v: different queries are flagged: %+v", d, got)
		}
		w.See("a", r(0)) // forgotten
		if got := w.Report().Total(); got.Flagged != 0 {
			t.Errorf("%v remembers more than 3 queries", d)
		}
		w.See("b", r(3))
		if got := w.Report().Total(); got.Flagged != 1 {
			t.Errorf("%v: another client's query is not compared", d)
		}
		w = watch(t, d, unit(40), detect.Options{PerClient: true, Action: detect.Ban})
		w.See("a", r(0))
		if got := w.See("b", r(0)); got[0] || w.Report().Total().Flagged != 0 {
			t.Errorf("%v: another client's query is compared", d)
		}
		if got := w.See("a", slices.Concat(r(1), r(1), r(2))); !slices.Equal(got, []bool{false, true, true}) {
			t.Errorf("%v: a ban refuses %v", d, got)
		}
		if got := w.See("b", r(2)); got[0] {
			t.Errorf("%v: a client is banned for another", d)
		}
		want := []detect.Client{{"a", 4, 1, 2, 3}, {"b", 2, 0, 0, 0}}
		if got := w.Report().Clients; !slices.Equal(got, want) {
			t.Errorf("%v: clients %+v, want %+v", d, got, want)
		}
	}
}

func watch(t testing.TB, d detect.Detector, s advlib.Signature, o detect.Options) *detect.Watch {
	t.Helper()
	w, err := detect.NewWatch(d, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// nearMean is a victim on digits: the class whose mean digit is nearest.
func nearMean() advlib.Victim {
	train, _ := dataset.Digits()
	x, count := tensors.MustCopyFlatData[float32](train.X), make([]float32, 10)
	mean := make([][64]float32, 10)
	for i, y := range train.Y {
		count[y]++
		for j := range 64 {
			mean[y][j] += x[i*64+j]
		}
	}
	s := advlib.Signature{Input: train.Shape(), Box: advlib.UnitBox, Classes: 10}
	return oracle.Func("nearest mean", s, func(x []float32) []float32 {
		z := make([]float32, 10)
		for k := range z {
			for j, v := range x {
				d := v - mean[k][j]/count[k]
				z[k] -= d * d
			}
		}
		return z
	})
}

// An attack is seen after few queries; rejected or banned, it no longer succeeds; benign digits are not seen.
func TestTrial(t *testing.T) {
	_, test := dataset.Digits()
	v := nearMean()
	a := attack.Square{Ball: advlib.Linf.Ball(0.2), Queries: 200, Rescaled: true}
	fitted, err := detect.KNN{}.Fit(test.First(300), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		d        detect.Detector
		earliest int
	}{{detect.Blacklight{}, 2}, {fitted, 51}} {
		for _, action := range []detect.Action{detect.Log, detect.Reject, detect.Ban} {
			o, err := detect.Trial{Detector: c.d, Action: action, Benign: test.First(300)}.Run(t.Context(), v, test.First(20), a)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(o)
			if o.FalsePositives != (advlib.Rate{Of: 300}) {
				t.Errorf("%v: benign digits flagged: %+v", c.d, o.FalsePositives)
			}
			for _, s := range o.Sequences {
				if s.First > 0 && s.First < c.earliest {
					t.Errorf("%v flags query %d", c.d, s.First)
				}
				// Of a sequence that goes on for long, the first flag comes soon.
				if s.Queries > c.earliest+10 && (s.First == 0 || s.First > c.earliest+10) {
					t.Errorf("%v, %v: the first of %d queries about example %d that is flagged is %d", c.d, action, s.Queries, s.Example, s.First)
				}
			}
			if success := o.Success(); success.Of < 15 || action == detect.Log && success.Count < success.Of/2 {
				t.Errorf("the attack succeeds on %d of %d: this test shows nothing", success.Count, success.Of)
			}
		}
	}
}

// A guard does not ask the victim about what it refuses, and returns the answers before an error.
func TestGuard(t *testing.T) {
	asked := 0
	v := oracle.Func("f", unit(25), func(x []float32) []float32 { asked++; return []float32{x[0], 0.5} })
	g := detect.MustGuard(v, detect.Blacklight{}, detect.Reject)
	x := tensors.FromFlatDataAndDimensions(slices.Concat(ramp(25, 0), ramp(25, 0), ramp(25, 0.25)), 3, 25)
	a, err := g.Query(t.Context(), x)
	if err != nil || len(a) != 3 || a[0].Class() != 1 || a[1].Kind != advlib.Rejected || a[2].Kind != advlib.Logits || a[2].Scores[0] != 0.35 {
		t.Errorf("answers %+v, %v", a, err)
	}
	if asked != 2 {
		t.Errorf("the victim was asked %d times", asked)
	}
	if r := g.Report().Total(); r != (detect.Client{Name: "all", Queries: 3, Flagged: 1, Refused: 1, First: 2}) {
		t.Errorf("%+v", r)
	}
	if text := fmt.Sprint(g.Report()); !strings.Contains(text,
		"1 of 3 queries flagged, 1 not answered; the client: 1 of 3, the first at query 2") {
		t.Error(text)
	}
	// The victim fails at the second input that it is asked about, which is row 2.
	ctx, cancel := context.WithCancel(t.Context())
	stops := oracle.Func("stops", unit(25), func(x []float32) []float32 { cancel(); return []float32{x[0], 0.5} })
	a, err = detect.MustGuard(stops, detect.Blacklight{}, detect.Reject).Query(ctx, x)
	if !errors.Is(err, context.Canceled) || len(a) != 2 || a[0].Class() != 1 || a[1].Kind != advlib.Rejected {
		t.Errorf("cancelled: %+v, %v", a, err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := unit(25)
	for want, d := range map[string]detect.Detector{
		"found from data by Fit":       detect.KNN{},
		"raise Remember":               detect.KNN{Threshold: 1, Remember: 10},
		"neither is below 0":           detect.KNN{Threshold: 1, K: -1},
		"a Window of 26 does not fit":  detect.Blacklight{Window: 26},
		"a Cell of 0.5 is not in 1..":  detect.Blacklight{Cell: 0.5},
		"a share of 2 is not in 0..1":  detect.Blacklight{Share: 2},
		"none of its numbers is below": detect.Blacklight{Keep: -1},
	} {
		if _, err := detect.NewWatch(d, s, detect.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%#v: error %v does not say %q", d, err, want)
		}
	}
	if _, err := detect.NewWatch(nil, s, detect.Options{}); err == nil {
		t.Error("no detector is no error")
	}
	if _, err := detect.NewWatch(detect.Blacklight{}, s, detect.Options{Action: 7}); err == nil || !strings.Contains(err.Error(),
		"Action(7)") {
		t.Errorf("an unknown action: %v", err)
	}
	if _, err := detect.NewWatch(detect.Blacklight{}, advlib.Signature{}, detect.Options{}); err == nil || !strings.Contains(err.Error(),
		"makes no sense") {
		t.Errorf("an empty signature: %v", err)
	}
}
