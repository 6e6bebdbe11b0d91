package certify_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/compute"

	"advlab/advlib"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/certify"
)

// referenceTolerance is absolute, and relative to hundreds above 100: the widest bounds are several hundred wide, where
// a unit in the last place of float32 is 3e-5.
const referenceTolerance = 1e-4

var (
	peerMethods = map[string]certify.Method{"ibp": certify.IBP, "crown-ibp": certify.CROWNIBP, "crown": certify.CROWN}
	peerNorms   = map[string]advlib.Norm{"linf": advlib.Linf, "l2": advlib.L2}
)

// Bounds and margins equal those of auto_LiRPA (the arrays' source is in attacktest/testdata/README.md), for every
// method, norm and radius that the reference vectors hold; the CNN in L2 with its radius at padded borders.
func TestReference(t *testing.T) {
	for backendName, b := range backends(t) {
		for _, name := range attacktest.References {
			compared := 0
			r := load(t, name, b)
			for _, set := range peerSets(t, r) {
				compared++
				t.Run(backendName+"/"+name+"/"+set.key, func(t *testing.T) {
					r := r
					if name == "cnn-mnist-adv" && set.ball.Norm == advlib.Norm(advlib.L2) {
						defer certify.UsePeerConvolution()()
						r = load(t, name, b)
					}
					methods := []certify.Method{set.method}
					if set.method == certify.CROWN && name != "cnn-mnist-adv" { // a chain of dense layers and ReLUs
						methods = append(methods, certify.CROWN.ByGraphs())
					}
					for _, method := range methods {
						for what, got := range set.compute(t, r, method.WithoutBox().In(certify.RealArithmetic)) {
							worst, _ := difference(t, r, what+"__"+set.key, got)
							if !(worst <= referenceTolerance) {
								t.Errorf("%v: %s differs from auto_LiRPA's by up to %g", method, what, worst)
							}
							t.Logf("%v: %s of %d examples: largest difference from auto_LiRPA's %.2g", method, what, len(got), worst)
						}
					}
				})
			}
			if compared != 12 {
				t.Errorf("%s: %d sets of bounds compared, there should be 12 (3 methods, 2 norms, 2 radii)", name, compared)
			}
		}
	}
}

// What is proven with the box of the inputs, and with the exact radius at padded borders, is never less than what
// auto_LiRPA proves, in real arithmetic as it; and rounding only lowers it, by the slack that is logged.
func TestNeverLooserThanThePeer(t *testing.T) {
	all := backends(t)
	for backendName, b := range all {
		for _, name := range attacktest.References {
			r := load(t, name, b)
			for _, set := range peerSets(t, r) {
				// Each once: what takes long on XLA, if it is there, and the rest on the Go backend. TestReference compares on
				// both.
				long := name == "cnn-mnist-adv" && set.method == certify.CROWN && len(all) > 1
				if long != (backendName == "xla") && !full {
					continue
				}
				for _, method := range []certify.Method{set.method, set.method.WithoutBox()} {
					margins := set.compute(t, r, method.In(certify.RealArithmetic))["margin"]
					// CROWN's adaptive slopes jump with the intervals, so that a smaller region may have a lower bound.
					mayJump := set.method == certify.CROWN && method == set.method && set.ball.Norm != advlib.Norm(advlib.Linf)
					if _, below := difference(t, r, "margin__"+set.key, margins); !mayJump && !(below <= referenceTolerance) {
						t.Errorf("%s/%s/%s: %v margins are up to %g below auto_LiRPA's", backendName, name, set.key, method, below)
					}
					if backendName == "xla" && !long || method != set.method || name == "mlp-digits" { // one MLP is enough
						continue
					}
					rounded := set.compute(t, r, method)["margin"]
					mean, most, n := 0., 0., 0
					for i, row := range rounded {
						for k, v := range row {
							if !(v < margins[i][k]) {
								t.Errorf("%s/%s: %v: margin %d of example %d is %g with rounding, %g in real arithmetic", name, set.key, method, k, i, v,
									margins[i][k])
							}
							mean, most, n = mean+margins[i][k]-v, max(most, margins[i][k]-v), n+1
						}
					}
					t.Logf("%s/%s: rounding takes %.2g from the mean of %d margins, at most %.2g", name, set.key, mean/float64(n), n, most)
				}
			}
		}
	}
}

func load(t testing.TB, name string, b compute.Backend) *attacktest.Reference {
	t.Helper()
	r, err := attacktest.LoadReference(name, b)
	if full && name == "cnn-mnist-adv" { // all 32 examples
		r, err = attacktest.LoadReferenceFrom(os.DirFS(filepath.Join("..", "..", "..", "shared", "reference")), name, b)
		if errors.Is(err, fs.ErrNotExist) {
			t.Logf("the first 8 examples only: %v", err)
			r, err = attacktest.LoadReference(name, b)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// peerSet is what a peer computed with one method over one ball.
type peerSet struct {
	key    string
	method certify.Method
	ball   advlib.Ball
}

func peerSets(t testing.TB, r *attacktest.Reference) (sets []peerSet) {
	t.Helper()
	for _, array := range r.Keys() {
		key, ok := strings.CutPrefix(array, "margin__")
		methodAndNorm, eps, _ := strings.Cut(key, "__")
		methodName, normName, _ := strings.Cut(methodAndNorm, "_")
		method, known := peerMethods[methodName]
		if !ok || !known {
			continue
		}
		radius, err := strconv.ParseFloat(eps, 64)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, peerSet{key, method, peerNorms[normName].Ball(radius)})
	}
	return sets
}

func (s peerSet) compute(t testing.TB, r *attacktest.Reference, m certify.Method) map[string][][]float64 {
	t.Helper()
	margins, err := certify.Margins(context.Background(), r.Classifier, r.Examples, s.ball, m)
	if err != nil {
		t.Fatal(err)
	}
	lower, upper, err := certify.Bounds(context.Background(), r.Classifier, r.Examples, s.ball, m)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][][]float64{"margin": margins, "lb": lower, "ub": upper}
}

// difference returns the largest difference from an array of the reference, and by how much some value is below, both
// as [referenceTolerance] counts.
func difference(t testing.TB, r *attacktest.Reference, key string, got [][]float64) (worst, below float64) {
	t.Helper()
	want, dims, err := r.Array(key)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) > dims[0] || len(got) == 0 || len(got[0]) != dims[1] {
		t.Fatalf("%s has shape %v, got [%d %d]", key, dims, len(got), len(got[0]))
	}
	for i, row := range got {
		for k, v := range row {
			w := float64(want[i*dims[1]+k])
			d := (w - v) / max(1, math.Abs(w)/100)
			worst, below = max(worst, math.Abs(d)), max(below, d) // NaN stays
		}
	}
	return worst, below
}
