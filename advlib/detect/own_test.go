package detect_test

import (
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/detect"
	"advlab/advlib/zoo"
)

// TestOwnAutoencoders: what evades an attacker's own autoencoders, several at once, evades the defender's, too, most of
// the time; with the defender's own seed it is no transfer.
func TestOwnAutoencoders(t *testing.T) {
	train, test := dataset.Digits()
	for _, e := range []*advlib.Examples{train, test} { // as rows of numbers: dense autoencoders take no time to compile
		e.X = tensors.FromFlatDataAndDimensions(tensors.MustCopyFlatData[float32](e.X), e.Len(), 64)
	}
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	m := zoo.MLP(50)
	m.Backend = b
	f := detect.MagNet{Epochs: 20, BatchSize: 32, LearningRate: 0.01}
	held, rest := alternating(test)
	rest = rest.First(24)
	d := detect.MustScreen(t.Context(), m.MustFit(t.Context(), train), f, detect.Data{Train: train, Clean: held})
	a := detect.OwnAutoencoders{Screen: d, Ball: advlib.Linf.Ball(0.3), MagNet: f, Count: 2}
	behind, err := d.Classifier()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := advlib.Run(t.Context(), behind, rest, a); err == nil || !strings.Contains(err.Error(), "the defender's own") {
		t.Errorf("the defender's seed: %v", err)
	}
	a.MagNet.Seed = 7
	o, err := detect.Inspection{Adaptive: []advlib.Attack{a}}.Run(t.Context(), d, rest)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(o)
	if k := o.Attacks[0].Evaded; !(k.Value() >= 0.5) {
		t.Errorf("%v of what evades the attacker's autoencoders evades the defender's", k)
	}
}
