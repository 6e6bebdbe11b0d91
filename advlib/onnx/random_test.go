package onnx_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
	"advlab/advlib/onnx"
	"advlab/advlib/onnx/onnxtest"
)

// count returns how many of something are tried: full with ADVLAB_FULL=1, ADVLAB_RANDOM if it is set, few otherwise.
func count(t testing.TB, few, full int) int {
	t.Helper()
	if s := os.Getenv("ADVLAB_RANDOM"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if os.Getenv("ADVLAB_FULL") != "" {
		return full
	}
	return few
}

// TestRandomGraphsComputeWhatPlainGoDoes compares random graphs over the operators that are read with package onnxtest:
// in float64, three rows at once here, one after the other there. ADVLAB_FULL=1 tries 10⁵ on the Go backend and 10³ on
// XLA.
func TestRandomGraphsComputeWhatPlainGoDoes(t *testing.T) {
	all := backends(t)
	read := strings.Split(onnx.Operators(), ", ")
	o := onnxtest.Options{Allow: func(op string) bool { return slices.Contains(read, op) }}
	// onnx-gomlx collects garbage three times for each graph, which takes longer the more threads take part in it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		n := count(t, 20, 1000)
		if name == backend.Go {
			n = count(t, 300, 100_000)
		}
		t.Run(name, func(t *testing.T) {
			tally := map[string]int{}
			first := uint64(0)
			if s := os.Getenv("ADVLAB_SEED"); s != "" {
				first, _ = strconv.ParseUint(s, 10, 64)
			}
			failures := 0
			for seed := first; seed < first+uint64(n) && failures < 10; seed++ {
				g := onnxtest.Random(seed, o)
				outcome, err := compareGraph(all[name], g)
				if err != nil {
					failures++
					small := g.Shrink(func(g onnxtest.Graph) bool {
						_, err := compareGraph(all[name], g)
						return err != nil
					})
					_, err = compareGraph(all[name], small)
					t.Errorf("%v: %v", small, err)
				}
				tally[outcome]++
			}
			right := tally["right"]
			t.Logf("%s: of %d graphs %d right, %d too sensitive to rounding", name, n, right, tally["sensitive"])
			for _, o := range slices.SortedFunc(maps.Keys(tally), func(a, b string) int { return tally[b] - tally[a] }) {
				if strings.HasPrefix(o, "refused") {
					t.Logf("%6d %s", tally[o], o)
				}
			}
			if !t.Failed() && right < n*9/10 {
				t.Errorf("only %d of %d were compared", right, n)
			}
		})
	}
}

var numbers = regexp.MustCompile(`[-0-9][-0-9. ]*`)

// compareGraph tells whether a graph is right, too sensitive to be compared, or refused and by which operator; wrong
// values and refusals that name no operator are errors.
func compareGraph(b compute.Backend, g onnxtest.Graph) (outcome string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panics: %v", r)
		}
	}()
	n, err := onnx.ReadNetwork(bytes.NewReader(g.File), onnx.Options{})
	if err != nil {
		if _, rest, found := strings.Cut(err.Error(), "the operator "); found {
			op, _, _ := strings.Cut(rest, " ")
			_, why, _ := strings.Cut(rest, ": ")
			return fmt.Sprintf("refused: %s %s", strings.TrimSuffix(op, ","), numbers.ReplaceAllString(why[:min(len(why), 120)], "#")), nil
		}
		return "", err
	}
	reference, err := onnxtest.Parse(g.File)
	if err != nil {
		return "", err
	}
	const rows = 3
	r := rand.New(rand.NewPCG(g.Seed, 99))
	var xs, want []float64
	finite := true
	for range rows {
		x := g.Example(r)
		y, err := onnxtest.Forward(reference, x)
		if err != nil {
			return "", fmt.Errorf("plain Go: %w", err)
		}
		for _, v := range y {
			finite = finite && !math.IsNaN(v) && !math.IsInf(v, 0)
		}
		xs, want = append(xs, x...), append(want, y...)
	}
	store, err := n.WideStore()
	if err != nil {
		return "", err
	}
	e, err := model.NewExec(b, store, func(s *model.Scope, x *graph.Node) *graph.Node { return n.Graph(s.Store().RootScope(), x) })
	if err != nil {
		return "", err
	}
	defer e.Finalize()
	out, err := e.Exec(tensors.FromFlatDataAndDimensions(xs, append([]int{rows}, g.Input...)...))
	if err != nil {
		return "", err
	}
	got := tensors.MustCopyFlatData[float64](out[0])
	switch worst := apart(got, want); {
	case !finite:
		return "not finite", nil
	case worst <= 1e-9:
		return "right", nil
	case sensitive(g, reference, xs, rows, 1e-9):
		return "sensitive", nil
	default:
		return "wrong", fmt.Errorf("it differs by %g of the largest value: %v, want %v", worst, got, want)
	}
}

// apart is the largest difference, relative to the largest value and 1.
func apart(got, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	scale, worst := 1., 0.
	for i := range want {
		scale = max(scale, math.Abs(want[i]))
		worst = max(worst, math.Abs(got[i]-want[i]))
		if math.IsNaN(got[i]) {
			return math.Inf(1)
		}
	}
	return worst / scale
}

// sensitive tells whether noise far below the tolerance changes the outputs by more than it: a graph at a jump, or with
// a large slope, says nothing about who is right.
func sensitive(g onnxtest.Graph, m *onnxtest.Model, xs []float64, rows int, tolerance float64) bool {
	r := rand.New(rand.NewPCG(g.Seed, 100))
	size := len(xs) / rows
	for k := range rows {
		x := xs[k*size : (k+1)*size]
		want, err := onnxtest.Forward(m, x)
		if err != nil {
			return false
		}
		for range 10 {
			if got, err := onnxtest.Shaken(m, x, tolerance/1e3, r); err != nil || apart(got, want) > tolerance {
				return true
			}
		}
	}
	return false
}
