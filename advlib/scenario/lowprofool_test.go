package scenario_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/scenario"
)

var update = flag.Bool("update", false, "with ADVLAB_ART, a Python that has ART: write testdata/lowprofool-*.json anew")

// lowProFool is a network with records to attack, as testdata/lowprofool.py reads them.
type lowProFool struct {
	W0         [][]float32 `json:"w0"`
	B0         []float32   `json:"b0"`
	W1         [][]float32 `json:"w1"`
	B1         []float32   `json:"b1"`
	Lo         []float32   `json:"lo"`
	Hi         []float32   `json:"hi"`
	X          [][]float32 `json:"x"`
	Importance []float64   `json:"importance"`
	Fixed      []bool      `json:"fixed"`  // what an attacker cannot change
	Heavy      []float64   `json:"heavy"`  // factors of its importance
	Lambda     float64     `json:"lambda"` // LowProFool's weight of the norm
}

// lowProFoolSaid is what it writes.
type lowProFoolSaid struct {
	Made string `json:"made with"`
	Runs []struct {
		Heavy  float64     `json:"heavy"`
		X      [][]float32 `json:"x"`
		Logits [][]float32 `json:"logits"`
	} `json:"runs"`
}

// Beside LowProFool of ART, its importance given, on one model: of what it returns nothing is a record that could
// exist, even where what cannot change is thirty times as important. Put onto the nearest record, and asked again, it
// is compared with what the attacks find in the domain, at the same perturbations in its weighted norm.
func TestBesideLowProFool(t *testing.T) {
	in, out := filepath.Join("testdata", "lowprofool-in.json"), filepath.Join("testdata", "lowprofool-art.json")
	if python := os.Getenv("ADVLAB_ART"); *update && python != "" {
		writeLowProFool(t, in)
		said, err := exec.Command(python, filepath.Join("testdata", "lowprofool.py"), in, out).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	var d lowProFool
	var theirs lowProFoolSaid
	readJSON(t, in, &d)
	readJSON(t, out, &theirs)
	r := scenario.Websites().MustLearn(dataset.PhishingWebsitesFeatures(), scenario.SyntheticWebsites(1000, 5))
	domain := append(advlib.Domain{}, r.Domain...)
	for i := range domain {
		if domain[i].Change != advlib.Fixed {
			domain[i].Scale = 1 / d.Importance[i]
		}
	}
	c := d.network(t, domain)

	n, size := len(d.X), len(d.Importance)
	var flat []float32
	for _, x := range d.X {
		flat = append(flat, x...)
	}
	ones := make([]int32, n)
	for i := range ones {
		ones[i] = 1
	}
	on := &advlib.Examples{Name: "records", X: tensors.FromFlatDataAndDimensions(flat, n, size), Y: ones}
	ours := nearest(t, c, on)

	valid, succeeded := 0, 0
	repaired := make([]float64, n) // their smaller, of both runs, once it is a record
	for i := range repaired {
		repaired[i] = math.Inf(1)
	}
	for _, run := range theirs.Runs {
		all := make([]float32, 0, n*size)
		for i, x := range run.X {
			if run.Logits[i][0] > run.Logits[i][1] {
				succeeded++
				if isRecord(domain, d.X[i], x) {
					valid++
				}
			}
			y := append([]float32{}, x...)
			for j, f := range domain {
				if f.Change == advlib.Fixed {
					y[j] = d.X[i][j]
				}
			}
			c.Round(y)
			all = append(all, y...)
		}
		z, err := c.Logits(tensors.FromFlatDataAndDimensions(all, n, size))
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if z[i][0] > z[i][1] {
				repaired[i] = min(repaired[i], c.Distance(advlib.L2, all[i*size:(i+1)*size], d.X[i]))
			}
		}
	}
	t.Logf("%s: %d of %d returned as adversarial, %d of them are records", theirs.Made, succeeded, n*len(theirs.Runs), valid)
	for _, budget := range []float64{0.05, 0.1, 0.2, 0.3, 0.5, 1} {
		a, b := within(ours, budget), within(repaired, budget)
		t.Logf("weighted norm ≤ %.2f: ours %d of %d, theirs put onto records %d", budget, a, n, b)
		if a < b {
			t.Errorf("within %g they succeed on %d valid records, we on %d", budget, b, a)
		}
	}
	if within(ours, 1) < n*9/10 || succeeded == 0 {
		t.Errorf("%d of %d found, %d by them: nothing is compared", within(ours, 1), n, succeeded)
	}
}

