package attack_test

import (
	"context"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
)

func benchmark(b *testing.B, model string, a advlib.Attack) {
	opened, err := backend.Open()
	if err != nil {
		b.Fatal(err)
	}
	r := reference(b, model, opened)
	res, err := advlib.Run(context.Background(), r.Classifier, r.Examples, a) // compiles
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if res, err = advlib.Run(context.Background(), r.Classifier, r.Examples, a); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(res.Stats.Backward), "passes/op")
}

// PGD with 40 steps on 64 examples, all of which stay in the batch.
func BenchmarkPGD40MLP(b *testing.B) {
	benchmark(b, "mlp-digits", attack.PGD{Ball: advlib.Linf.Ball(0.1), KeepGoing: true})
}

// The same with solved examples leaving.
func BenchmarkPGD40MLPActive(b *testing.B) {
	benchmark(b, "mlp-digits", attack.PGD{Ball: advlib.Linf.Ball(0.1)})
}

func BenchmarkPGD40CNN(b *testing.B) {
	benchmark(b, "cnn-mnist-adv", attack.PGD{Ball: advlib.Linf.Ball(0.1), KeepGoing: true})
}

func BenchmarkCarliniWagnerMLP(b *testing.B) { benchmark(b, "mlp-digits", attack.CarliniWagner{}) }
func BenchmarkCarliniWagnerCNN(b *testing.B) { benchmark(b, "cnn-mnist-adv", attack.CarliniWagner{}) }
