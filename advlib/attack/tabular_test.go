package attack_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// tabular trains a small network of the zoo on tabular data, whose features it first maps to [0, 1]. It runs on the Go
// backend, which is as fast for so few numbers, and need not compile.
func tabular(t testing.TB, name string, d advlib.Domain, train *advlib.Examples, epochs int) *advlib.Classifier {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	c, err := training.Model{
		Name: name, Domain: d, Backend: b, Epochs: epochs, LearningRate: 0.01, BatchSize: min(32, train.Len()),
		Build: func(classes int) advlib.LogitsFn {
			logits := zoo.MLP(32).Build(classes)
			return func(scope *model.Scope, x *graph.Node) *graph.Node { return logits(scope, d.Normalize(x)) }
		},
	}.Fit(context.Background(), train)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// within returns the classifier with another domain.
func within(t testing.TB, c *advlib.Classifier, d advlib.Domain) *advlib.Classifier {
	t.Helper()
	other, err := advlib.NewClassifier(advlib.Spec{
		Name: c.Name(), Input: c.Input(), Domain: d, Store: c.Store(), Backend: c.Backend(),
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node { return c.LogitsGraph(x) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// robustWithin returns on how many examples the label stands in the ball under all attacks, and checks what each
// returns.
func robustWithin(t *testing.T, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, check func(from, to []float32) error,
	attacks ...advlib.Attack) int {
	t.Helper()
	standing := make([]bool, e.Len())
	for i := range standing {
		standing[i] = true
	}
	x := tensors.MustCopyFlatData[float32](e.X)
	d := len(x) / e.Len()
	for _, a := range attacks {
		res := advlib.MustRun(context.Background(), c, e, a)
		adv := tensors.MustCopyFlatData[float32](res.Adversarial)
		for i := range e.Len() {
			if err := check(x[i*d:(i+1)*d], adv[i*d:(i+1)*d]); err != nil {
				t.Fatalf("%v, example %d: %v", a, i, err)
			}
			standing[i] = standing[i] && !(res.Success[i] && res.Distance[i] <= ball.Radius)
		}
		t.Logf("%v: %v", c.Domain(), res)
	}
	return count(standing)
}

// Nuclei measured in micrometres: an attacker who cannot change the worst values, and can only enlarge areas, breaks
// less than one who can change all, and fixed features are exact.
func TestBreastCancer(t *testing.T) {
	train, test := dataset.BreastCancer()
	free := dataset.BreastCancerDomain()
	constrained := slices.Clone(free)
	for i := range constrained {
		switch {
		case strings.HasPrefix(constrained[i].Name, "worst"):
			constrained[i].Change = advlib.Fixed
		case strings.HasSuffix(constrained[i].Name, "area"):
			constrained[i].Change = advlib.RiseOnly
		}
	}
	c := tabular(t, "breast cancer", free, train, 60)
	d := within(t, c, constrained)
	for _, ball := range []advlib.Ball{advlib.Linf.Ball(0.05), advlib.L2.Ball(0.2), advlib.L1.Ball(0.6)} {
		attacks := []advlib.Attack{attack.PGD{Ball: ball, Loss: advlib.Margin}, attack.APGD{Ball: ball, Steps: 50}}
		all := robustWithin(t, c, test, ball, func(_, _ []float32) error { return nil }, attacks...)
		less := robustWithin(t, d, test, ball, func(from, to []float32) error {
			for j, f := range constrained {
				if f.Change == advlib.Fixed && math.Float32bits(from[j]) != math.Float32bits(to[j]) || f.Change == advlib.RiseOnly &&
					to[j] < from[j] || to[j] < float32(f.Lo) || to[j] > float32(f.Hi) {
					return fmt.Errorf("%s (%v) went from %g to %g", f.Name, f.Change, from[j], to[j])
				}
			}
			return nil
		}, attacks...)
		t.Logf("%v: %d stand if all may change, %d if the worst values may not (of %d)", ball, all, less, test.Len())
		if all > less {
			t.Errorf("%v: %d stand where everything may change, and %d where less may", ball, all, less)
		}
		if all == less {
			t.Errorf("%v: constraints make no difference: this tests nothing", ball)
		}
	}
}

// connections returns connections of the test set of NSL-KDD, 0 normal and 1 an attack, as they are numbered in the
// file, with the categories of protocol, service and flag in one-hot coordinates, and counts as whole numbers.
func connections(t *testing.T) (*advlib.Examples, advlib.Domain) {
	path := filepath.Join("..", "..", "..", "shared", "data", "nsl-kdd-test.csv.gz")
	file, err := os.Open(path)
	if err != nil {
		t.Skipf("needs the NSL-KDD test set, which may not be copied into the project: %v", err)
	}
	defer func() { _ = file.Close() }()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	const most = 2500
	var names []string
	var lines [][]string
	for s := bufio.NewScanner(z); s.Scan() && len(lines) < most; {
		fields := strings.Split(s.Text(), ",")
		if names == nil {
			names = fields
			continue
		}
		lines = append(lines, fields)
	}
	var domain advlib.Domain
	values := make([][]string, 41)
	for j, name := range names[:41] {
		f := advlib.Feature{Name: name}
		whole := true
		for _, l := range lines {
			v, err := strconv.ParseFloat(l[j], 64)
			whole = whole && err == nil && v == math.Trunc(v) && v < 1<<20
			if j >= 1 && j <= 3 && !slices.Contains(values[j], l[j]) {
				values[j] = append(values[j], l[j])
			}
		}
		if f.OneHot = len(values[j]); whole {
			f.Step = 1
		}
		domain = append(domain, f)
	}
	var x []float32
	var y []int32
	for _, l := range lines {
		for j, f := range domain {
			if f.OneHot > 0 {
				one := make([]float32, f.OneHot)
				one[slices.Index(values[j], l[j])] = 1
				x = append(x, one...)
				continue
			}
			v, err := strconv.ParseFloat(l[j], 32)
			if err != nil {
				t.Fatal(err)
			}
			x = append(x, float32(v))
		}
		label := int32(1)
		if strings.TrimSpace(l[41]) == "5" { // normal: 9711 of the 22544, as its authors say
			label = 0
		}
		y = append(y, label)
	}
	e, err := advlib.NewExamples("nsl-kdd", x, []int{len(x) / len(y)}, y)
	if err != nil {
		t.Fatal(err)
	}
	if domain, err = domain.FitTo(e); err != nil {
		t.Fatal(err)
	}
	return e, domain
}

// Network connections with categories and counts: what is returned has one protocol, service and flag, whole counts,
// and leaves alone what an attacker cannot change; constraints make a classifier look no less robust.
func TestConnections(t *testing.T) {
	e, free := connections(t)
	constrained := slices.Clone(free)
	for i, f := range constrained {
		switch {
		case f.Change == advlib.Fixed:
		case strings.HasPrefix(f.Name, "dst_host") || f.Name == "protocol_type": // the victim's statistics
			constrained[i].Change = advlib.Fixed
		case f.Name == "duration" || f.Name == "src_bytes":
			constrained[i].Change = advlib.RiseOnly
		}
	}
	c := tabular(t, "connections", free, e.Slice(0, 2000), 5)
	test := e.Slice(2000, 2064)
	d := within(t, c, constrained)
	t.Log(free)
	t.Log(constrained)
	ball := advlib.L1.Ball(1)
	attacks := []advlib.Attack{attack.PGD{Ball: ball, Loss: advlib.Margin, Sparsity: 0.05}, attack.FMN{Norm: advlib.L1, Steps: 100}}
	admissible := func(domain advlib.Domain) func(from, to []float32) error {
		return func(from, to []float32) error {
			j := 0
			for _, f := range domain {
				n := max(1, f.OneHot)
				a, b := from[j:j+n], to[j:j+n]
				j += n
				ones := 0
				for _, v := range b {
					if v == 1 {
						ones++
					}
					if f.OneHot > 0 && v != 0 && v != 1 {
						return fmt.Errorf("%s has a coordinate of %g", f.Name, v)
					}
				}
				switch {
				case f.OneHot > 0 && ones != 1:
					return fmt.Errorf("%s has %d values", f.Name, ones)
				case f.Change == advlib.Fixed && !slices.Equal(a, b), f.Change == advlib.RiseOnly && b[0] < a[0]:
					return fmt.Errorf("%s, %v, went from %v to %v", f.Name, f.Change, a, b)
				case f.Step > 0 && b[0] != float32(math.Trunc(float64(b[0]))):
					return fmt.Errorf("%s is %g, no whole number", f.Name, b[0])
				}
			}
			return nil
		}
	}
	all := robustWithin(t, c, test, ball, admissible(free), attacks...)
	less := robustWithin(t, d, test, ball, admissible(constrained), attacks...)
	t.Logf("%v: %d stand if all may change, %d if only what an attacker controls may (of %d)", ball, all, less, test.Len())
	if all > less {
		t.Errorf("%d stand where everything may change, and %d where less may", all, less)
	}
	if all == test.Len() {
		t.Error("nothing was broken: this tests nothing")
	}
}

// A connection's protocol, one of three, and its number of packets: what an attacker pays is 1 for another protocol and
// 1 for 10 packets.
func ExampleDomain() {
	plain, _ := brightness()
	c := advlib.MustClassifier(advlib.Spec{
		Name: "connections", Input: []int{5}, Classes: []string{"normal", "attack"}, Backend: plain.Backend(),
		Domain: advlib.Domain{
			{Name: "protocol", OneHot: 3},
			{Name: "packets", Lo: 0, Hi: 1000, Step: 1, Scale: 10},
			{Name: "victim's load", Lo: 0, Hi: 1, Change: advlib.Fixed},
		},
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			w := [][]float32{{0, 2}, {0, 0.5}, {0, 0}, {0, 0.1}, {0, 5}}
			return graph.Add(graph.Dot(x, graph.Const(x.Graph(), w)).Product(), graph.Const(x.Graph(), [][]float32{{9, 0}}))
		},
	})
	e, err := advlib.NewExamples("one", []float32{1, 0, 0, 60, 0.5}, []int{5}, []int32{1})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range []advlib.Attack{attack.FMN{Norm: advlib.L0, Steps: 100}, attack.FMN{Norm: advlib.L1, Steps: 100}} {
		res := advlib.MustRun(context.Background(), c, e, a)
		fmt.Println(res.Attack, "distance", res.Distance[0], "input", res.Adversarial.Value())
	}
	// Output:
	// FMN-100 L0 minimal distance 1 input [[1 0 0 44 0.5]]
	// FMN-100 L1 minimal distance 1 input [[0 0 1 60 0.5]]
}
