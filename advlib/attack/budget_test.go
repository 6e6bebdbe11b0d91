package attack_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// With pixels in [0, 255] and ε in the same unit, attacks with a budget break the same examples: nothing in them is in
// units of [0, 1].
func TestBudgetAttacksInBytes(t *testing.T) {
	r := digits(t)
	scaled, big := inBytes(t, r.Classifier, r.Examples)
	for _, n := range apgdNorms {
		for name, attackOf := range map[string]func(b advlib.Ball) advlib.Attack{
			"BIM":     func(b advlib.Ball) advlib.Attack { return attack.BIM{Ball: b} },
			"MI-FGSM": func(b advlib.Ball) advlib.Attack { return attack.MIFGSM{Ball: b} },
			"NI-FGSM": func(b advlib.Ball) advlib.Attack { return attack.MIFGSM{Ball: b, Nesterov: true} },
			"APGD": func(b advlib.Ball) advlib.Attack {
				return attack.APGD{Ball: b, Steps: 30, LargerRadii: n == advlib.Norm(advlib.L1)}
			},
			"Square": func(b advlib.Ball) advlib.Attack { return attack.Square{Ball: b, Queries: 200} },
		} {
			if strings.HasSuffix(name, "I-FGSM") && n == advlib.Norm(advlib.L1) {
				continue
			}
			ε := radius(n)
			unit := advlib.MustRun(context.Background(), r.Classifier, r.Examples, attackOf(n.Ball(ε)))
			bytes := advlib.MustRun(context.Background(), scaled, big, drawnAs{attackOf(n.Ball(255 * ε)), r.Examples})
			differ := 0
			for i := range unit.Success {
				if unit.Success[i] != bytes.Success[i] {
					differ++
				}
			}
			// Rounding decides on which side of the boundary the last example of a search falls.
			if differ > 2 || count(unit.Success) < 8 {
				t.Errorf("%s in %v: broken in [0, 1] and in [0, 255] are %d and %d, of which %d differ", name, n, count(unit.Success),
					count(bytes.Success), differ)
			}
		}
	}
}

// drawnAs lets an attack on other inputs draw the random numbers of the examples.
type drawnAs struct {
	advlib.Attack
	examples *advlib.Examples
}

func (d drawnAs) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	b.Key = nil
	for row := range b.Len() {
		b.Key = append(b.Key, d.examples.Key(int(b.Number(row))))
	}
	return d.Attack.Perturb(ctx, v, b)
}

func BenchmarkAPGD100MLP(b *testing.B) {
	benchmark(b, "mlp-digits", attack.APGD{Ball: advlib.Linf.Ball(0.1)})
}

func BenchmarkAPGD100CNN(b *testing.B) {
	benchmark(b, "cnn-mnist-adv", attack.APGD{Ball: advlib.Linf.Ball(0.1)})
}

func BenchmarkAPGD100L1CNN(b *testing.B) {
	benchmark(b, "cnn-mnist-adv", attack.APGD{Ball: advlib.L1.Ball(10)})
}

func BenchmarkSquare1000CNN(b *testing.B) {
	benchmark(b, "cnn-mnist-adv", attack.Square{Ball: advlib.Linf.Ball(0.1), Queries: 1000})
}

func BenchmarkAutoAttackMLP(b *testing.B) {
	benchmark(b, "mlp-digits", attack.AutoAttack{Ball: advlib.Linf.Ball(0.1)})
}

func BenchmarkAutoAttackCNN(b *testing.B) {
	benchmark(b, "cnn-mnist-adv", attack.AutoAttack{Ball: advlib.Linf.Ball(0.1)})
}
