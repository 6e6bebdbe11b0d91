package faces

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
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
	"gonum.org/v1/gonum/stat"
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
		band := Band(size[0], size[1])
		for i := range worn { // both sides alike, all of it under the band
			if worn[i] && !band[i] {
				t.Fatalf("%v: pixel %d is worn, and not under the band", size, i)
			}
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
	door := enrolled(t, train, 6, 10)
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
	refused := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", what, err, want)
		}
	}
	e := dataset.Faces(2, 2, 1)
	_, err := Train(t.Context(), zoo.MLP(), e)
	refused("a model without points", err, "no Outputs")
	m := Network()
	m.Objective = Margin{Margin: 2}
	_, err = Train(t.Context(), m, e)
	refused("a margin of 2", err, "Margin = 2")
	_, err = (&Door{Persons: []string{"a", "b"}}).Verify(2, nil)
	refused("a person who is not enrolled", err, "no person 2")
	_, err = Moved(dataset.Faces(2, 2, 1), 0, 2, 1)
	refused("no copies", err, "0 copies moved by 2 pixels")

	r := rand.New(rand.NewPCG(1, 1))
	net, two := linearNet(t, drawn(r, 5, 12, 1)), pictures(t, drawn(r, 2, 12, 0.3), []int32{0, 1}, "ann", "bob")
	_, err = net.Enrol(two.First(1))
	refused("a person without a face", err, "no face of bob")
	_, err = net.Enrol(pictures(t, drawn(r, 2, 12, 0.3), []int32{0, 1}, "ann", "ann"))
	refused("two of one name", err, `two persons called "ann"`)
	_, err = net.Enrol(pictures(t, drawn(r, 2, 12, 0.3), []int32{0, 0}))
	refused("one person", err, "1 persons")
	_, err = net.Enrol(two, make([]bool, 12))
	refused("a cover of nothing", err, "cover 0 covers nothing")
	_, err = net.Enrol(two, []bool{true})
	refused("a cover of another size", err, "1 pixels are given, the faces have 3 × 4")
	door, err := net.Enrol(two)
	if err != nil {
		t.Fatal(err)
	}
	_, err = door.Identify(make([]bool, 11))
	refused("worn of another size", err, "11 pixels are given")
	_, err = door.At(0, two)
	refused("a rate of 0", err, "rate of 0")
	_, err = door.At(0.01, two)
	refused("a rate below what can be told", err, "cannot be told from 2 comparisons")
	strangers := pictures(t, drawn(r, 2, 12, 0.3), []int32{0, 1}, "ann", "eve")
	_, err = door.Visitors(strangers)
	refused("a stranger at a door without a threshold", err, "eve of pictures is not enrolled")

	c, err := door.Identify(nil)
	if err != nil {
		t.Fatal(err)
	}
	worn := make([]bool, 12)
	_, _, err = Campaign{Worn: worn}.Fit(t.Context(), c, two)
	refused("no frame", err, "Worn has no pixels")
	_, _, err = Campaign{Worn: worn, Smooth: 1, Rough: true}.Fit(t.Context(), c, two)
	refused("no frame", err, "Worn has no pixels")
	worn[5] = true
	_, _, err = Campaign{Worn: worn}.Fit(t.Context(), c, two)
	refused("too large a frame", err, "16.6 % of the face")
	_, _, err = Campaign{}.Fit(t.Context(), nil, two)
	refused("no classifier", err, "no classifier")
	for what, f := range map[string]struct {
		frame *Frame
		want  string
	}{
		"of another size":    {Plain([]bool{true}, 1, 0), "1 pixels and has 1 values"},
		"without pixels":     {Plain(make([]bool, 12), 1, 0), "no pixels"},
		"outside of the box": {Plain(worn, 1, 3), "value 5 of the frame is 3"},
	} {
		_, err = advlib.Run(t.Context(), c, two, f.frame)
		refused("a frame "+what, err, f.want)
	}
	_, err = advlib.Run(t.Context(), c, two, Blind{Ball: advlib.L2.Ball(1)})
	refused("a blind pattern in L2", err, "Linf")
}

