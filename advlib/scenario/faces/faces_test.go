package faces

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/training"
	"advlab/advlib/zoo"

	"gonum.org/v1/gonum/mat"
)

func share(t *testing.T, c *advlib.Classifier, e *advlib.Examples) float64 {
	t.Helper()
	z, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	right := 0.
	for i, row := range z {
		if slices.Index(row, slices.Max(row)) == int(e.Y[i]) {
			right++
		}
	}
	return right / float64(len(z))
}

// The threshold at a false-accept rate is the least that keeps it, counted by hand.
func TestThreshold(t *testing.T) {
	s := Scores{Genuine: []float64{0.3, 0.6, 0.9}, Impostor: []float64{-0.2, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}}
	for rate, refused := range map[float64]float64{0.1: 0.7, 0.2: 0.6, 0.05: 0.8, 0.55: 0.3} {
		at := s.threshold(rate)
		if at <= refused || at > refused+1e-9 {
			t.Errorf("at a rate of %g the threshold is %g, want just above %g", rate, at, refused)
		}
		if impostor, _ := s.Accepted(at); impostor > rate {
			t.Errorf("at a rate of %g it accepts %g of the impostors", rate, impostor)
		}
	}
	if _, genuine := s.Accepted(0.6); genuine != 2./3 {
		t.Errorf("0.6 accepts %g of the genuine, want 2/3", genuine)
	}
}

func TestGlasses(t *testing.T) {
	for _, size := range [][2]int{{56, 46}, {112, 92}, {64, 64}} {
		worn := Glasses(size[0], size[1])
		if s := Share(worn); s > MostGlasses || s < 0.05 {
			t.Errorf("%v: glasses cover %.3f of the face", size, s)
		}
		for i := range worn { // both sides alike
			if mirror := i/size[1]*size[1] + size[1] - 1 - i%size[1]; worn[i] != worn[mirror] {
				t.Fatalf("%v: pixel %d is worn, its mirror image is not", size, i)
			}
		}
	}
}

