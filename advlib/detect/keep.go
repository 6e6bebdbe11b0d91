package detect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/internal/npz"
	"advlab/advlib/lab"
)

// # Detectors in the store
//
// A fitted detector is kept as what it was fitted to: the method, the clean examples, the adversarial ones that it has
// learnt from, the seed and the threshold. That is what an attacker who knows it works with, too. It is fitted again
// when it is read, without an attack; what was trained for it, such as autoencoders, lies in the store as other models
// do.

// kept is a fitted detector in the store.
type kept struct {
	Classifier string
	Method     json.RawMessage
	Rate       float64
	Seed       uint64
	// Fitted is the threshold that followed from the clean examples, Threshold the one that it had when it was kept.
	Fitted, Threshold float64
	Train, Clean      keptExamples
	// Learned are the originals of the adversarial examples that it has learnt from; nil if there were none.
	Learned     *keptExamples
	adversarial *tensors.Tensor
}

// keptExamples are labelled examples whose inputs are elsewhere.
type keptExamples struct {
	Name    string
	Y       []int32
	Index   []int64
	Classes []string
	x       *tensors.Tensor
}

func keep(e *advlib.Examples) keptExamples {
	return keptExamples{e.Name, e.Y, e.Index, e.Classes, e.X}
}

func (k keptExamples) examples() *advlib.Examples {
	return &advlib.Examples{Name: k.Name, X: k.x, Y: k.Y, Index: k.Index, Classes: k.Classes}
}

var detectors = lab.Kind[*kept]{Name: "detector", Write: writeKept, Read: readKept}

func writeKept(dir string, k *kept) error {
	arrays := map[string]*tensors.Tensor{"train": k.Train.x, "clean": k.Clean.x}
	if k.Learned != nil {
		arrays["learned"], arrays["adversarial"] = k.Learned.x, k.adversarial
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "examples.npz"))
	if err != nil {
		return err
	}
	return errors.Join(npz.Write(f, arrays), f.Close(), os.WriteFile(filepath.Join(dir, "detector.json"), text, 0o600))
}

func readKept(dir string) (*kept, error) {
	text, err := os.ReadFile(filepath.Join(dir, "detector.json"))
	if err != nil {
		return nil, err
	}
	k := new(kept)
	if err := json.Unmarshal(text, k); err != nil {
		return nil, err
	}
	arrays, err := npz.ReadFile(filepath.Join(dir, "examples.npz"))
	if err != nil {
		return nil, err
	}
	k.Train.x, k.Clean.x, k.adversarial = arrays["train"], arrays["clean"], arrays["adversarial"]
	if k.Learned != nil {
		k.Learned.x = arrays["learned"]
	}
	if k.Train.x == nil || k.Clean.x == nil || k.Learned != nil && (k.Learned.x == nil || k.adversarial == nil) {
		return nil, fmt.Errorf("examples are missing")
	}
	return k, nil
}

// Keep keeps the detector in the store of package lab, with its threshold, and returns its key, by which [Restore]
// finds it. It is an error if the method has no form in JSON, see [JSON], or if the store cannot be written.
func (s *Screened) Keep(ctx context.Context) (key string, err error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("detect: keeping %v: %w", s.method, err) }
	text, err := JSON(s.method)
	if err != nil {
		return fail(err)
	}
	k := &kept{Classifier: s.of.Name(), Method: text, Rate: s.Rate, Seed: s.data.Settings.Seed, Fitted: s.clean[rank(len(s.clean), s.Rate)-1],
		Threshold: s.Threshold, Train: keep(s.data.Train), Clean: keep(s.data.Clean)}
	if math.IsInf(s.Threshold, 0) || math.IsNaN(s.Threshold) {
		return fail(fmt.Errorf("its threshold is %g: set one that is finite", s.Threshold))
	}
	if r := s.data.Found; r != nil {
		learned := keep(r.Examples)
		k.Learned, k.adversarial = &learned, r.Adversarial
	}
	print := s.Fingerprint()
	if print == "" {
		return fail(fmt.Errorf("the graph of %s cannot be seen, and so not told from another", s.of.Name()))
	}
	recipe := lab.Recipe{Name: s.Name(), Backend: s.of.Backend(), Parts: map[string]string{"detector": print, "method": string(text),
		"seed": fmt.Sprint(k.Seed)}}
	if _, err := lab.Keep(ctx, detectors, recipe, func(context.Context) (*kept, error) { return k, nil }); err != nil {
		return fail(err)
	}
	entry, ok := lab.Kept(detectors, recipe)
	if !ok {
		return fail(fmt.Errorf("the store could not be written"))
	}
	return entry.Key, nil
}

// Restore returns the detector that [Screened.Keep] has kept under a key, which may be shortened, before a classifier:
// the one that it was fitted to, or one with the same weights. A classifier with other features is an error.
func Restore(ctx context.Context, c *advlib.Classifier, key string) (*Screened, error) {
	k, entry, err := lab.Read(detectors, key)
	if err != nil {
		return nil, fmt.Errorf("detect: %w", err)
	}
	fail := func(err error) (*Screened, error) {
		return nil, fmt.Errorf("detect: the detector %.12s: %w", entry.Key, err)
	}
	m, err := FromJSON(k.Method)
	if err != nil {
		return fail(err)
	}
	if c == nil {
		return fail(fmt.Errorf("the classifier is nil"))
	}
	d := Data{Train: k.Train.examples(), Clean: k.Clean.examples(), Rate: k.Rate, Settings: advlib.Settings{Seed: k.Seed}}
	if k.Learned != nil {
		d.Found = found(k.Learned.examples(), k.adversarial)
	}
	other := func(why error) (*Screened, error) {
		return fail(fmt.Errorf("%v was fitted to %s, and %s has other features: give the model that it was fitted to, or fit it anew: %w", m,
			k.Classifier, c.Name(), why))
	}
	if err := d.check(c); err != nil {
		return other(err)
	}
	s, err := Screen(ctx, c, m, d)
	if err != nil {
		return other(err)
	}
	if by := math.Abs(s.Threshold - k.Fitted); !(by <= 1e-3*max(1, math.Abs(k.Fitted))) {
		return other(fmt.Errorf("its threshold would be %.4g in place of %.4g", s.Threshold, k.Fitted))
	}
	s.Threshold = k.Threshold
	return s, nil
}

// found is the result of an attack whose adversarial examples are known: those that differ from their originals.
func found(e *advlib.Examples, adversarial *tensors.Tensor) *advlib.Result {
	n := e.Len()
	r := &advlib.Result{Examples: e, Adversarial: adversarial, Success: make([]bool, n), Distance: make([]float64, n)}
	x, y := tensors.MustCopyFlatData[float32](e.X), tensors.MustCopyFlatData[float32](adversarial)
	size := len(x) / n
	for i := range n {
		r.Distance[i] = advlib.L2.Distance(y[i*size:(i+1)*size], x[i*size:(i+1)*size])
		r.Success[i] = r.Distance[i] > 0
	}
	return r
}