// moved are faces in copies that are moved a little: what a few shots do not show.
func moved(t *testing.T, e *advlib.Examples, copies int) *advlib.Examples {
	t.Helper()
	m, err := Moved(e, copies, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	return m
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

// enrolled is a door that has learnt from moved copies of pictures, so many of each.
func enrolled(t *testing.T, train *advlib.Examples, copies, epochs int) *Door {
	t.Helper()
	train = moved(t, train, copies)
	m := Network()
	m.Epochs, m.Schedule = epochs, training.Cosine{}
	net, err := Train(t.Context(), m, train)
	if err != nil {
		t.Fatal(err)
	}
	door, err := net.Enrol(train)
	if err != nil {
		t.Fatal(err)
	}
	return door
}

// identified is the share of persons who are identified after learning from some pictures.
func identified(t *testing.T, train, test *advlib.Examples) float64 {
	t.Helper()
	c, err := enrolled(t, train, 16, 12).Identify(nil)
	if err != nil {
		t.Fatal(err)
	}
	return share(t, c, test)
}

// A folder of ORL's layout and size, sK/N.pgm of 92 × 112 pixels, is read, halved, learnt and attacked as the real one
// is: TestPersons and TestAttacksOnPersons on drawn faces.
func TestFolderOfORL(t *testing.T) {
	const persons, shots = 10, 8
	drawn := dataset.Faces(persons, shots, 3)
	x := tensors.MustCopyFlatData[float32](drawn.X)
	h, w := drawn.Shape()[0], drawn.Shape()[1]
	folder, number := t.TempDir(), make([]int, persons)
	for i, y := range drawn.Y {
		pgm := fmt.Appendf(nil, "P5\n%d %d\n255\n", 2*w, 2*h)
		for at := range 4 * h * w { // each pixel four times
			pgm = append(pgm, uint8(math.Round(255*float64(x[(i*h+at/(4*w))*w+at%(2*w)/2]))))
		}
		number[y]++
		person := filepath.Join(folder, fmt.Sprint("s", y+1))
		if err := os.MkdirAll(person, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(person, fmt.Sprint(number[y], ".pgm")), pgm, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, err := dataset.Folder{Path: folder, Pictures: dataset.Pictures{Height: h, Width: w}}.Examples()
	if err != nil {
		t.Fatal(err)
	}
	if all.Len() != persons*shots || all.Classes[9] != "s10" {
		t.Fatalf("%d pictures of %v are read", all.Len(), all.Classes)
	}
	train, test, err := dataset.Shots(all, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b := principal(t, 60, train, test)
	lr := zoo.MLP()
	lr.Box, lr.Epochs, lr.LearningRate, lr.Schedule = advlib.Box{Lo: -100, Hi: 100}, 150, 0.01, training.Cosine{}
	ours, theirs := identified(t, train, test), share(t, lr.MustFit(t.Context(), a), b)
	t.Logf("3 shots a person: points %.3f, principal components and logistic regression %.3f", ours, theirs)
	if ours < theirs || ours < 0.9 {
		t.Errorf("%.3f are identified, by the logistic regression %.3f", ours, theirs)
	}
	// Glasses get more in and hide more than random ones do, and fewer where the door looks again with them covered.
	plain := besieged(t, all, 6, 2, 0.05)
	covered := besieged(t, all, 6, 2, 0.05, Band(h, w))
	for _, of := range []string{"glasses", "whole 8/255"} {
		got, random := plain[of], plain["random "+of]
		if got.entry.Value() < random.entry.Value()+0.3 || got.dodging.Value() < random.dodging.Value() ||
			got.impersonation.Count <= random.impersonation.Count {
			t.Errorf("%s: %v; random: %v", of, got, random)
		}
	}
	if a, b := plain["glasses"].entry, covered["glasses"].entry; b.Value() > a.Value()-0.2 {
		t.Errorf("glasses let %v in, and %v where the door looks again with them covered", a, b)
	}
}

// rates of an attack on those who come to a door: of strangers who pass for person 0, and for anybody, and of those who
// are enrolled and are not known.
type rates struct{ impersonation, entry, dodging advlib.Rate }

func (r rates) String() string {
	return fmt.Sprintf("impersonation of one person %v %s, entry as anybody %v %s, dodging %v %s", r.impersonation, r.impersonation.Interval(),
		r.entry, r.entry.Interval(), r.dodging, r.dodging.Interval())
}

// besieged attacks a door by glasses, or in all of the picture, beside random patterns of the same size. So many
// persons are enrolled, with 5 pictures each; by so many others the threshold is chosen; the rest are the strangers who
// come, beside the other pictures of those who are enrolled.
func besieged(t *testing.T, all *advlib.Examples, enrolled, chosen int, rate float64, covers ...[]bool) map[string]rates {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	parts, err := dataset.Apart(all, 1, enrolled, chosen)
	must(err)
	train, test, err := dataset.Shots(parts[0], 5, 1)
	must(err)
	train = moved(t, train, 8)
	m := Network()
	m.Epochs = 12
	net, err := Train(t.Context(), m, train)
	must(err)
	door, err := net.Enrol(train, covers...)
	must(err)
	door, err = door.At(rate, parts[1])
	must(err)
	foreign, err := door.Measure(parts[2])
	must(err)
	own, err := door.Measure(test)
	must(err)
	t.Logf("%d enrolled, threshold %.3f for %g by %d others: of %d strangers %v are accepted, of the enrolled %v", enrolled, door.Threshold,
		rate, chosen, len(parts[2].Classes), foreign.False, own.True)
	strangers, err := door.Visitors(parts[2])
	must(err)
	known, err := door.Visitors(test)
	must(err)
	by := map[string]rates{}
	worn := Glasses(all.Shape()[0], all.Shape()[1])
	type threat struct {
		worn []bool
		ball advlib.Ball
	}
	threats := map[string]threat{"glasses": {worn, advlib.Linf.Ball(1)}}
	if covers == nil { // against changes of all of the picture they are not made
		threats["whole 8/255"] = threat{nil, advlib.Linf.Ball(8. / 255)}
	}
	for name, threat := range threats {
		c, err := door.Identify(threat.worn)
		must(err)
		for way, a := range map[string]func(advlib.Goal) advlib.Attack{
			"": func(g advlib.Goal) advlib.Attack {
				return attack.PGD{Ball: threat.ball, Goal: g, Loss: advlib.Margin, Steps: 60}
			},
			"random ": func(g advlib.Goal) advlib.Attack { return Blind{Ball: threat.ball, Goal: g} },
		} {
			rate := func(e *advlib.Examples, g advlib.Goal) advlib.Rate {
				r, err := advlib.Run(t.Context(), c, e, a(g))
				must(err)
				return r.SuccessRate()
			}
			by[way+name] = rates{rate(strangers, advlib.Targeted(0)), rate(strangers, advlib.Goal{}), rate(known, advlib.Goal{})}
			t.Logf("%s: %v", way+name, by[way+name])
		}
	}
	return by
}

// orl are the 400 faces of ORL, from the folder ADVLAB_DATA.
func orl(t *testing.T) *advlib.Examples {
	t.Helper()
	path := filepath.Join(os.Getenv("ADVLAB_DATA"), "orl-faces.npz")
	if _, err := os.Stat(path); os.Getenv("ADVLAB_DATA") == "" || err != nil {
		t.Skipf("there is no %s: the faces of ORL are persons, and not passed on; TestFolderOfORL does the same on drawn ones", path)
	}
	all, err := dataset.NPZScaled(path, 1./255)
	if err != nil {
		t.Fatal(err)
	}
	x := tensors.MustCopyFlatData[float32](all.X)
	if all, err = advlib.NewExamples("ORL", x, append(slices.Clone(all.Shape()[:2]), 1), all.Y); err != nil {
		t.Fatal(err)
	}
	return all
}

// On the faces of ORL: impersonation and dodging of a door for 24 persons, by 8 strangers, the threshold chosen by 8
// others.
func TestAttacksOnPersons(t *testing.T) {
	all := orl(t)
	t.Log("as it is")
	plain := besieged(t, all, 24, 8, 0.01)
	t.Log("looking again, with the glasses covered")
	covered := besieged(t, all, 24, 8, 0.01, Band(all.Shape()[0], all.Shape()[1]))
	for _, of := range []string{"glasses", "whole 8/255"} {
		got, random := plain[of], plain["random "+of]
		if got.entry.Value() < random.entry.Value() || got.dodging.Value() < random.dodging.Value() {
			t.Errorf("%s: %v; random: %v", of, got, random)
		}
	}
	if a, b := plain["glasses"].impersonation, covered["glasses"].impersonation; b.Value() > a.Value() {
		t.Errorf("by glasses %v pass for the person, and %v where the door looks again with them covered", a, b)
	}
}

// On the faces of ORL persons are identified at least as well as by scikit-learn's principal components and logistic
// regression on the same splits, which testdata/orl.py computes.
func TestPersons(t *testing.T) {
	all := orl(t)
	text, err := os.ReadFile("testdata/orl.json")
	if err != nil {
		t.Fatal(err)
	}
	var splits []struct {
		Shots      int
		Seed       uint64
		Train      []int64
		Identified float64
	}
	if err := json.Unmarshal(text, &splits); err != nil {
		t.Fatal(err)
	}
	ours, theirs := map[int][]float64{}, map[int][]float64{}
	for _, split := range splits {
		if os.Getenv("ADVLAB_FULL") == "" && (split.Shots != 3 || split.Seed > 1) {
			continue
		}
		train, test, err := dataset.Shots(all, split.Shots, split.Seed)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range split.Train {
			if train.Number(i) != row {
				t.Fatalf("%d shots, seed %d: row %d to learn from is %d, in testdata/orl.json %d", split.Shots, split.Seed, i, train.Number(i), row)
			}
		}
		n := split.Shots
		ours[n], theirs[n] = append(ours[n], identified(t, train, test)), append(theirs[n], split.Identified)
	}
	for _, n := range slices.Sorted(maps.Keys(ours)) {
		a, b := ours[n], theirs[n]
		t.Logf("%d shots a person: points %.3f (%.3f to %.3f), principal components and logistic regression %.3f (%.3f to %.3f)", n,
			stat.Mean(a, nil), slices.Min(a), slices.Max(a), stat.Mean(b, nil), slices.Min(b), slices.Max(b))
		if !(stat.Mean(a, nil) >= stat.Mean(b, nil)) {
			t.Errorf("%d shots: %.3f are identified, by the logistic regression %.3f", n, stat.Mean(a, nil), stat.Mean(b, nil))
		}
	}
}
