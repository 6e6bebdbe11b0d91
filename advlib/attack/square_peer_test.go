package attack_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// Of 50 examples of the reference models Square leaves at most one more right than auto-attack's, in the mean of 5
// seeds; testdata/square.py is the other side. With ADVLAB_FULL on all models with 1000 and 5000 queries, else on one
// with 1000.
func TestSquareBesideAutoAttack(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "square.json"))
	if err != nil {
		t.Fatal(err)
	}
	peer := map[string][]int{}
	if err := json.Unmarshal(text, &peer); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, c := range []struct {
		model    string
		linf, l2 float64
	}{{"mlp-digits", 0.1, 0.5}, {"mlp-digits-adv", 0.1, 0.5}, {"cnn-mnist-adv", 0.15, 1.5}} {
		if !full && c.model != "mlp-digits" {
			continue
		}
		r, err := attacktest.LoadReferenceFrom(os.DirFS(filepath.Join("..", "..", "..", "shared", "reference")), c.model, nil)
		switch {
		case errors.Is(err, fs.ErrNotExist) && c.model == "cnn-mnist-adv":
			t.Logf("%s is left out: ../shared/reference, with all its examples, is not there", c.model)
			continue
		case errors.Is(err, fs.ErrNotExist):
			r = reference(t, c.model, nil)
		case err != nil:
			t.Fatal(err)
		}
		v, e := r.Classifier, r.Examples
		if c.model != "cnn-mnist-adv" {
			v, e = squaresOf(t, r)
		}
		e = e.First(min(50, e.Len()))
		for _, b := range []advlib.Ball{advlib.Linf.Ball(c.linf), advlib.L2.Ball(c.l2)} {
			for _, queries := range []int{1000, 5000} {
				theirs, ok := peer[fmt.Sprintf("%s %v %g %d", c.model, b.Norm, b.Radius, queries)]
				if !full && queries > 1000 {
					continue
				}
				if !ok {
					t.Logf("%s, %v, %d queries is left out: testdata/square.json has nothing about it", c.model, b, queries)
					continue
				}
				ours, sum, peers := make([]int, 5), 0., 0.
				for seed := range ours {
					res, err := advlib.Settings{Seed: uint64(seed)}.Run(t.Context(), v, e, attack.Square{Ball: b, Queries: queries + 2})
					if err != nil {
						t.Fatal(err)
					}
					ours[seed] = e.Len() - count(res.Success)
					sum += float64(ours[seed]) / 5
					peers += float64(theirs[seed]) / 5
				}
				compared++
				t.Logf("%s, %v, %d queries: left right %v, mean %.1f; auto-attack %v, mean %.1f", c.model, b, queries, ours, sum, theirs, peers)
				if sum > peers+1 {
					t.Errorf("%s, %v, %d queries: %.1f are left right in the mean of 5 seeds, by auto-attack %.1f", c.model, b, queries, sum, peers)
				}
			}
		}
	}
	if compared < 2 {
		t.Errorf("only %d comparisons", compared)
	}
}
