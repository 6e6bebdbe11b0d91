package attack_test

import (
	"context"
	"math"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
)

// The standard set is as strong as AutoAttack on the reference models, which do not hide their gradients, up to one
// example. The peer's numbers are in the summaries beside the vectors. On the Go backend it runs in Linf only: C&W on
// 64 examples takes a minute there.
func TestStandardAgainstAutoAttack(t *testing.T) {
	b := digits(t).Classifier.Backend()
	pure, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mlp-digits", "mlp-digits-adv"} {
		r := reference(t, name, b)
		for key, ball := range map[string]advlib.Ball{
			"autoattack_standard_linf/0.05": advlib.Linf.Ball(0.05),
			"autoattack_standard_linf/0.1":  advlib.Linf.Ball(0.1),
			"autoattack_standard_l2/0.25":   advlib.L2.Ball(0.25),
			"autoattack_standard_l2/0.5":    advlib.L2.Ball(0.5),
		} {
			if b == pure && ball.Norm == advlib.Norm(advlib.L2) && !full {
				t.Logf("%s, %v: left out on the Go backend unless ADVLAB_FULL is set", name, ball)
				continue
			}
			share, ok := r.Peers[key]
			if !ok {
				t.Fatalf("%s: the peer's %s is missing", name, key)
			}
			broken := make([]bool, r.Examples.Len())
			for _, a := range attack.Standard(ball) {
				res, err := advlib.Run(context.Background(), r.Classifier, r.Examples, a)
				if err != nil {
					t.Fatal(err)
				}
				for i := range broken {
					broken[i] = broken[i] || res.Success[i] && res.Distance[i] <= ball.Radius
				}
			}
			standing, peer := len(broken)-count(broken), int(math.Round(share*float64(len(broken))))
			t.Logf("%s, %v: %d of %d standing, AutoAttack leaves %d", name, ball, standing, len(broken), peer)
			if standing > peer+1 {
				t.Errorf("%s, %v: %d of %d standing, AutoAttack leaves %d", name, ball, standing, len(broken), peer)
			}
		}
	}
}

// Carlini & Wagner belongs to the set in L2 only: it has no other norm.
func TestStandardNorms(t *testing.T) {
	for n, want := range map[advlib.Norm]int{advlib.L1: 3, advlib.L2: 4, advlib.Linf: 3} {
		if got := attack.Standard(n.Ball(0.5)); len(got) != want {
			t.Errorf("%v: %d attacks, want %d: %v", n, len(got), want, got)
		}
	}
}