// Drawn faces are identified and verified; an impersonation succeeds with all of the picture, and with glasses changes
// nothing but the frame.
func TestDoor(t *testing.T) {
	train, test, err := dataset.Shots(dataset.Faces(12, 10, 1), 6, 1)
	if err != nil {
		t.Fatal(err)
	}
	train = shifted(train, 6, 2)
	m := Network()
	m.Epochs, m.Schedule = 10, training.Cosine{}
	net, err := Train(t.Context(), m, train)
	if err != nil {
		t.Fatal(err)
	}
	door, err := net.Enrol(train)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := door.Identify(nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := share(t, closed, test); a < 0.9 {
		t.Errorf("%.3f are identified", a)
	}
	if door, err = door.At(0.01, test); err != nil {
		t.Fatal(err)
	}
	scores, err := door.Scores(test)
	if err != nil {
		t.Fatal(err)
	}
	impostor, genuine := scores.Accepted(door.Threshold)
	if impostor > 0.01 || genuine < 0.8 {
		t.Errorf("at a threshold of %.3f, %.4f of the impostors are accepted, %.3f of the genuine", door.Threshold, impostor, genuine)
	}
	worn := Glasses(56, 46)
	c, err := door.Identify(worn)
	if err != nil {
		t.Fatal(err)
	}
	some := test.First(12)
	r, err := advlib.Run(t.Context(), c, some, attack.PGD{Ball: advlib.Linf.Ball(1), Goal: advlib.Targeted(3), Steps: 20})
	if err != nil {
		t.Fatal(err)
	}
	x, clean := tensors.MustCopyFlatData[float32](r.Adversarial), tensors.MustCopyFlatData[float32](some.X)
	for i := range x {
		if x[i] != clean[i] && !worn[i%len(worn)] {
			t.Fatalf("value %d of a face changed, which is not on the frame", i)
		}
	}
	whole, err := door.Verify(3, nil)
	if err != nil {
		t.Fatal(err)
	}
	claim := *some
	claim.Y = make([]int32, some.Len()) // each is to be refused
	all := advlib.MustRun(t.Context(), whole, &claim, attack.PGD{Ball: advlib.Linf.Ball(0.1), Goal: advlib.Targeted(1), Steps: 20})
	if n := all.SuccessRate(); n.Value() < 0.9 {
		t.Errorf("with all of the picture at 0.1, %v are taken for person 3", n)
	}
}

func TestRefusals(t *testing.T) {
	e := dataset.Faces(2, 2, 1)
	if _, err := Train(t.Context(), zoo.MLP(), e); err == nil || !strings.Contains(err.Error(), "no Outputs") {
		t.Errorf("a model without points: %v", err)
	}
	m := Network()
	m.Objective = Margin{Margin: 2}
	if _, err := Train(t.Context(), m, e); err == nil || !strings.Contains(err.Error(), "Margin = 2") {
		t.Errorf("a margin of 2: %v", err)
	}
	d := &Door{Persons: []string{"a", "b"}}
	if _, err := d.Verify(2, nil); err == nil || !strings.Contains(err.Error(), "no person 2") {
		t.Errorf("a person who is not enrolled: %v", err)
	}
	if _, err := d.At(0, e); err == nil || !strings.Contains(err.Error(), "rate of 0") {
		t.Errorf("a rate of 0: %v", err)
	}
}

// shifted are faces each in copies moved by up to so many pixels, drawn at random: what a few shots do not show.
func shifted(e *advlib.Examples, copies, by int) *advlib.Examples {
	x := tensors.MustCopyFlatData[float32](e.X)
	h, w := e.Shape()[0], e.Shape()[1]
	var flat []float32
	var y []int32
	for k := range copies {
		for i, label := range e.Y {
			dy, dx := (k*7+i*3)%(2*by+1)-by, (k*5+i)%(2*by+1)-by
			mirror := k%2 == 1
			y = append(y, label)
			for r := range h {
				for c := range w {
					from := min(max(c+dx, 0), w-1)
					if mirror {
						from = w - 1 - from
					}
					flat = append(flat, x[(i*h+min(max(r+dy, 0), h-1))*w+from])
				}
			}
		}
	}
	s, err := advlib.NewExamples(e.Name+", moved", flat, e.Shape(), y)
	if err != nil {
		panic(err)
	}
	s.Classes = e.Classes
	return s
}

// principal takes faces to their principal components, learned on the first.
func principal(t *testing.T, components int, train, test *advlib.Examples) (*advlib.Examples, *advlib.Examples) {
	t.Helper()
	matrix := func(e *advlib.Examples) *mat.Dense {
		x := tensors.MustCopyFlatData[float32](e.X)
		size := len(x) / e.Len()
		m := mat.NewDense(e.Len(), size, nil)
		for i, v := range x {
			m.Set(i/size, i%size, float64(v))
		}
		return m
	}
	a, b := matrix(train), matrix(test)
	rows, size := a.Dims()
	for j := range size {
		var mean float64
		for i := range rows {
			mean += a.At(i, j) / float64(rows)
		}
		for _, m := range []*mat.Dense{a, b} {
			n, _ := m.Dims()
			for i := range n {
				m.Set(i, j, m.At(i, j)-mean)
			}
		}
	}
	var svd mat.SVD
	if !svd.Factorize(a, mat.SVDThin) {
		t.Fatal("no principal components")
	}
	var v mat.Dense
	svd.VTo(&v)
	basis := v.Slice(0, size, 0, min(components, rows))
	project := func(m *mat.Dense, e *advlib.Examples) *advlib.Examples {
		var p mat.Dense
		p.Mul(m, basis)
		n, k := p.Dims()
		flat := make([]float32, 0, n*k)
		for i := range n {
			for j := range k {
				flat = append(flat, float32(p.At(i, j)))
			}
		}
		q, err := advlib.NewExamples(e.Name+", components", flat, []int{k}, e.Y)
		if err != nil {
			t.Fatal(err)
		}
		q.Classes = e.Classes
		return q
	}
	return project(a, train), project(b, test)
}

// On the faces of ORL, from the folder ADVLAB_DATA, persons are identified at least as well as by a logistic regression
// on principal components, on the same splits.
func TestPersons(t *testing.T) {
	path := filepath.Join(os.Getenv("ADVLAB_DATA"), "orl-faces.npz")
	if _, err := os.Stat(path); os.Getenv("ADVLAB_DATA") == "" || err != nil {
		t.Skipf("there is no %s: the faces of ORL are persons, and not passed on; TestDoor runs on drawn ones", path)
	}
	all, err := dataset.NPZScaled(path, 1./255)
	if err != nil {
		t.Fatal(err)
	}
	x := tensors.MustCopyFlatData[float32](all.X)
	if all, err = advlib.NewExamples("ORL", x, append(slices.Clone(all.Shape()[:2]), 1), all.Y); err != nil {
		t.Fatal(err)
	}
	shots, splits := []int{5}, uint64(2)
	if os.Getenv("ADVLAB_FULL") != "" {
		shots, splits = []int{3, 4, 5}, 5
	}
	for _, n := range shots {
		var ours, theirs []float64
		for seed := range splits {
			train, test, err := dataset.Shots(all, n, seed)
			if err != nil {
				t.Fatal(err)
			}
			m := Network()
			m.Epochs = 12
			net, err := Train(t.Context(), m, shifted(train, 8, 2))
			if err != nil {
				t.Fatal(err)
			}
			door, err := net.Enrol(shifted(train, 8, 2))
			if err != nil {
				t.Fatal(err)
			}
			c, err := door.Identify(nil)
			if err != nil {
				t.Fatal(err)
			}
			ours = append(ours, share(t, c, test))
			a, b := principal(t, 60, train, test)
			lr := zoo.MLP()
			lr.Box, lr.Epochs, lr.LearningRate, lr.Schedule = advlib.Box{Lo: -100, Hi: 100}, 150, 0.01, training.Cosine{}
			theirs = append(theirs, share(t, lr.MustFit(t.Context(), a), b))
		}
		mean := func(v []float64) (m float64) {
			for _, x := range v {
				m += x / float64(len(v))
			}
			return m
		}
		t.Logf("%d shots a person: points %.3f (%.3f to %.3f), principal components and logistic regression %.3f (%.3f to %.3f)", n, mean(ours),
			slices.Min(ours), slices.Max(ours), mean(theirs), slices.Min(theirs), slices.Max(theirs))
		if mean(ours) < mean(theirs)-1e-9 || math.IsNaN(mean(ours)) {
			t.Errorf("%d shots: %.3f are identified, by the logistic regression %.3f", n, mean(ours), mean(theirs))
		}
	}
}
