package serve_test

import (
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/endpoint"
	"advlab/advlib/oracle"
	"advlab/advlib/serve"
)

// An attack through HTTP asks the same questions, and finds the same, bit for bit, as on the victim itself; the server
// counts what the attack does.
func TestEndpointAsksAsAtHome(t *testing.T) {
	t.Setenv("ADVLAB_CACHE", t.TempDir())
	t.Setenv("TOKEN_OF_THE_TEST", "t0ken")
	x := []float32{0.1, 0.2, 0.3, -1, 1, 0, 0, 0.5, -0.3, 0.7, 0.2, 0.9, -0.5, -0.5, 0.4, -0.2}
	for name, c := range map[string]struct {
		v advlib.Victim
		a advlib.Attack
	}{
		"logits":        {victim(), attack.Square{Ball: advlib.Linf.Ball(0.3), Queries: 60}},
		"probabilities": {oracle.Probabilities(victim()), attack.Square{Ball: advlib.Linf.Ball(0.3), Queries: 60}},
		"labels":        {oracle.Labels(victim()), attack.HopSkipJump{Norm: advlib.L2, Queries: 300}},
	} {
		labels := make([]int32, 4)
		said, err := c.v.Query(t.Context(), tensors.FromFlatDataAndDimensions(x, 4, 2, 2))
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range said {
			labels[i] = a.Class()
		}
		e, err := advlib.NewExamples("four", x, []int{2, 2}, labels)
		if err != nil {
			t.Fatal(err)
		}
		counter := oracle.Count(c.v)
		_, r := start(t, counter, serve.Options{Token: "t0ken", Name: "m"})
		remote, err := endpoint.Open(t.Context(), endpoint.Spec{URL: r.Root, Model: "m", Input: signature.Input, Box: signature.Box,
			Classes: signature.Classes, Token: "TOKEN_OF_THE_TEST", Forget: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := remote.Signature().Returns, c.v.Signature().Returns; got != want {
			t.Errorf("%s: the endpoint says %v, want %v", name, got, want)
		}
		first := counter.Queries()
		there, here := advlib.MustRun(t.Context(), remote, e, c.a), advlib.MustRun(t.Context(), c.v, e, c.a)
		if !slices.Equal(there.Distance, here.Distance) || !slices.Equal(there.Queries, here.Queries) ||
			!slices.Equal(tensors.MustCopyFlatData[float32](there.Adversarial), tensors.MustCopyFlatData[float32](here.Adversarial)) {
			t.Errorf("%s: through HTTP %v after %v queries, at home %v after %v", name, there.Distance, there.Queries, here.Distance, here.Queries)
		}
		asked := int64(0)
		for _, n := range there.Queries {
			asked += int64(n)
		}
		if got := counter.Queries() - first; got != asked || slices.Max(there.Queries) < 20 {
			t.Errorf("%s: the server has answered %d inputs, the result says %v", name, got, there.Queries)
		}
		if err := remote.Close(); err != nil {
			t.Error(err)
		}
	}
}