// nearest are the distances of the nearest adversarial records that attacks in the domain find.
func nearest(t *testing.T, c *advlib.Classifier, on *advlib.Examples) []float64 {
	t.Helper()
	found := make([]float64, on.Len())
	for i := range found {
		found[i] = math.Inf(1)
	}
	for _, a := range []advlib.Attack{attack.FMN{Norm: advlib.L2, Steps: 100}, attack.DDN{Steps: 100}, attack.CarliniWagner{}} {
		res, err := advlib.Run(t.Context(), c, on, a)
		if err != nil {
			t.Fatal(err)
		}
		for i, ok := range res.Success {
			if ok {
				found[i] = min(found[i], res.Distance[i])
			}
		}
	}
	return found
}

func within(distances []float64, budget float64) (n int) {
	for _, d := range distances {
		if d <= budget {
			n++
		}
	}
	return n
}

// isRecord tells whether y could have been made of x.
func isRecord(d advlib.Domain, x, y []float32) bool {
	for j, f := range d {
		steps := (float64(y[j]) - f.Lo) / f.Step
		if f.Change == advlib.Fixed && y[j] != x[j] || math.Abs(steps-math.Round(steps)) > 1e-4 {
			return false
		}
	}
	return true
}

func readJSON(t *testing.T, path string, to any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatal(err)
	}
}

// network is the model of the weights.
func (d lowProFool) network(t *testing.T, domain advlib.Domain) *advlib.Classifier {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "websites", Input: []int{len(d.Lo)}, Domain: domain, Backend: opened(t).Backend,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			row := func(v []float32) *graph.Node {
				return graph.BroadcastToDims(graph.Const(x.Graph(), [][]float32{v}), x.Shape().Dimensions[0], len(v))
			}
			in := graph.Div(graph.Sub(x, row(d.Lo)), row(sub(d.Hi, d.Lo)))
			h := graph.Add(graph.DotProduct(in, graph.Const(x.Graph(), d.W0)), row(d.B0))
			h = graph.Max(h, graph.ZerosLike(h))
			return graph.Add(graph.DotProduct(h, graph.Const(x.Graph(), d.W1)), row(d.B1))
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sub(a, b []float32) []float32 {
	d := make([]float32, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return d
}

// weights are those of a layer.
func weights[T any](t *testing.T, c *advlib.Classifier, name string) T {
	t.Helper()
	for v := range c.Store().IterVariables() {
		if strings.HasSuffix(v.Path(), name) {
			return v.MustValue().Value().(T)
		}
	}
	t.Fatalf("the model has no weights %s", name)
	panic("unreachable")
}

// writeLowProFool trains a network on synthetic websites, and writes it with phishing sites that it detects.
func writeLowProFool(t *testing.T, path string) {
	t.Helper()
	table := scenario.SyntheticWebsites(1000, 5)
	r := scenario.Websites().MustLearn(dataset.PhishingWebsitesFeatures(), table)
	e := r.MustExamples(table)
	c := train(t, r, e, 20, 16)
	var d lowProFool
	d.W0, d.W1 = weights[[][]float32](t, c, "dense0/w"), weights[[][]float32](t, c, "dense1/w")
	d.B0, d.B1 = weights[[]float32](t, c, "dense0/b"), weights[[]float32](t, c, "dense1/b")
	x := tensors.MustCopyFlatData[float32](e.X)
	size := r.Coordinates()
	// Importance as the authors take it: the absolute correlation with the class, here of unit length.
	sum := 0.
	for j := range size {
		var sx, sy, sxx, syy, sxy float64
		for i, y := range e.Y {
			v, w := float64(x[i*size+j]), float64(y)
			sx, sy, sxx, syy, sxy = sx+v, sy+w, sxx+v*v, syy+w*w, sxy+v*w
		}
		k := float64(e.Len())
		corr := math.Abs((sxy - sx*sy/k) / math.Sqrt((sxx-sx*sx/k)*(syy-sy*sy/k)))
		d.Importance = append(d.Importance, corr)
		sum += corr * corr
	}
	for j := range d.Importance {
		d.Importance[j] = math.Round(d.Importance[j]/math.Sqrt(sum)*1e6) / 1e6
	}
	for _, f := range r.Schema.Features {
		d.Lo, d.Hi = append(d.Lo, float32(f.Lo)), append(d.Hi, float32(f.Hi))
	}
	z, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	for i, y := range e.Y {
		if y == 1 && z[i][1] > z[i][0] && len(d.X) < 40 {
			d.X = append(d.X, x[i*size:(i+1)*size])
		}
	}
	for _, f := range r.Domain {
		d.Fixed = append(d.Fixed, f.Change == advlib.Fixed)
	}
	d.Heavy, d.Lambda = []float64{1, 30}, 0.5
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(bytes.TrimSpace(text), '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
