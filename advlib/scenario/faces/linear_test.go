package faces

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/certify"
)

// shapeOf is that of small pictures of 3 × 4 pixels, larger ones of 14 × 12, on which there is room for glasses.
func shapeOf(size int) []int {
	if size == 12 {
		return []int{3, 4, 1}
	}
	return []int{14, 12, 1}
}

// linearNet takes pictures to the sphere by x ↦ Wx/|Wx|, without training.
func linearNet(t *testing.T, W [][]float32) *Net {
	t.Helper()
	outputs := func(_ *model.Scope, x *Node) []*Node {
		n := x.Shape().Dimensions[0]
		e := Einsum("nj,ij->ni", Reshape(x, n, -1), ConstAsDType(x.Graph(), x.DType(), W))
		return []*Node{Slice(e, AxisRange(), AxisRange(0, 2)), L2Normalize(e, -1)}
	}
	store := model.NewStore()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "linear embedding", Input: shapeOf(len(W[0])), Box: advlib.Box{Lo: -1, Hi: 1},
		Store: store, Logits: func(scope *model.Scope, x *Node) *Node { return outputs(scope, x)[0] }})
	if err != nil {
		t.Fatal(err)
	}
	net := &Net{trained: c, outputs: outputs}
	net.points, err = model.NewExec(c.Backend(), store, func(scope *model.Scope, x *Node) *Node { return outputs(scope, x)[1] })
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// drawn are n rows of normal numbers, times scale.
func drawn(r *rand.Rand, n, size int, scale float64) [][]float32 {
	rows := make([][]float32, n)
	for i := range rows {
		for range size {
			rows[i] = append(rows[i], float32(scale*r.NormFloat64()))
		}
	}
	return rows
}

func pictures(t *testing.T, rows [][]float32, y []int32, classes ...string) *advlib.Examples {
	t.Helper()
	e, err := advlib.NewExamples("pictures", slices.Concat(rows...), shapeOf(len(rows[0])), y)
	if err != nil {
		t.Fatal(err)
	}
	e.Classes = classes
	return e
}

// Between two persons on a linear embedding, who it is changes at ⟨Wx, a − b⟩ = 0, with a and b the templates: the
// length |Wx| is the same for both. So with the pixels M worn, the least impersonation is ⟨Wx, a − b⟩/‖(Wᵀ(a − b))_M‖₁
// in Linf, and ‖·‖₂ in L2. An attack of minimal norm finds that.
func TestImpersonationOfALinearEmbedding(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	W := drawn(r, 5, 12, 1)
	net := linearNet(t, W)
	door, err := net.Enrol(pictures(t, drawn(r, 2, 12, 0.1), []int32{0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	a, b := door.Template(0), door.Template(1)
	worn := []bool{false, false, false, false, true, true, false, true, true, false, true, true}
	for _, mask := range [][]bool{nil, worn} {
		c, err := door.Identify(mask)
		if err != nil {
			t.Fatal(err)
		}
		rows := drawn(r, 6, 12, 0.1)
		y, to, least := make([]int32, len(rows)), make([]int, len(rows)), make([][2]float64, len(rows))
		for k, x := range rows {
			var margin, l1, l2 float64
			for j := range x {
				var w float64 // of pixel j
				for i := range W {
					w += float64(W[i][j]) * float64(a[i]-b[i])
				}
				margin += w * float64(x[j])
				if mask == nil || mask[j] {
					l1, l2 = l1+math.Abs(w), l2+w*w
				}
			}
			if to[k] = 1; margin < 0 {
				margin, y[k], to[k] = -margin, 1, 0
			}
			least[k] = [2]float64{margin / l1, margin / math.Sqrt(l2)}
		}
		for n, norm := range []advlib.Norm{advlib.Linf, advlib.L2} {
			got := advlib.MustRun(t.Context(), c, pictures(t, rows, y), attack.FAB{Norm: norm, Goal: advlib.TargetedEach(to)})
			for k, d := range got.Distance {
				if want := least[k][n]; d < want*(1-1e-4) || d > 1.02*want {
					t.Errorf("worn %v, face %d: found at %.5g in %v, the least is %.5g", mask, k, d, norm, want)
				}
			}
		}
	}
}

// With the pixels themselves as the embedding, those who are accepted are a cone around the template, of the angle
// acos τ. A face at the angle θ is |x|·sin(θ − acos τ) from it: the least impersonation from outside, the least dodging
// from inside. Attacks of minimal norm find that.
func TestConeOfAVerifier(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	W := make([][]float32, 12)
	for i := range W {
		W[i] = make([]float32, 12)
		W[i][i] = 1
	}
	net := linearNet(t, W)
	faces := drawn(r, 2, 12, 0.1)
	door, err := net.Enrol(pictures(t, faces, []int32{0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	door.Threshold = 0.8
	c, err := door.Verify(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	template := door.Template(0)
	for k, x := range drawn(r, 12, 12, 0.1) {
		for j := range x { // some near, some far
			x[j] += float32(k) / 8 * template[j] * 0.4
		}
		var length, along float64
		for j := range x {
			length, along = length+float64(x[j])*float64(x[j]), along+float64(x[j])*float64(template[j])
		}
		length = math.Sqrt(length)
		θ, φ := math.Acos(along/length), math.Acos(door.Threshold)
		y, least := int32(0), length*math.Sin(θ-φ)
		if θ < φ {
			y, least = 1, length*math.Sin(φ-θ)
		}
		if θ-φ > math.Pi/2 {
			continue // the tip of the cone is nearest, where a cosine is not defined
		}
		got := advlib.MustRun(t.Context(), c, pictures(t, [][]float32{x}, []int32{y}), attack.DDN{Steps: 200})
		if d := got.Distance[0]; d < least*(1-1e-4) || d > 1.02*least {
			t.Errorf("at an angle of %.3g (the cone has %.3g): found at %.5g, the least is %.5g", θ, φ, d, least)
		}
	}
}

// What a door accepts, counted by hand: three strangers with four faces each, of which one stranger looks like the
// first person. The interval is wider than that of as many independent comparisons, as persons come four times.
func TestMeasure(t *testing.T) {
	W := [][]float32{make([]float32, 12), make([]float32, 12)}
	W[0][0], W[1][1] = 1, 1
	net := linearNet(t, W)
	at := func(degrees float64) []float32 {
		x := make([]float32, 12)
		sin, cos := math.Sincos(degrees * math.Pi / 180)
		x[0], x[1] = float32(cos)/2, float32(sin)/2
		return x
	}
	door, err := net.Enrol(pictures(t, [][]float32{at(0), at(90)}, []int32{0, 1}, "zero", "ninety"))
	if err != nil {
		t.Fatal(err)
	}
	door.Threshold = math.Cos(20 * math.Pi / 180)
	var rows [][]float32
	var y []int32
	for k, degrees := range []float64{10, 45, 200} { // strangers
		for shot := range 4 {
			rows, y = append(rows, at(degrees+float64(shot))), append(y, int32(k+1))
		}
	}
	rows, y = append(rows, at(5), at(30)), append(y, 0, 0) // the first person, near and far
	m, err := door.Measure(pictures(t, rows, y, "zero", "ten", "forty-five", "two hundred"))
	if err != nil {
		t.Fatal(err)
	}
	// Impostors: 12 faces of strangers with 2 templates, 2 faces of zero with ninety's.
	if m.False.Count != 4 || m.False.Of != 26 || m.True.Count != 1 || m.True.Of != 2 {
		t.Errorf("accepted are %d of %d impostors and %d of %d genuine, want 4 of 26 and 1 of 2", m.False.Count, m.False.Of, m.True.Count,
			m.True.Of)
	}
	lo, hi := advlib.Rate{Count: 4, Of: 26}.Wilson()
	if f := m.False; !(f.Low <= f.Value() && f.Value() <= f.High) || f.High-f.Low <= hi-lo {
		t.Errorf("the interval of %v is no wider than [%.3g, %.3g], that of 26 independent comparisons", f, lo, hi)
	}
	door.Threshold = 1.1 // nobody: by as many persons as came
	if m, err = door.Measure(pictures(t, rows, y, "zero", "ten", "forty-five", "two hundred")); err != nil {
		t.Fatal(err)
	}
	if _, hi := (advlib.Rate{Of: 4}).Wilson(); m.False.Low != 0 || m.False.High != hi {
		t.Errorf("with nobody accepted the interval is [%g, %g], want [0, %g]", m.False.Low, m.False.High, hi)
	}
	visitors, err := door.Visitors(pictures(t, rows, y, "zero", "ten", "forty-five", "two hundred"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []int32{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0}; !slices.Equal(visitors.Y, want) || len(visitors.Classes) != 3 {
		t.Errorf("visitors are %v of %v, want %v", visitors.Y, visitors.Classes, want)
	}
}

// A door that looks again with the glasses covered accepts nobody who would not be accepted by that look alone, where
// glasses are not seen: whatever is worn there.
func TestCoveredLook(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	net := linearNet(t, drawn(r, 5, 12, 1))
	people := pictures(t, drawn(r, 3, 12, 0.2), []int32{0, 1, 2})
	worn := []bool{false, false, false, false, true, true, true, true, false, false, false, false}
	covering, err := net.Enrol(people, worn)
	if err != nil {
		t.Fatal(err)
	}
	covering.Threshold = 0.7
	x := drawn(r, 200, 12, 0.2)
	e := pictures(t, x, make([]int32, len(x)))
	free, err := covering.Verify(0, worn)
	if err != nil {
		t.Fatal(err)
	}
	anything := attack.PGD{Ball: advlib.Linf.Ball(2), Goal: advlib.Targeted(1), Loss: advlib.Margin, Steps: 30}
	got := advlib.MustRun(t.Context(), free, e, anything)
	points, err := net.under(worn, e.X)
	if err != nil {
		t.Fatal(err)
	}
	in, could := 0, 0
	for i, success := range got.Success {
		c := cosine(points[i], covering.looks[1].templates[0])
		if success {
			in++
		}
		if c >= covering.Threshold {
			could++
		}
		if success && c < covering.Threshold-1e-5 {
			t.Errorf("face %d gets in, and with the glasses covered its cosine is %g", i, c)
		}
	}
	if in == 0 || could == len(x) {
		t.Errorf("%d of %d get in, %d might: the test says nothing", in, len(x), could)
	}
	// The classifier and the scores are the same looks.
	z, err := free.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	cosines, _, err := covering.compare(e)
	if err != nil {
		t.Fatal(err)
	}
	for i := range z {
		if math.Abs(float64(z[i][1])/sharp-cosines[i][0]) > 1e-5 {
			t.Fatalf("face %d has the cosine %g in the classifier, %g in the scores", i, z[i][1]/sharp, cosines[i][0])
		}
	}
}

// One frame for all pictures of a person works on pictures that it was not made for, where random ones seldom do, and
// changes nothing but itself. It is smoother than one that was not asked to be.
func TestCampaign(t *testing.T) {
	const size = 14 * 12
	r := rand.New(rand.NewPCG(7, 8))
	net := linearNet(t, drawn(r, 5, size, 1))
	enrolled := drawn(r, 3, size, 0.1)
	door, err := net.Enrol(pictures(t, enrolled, []int32{0, 1, 2}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := door.Identify(nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := drawn(r, 80, size, 0.02) // of the first person
	for _, row := range rows {
		for j := range row {
			row[j] += enrolled[0][j]
		}
	}
	practice, fresh := pictures(t, rows[:40], make([]int32, 40)), pictures(t, rows[40:], make([]int32, 40))
	worn := Glasses(14, 12)
	rough := map[bool]float64{} // the mean difference of neighbours on the frame
	for _, smooth := range []bool{true, false} {
		wearing := Campaign{Goal: advlib.Targeted(2), Worn: worn, Smooth: 5}
		if !smooth {
			wearing.Smooth, wearing.Rough = 0, true
		}
		frame, learned, err := wearing.Fit(t.Context(), c, practice)
		if err != nil {
			t.Fatal(err)
		}
		got := advlib.MustRun(t.Context(), c, fresh, frame)
		var random advlib.Rate
		for seed := range uint64(20) {
			random = random.Plus(advlib.MustRun(t.Context(), c, fresh, frame.Random(c.Box(), seed)).SuccessRate())
		}
		if learned.SuccessRate().Value() < 0.95 || got.SuccessRate().Value() < 0.95 || random.Value() > 0.5 {
			t.Errorf("smooth %v: works on %v of the pictures it was made for, %v of others; random frames on %v", smooth, learned.SuccessRate(),
				got.SuccessRate(), random)
		}
		for i, v := range tensors.MustCopyFlatData[float32](got.Adversarial) {
			if j := i % size; got.Success[i/size] && v != rows[40+i/size][j] && !worn[j] {
				t.Fatalf("value %d changed, which is not on the frame", i)
			}
		}
		var sum, n float64
		for i := range size - 12 {
			if i%12 < 11 && worn[i] && worn[i+1] && worn[i+12] {
				down, right := float64(frame.Pixels[i+12]-frame.Pixels[i]), float64(frame.Pixels[i+1]-frame.Pixels[i])
				sum, n = sum+math.Hypot(down, right), n+1
			}
		}
		rough[smooth] = sum / n
	}
	if !(rough[true] < rough[false]) {
		t.Errorf("neighbours differ by %.3g on the smooth frame, by %.3g on the other", rough[true], rough[false])
	}
}

// A blind pattern: each value of the frame at an end of the box, the others as they were.
func TestBlind(t *testing.T) {
	net := linearNet(t, drawn(rand.New(rand.NewPCG(9, 9)), 5, 12, 1))
	door, err := net.Enrol(pictures(t, drawn(rand.New(rand.NewPCG(9, 8)), 2, 12, 0.3), []int32{0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	worn := []bool{false, true, true, false, false, false, false, false, false, false, false, true}
	c, err := door.Identify(worn)
	if err != nil {
		t.Fatal(err)
	}
	x := drawn(rand.New(rand.NewPCG(9, 7)), 50, 12, 0.1)
	e := pictures(t, x, make([]int32, len(x)))
	got := advlib.MustRun(t.Context(), c, e, Blind{Ball: advlib.Linf.Ball(2)})
	up, values := 0, 0
	for i, v := range tensors.MustCopyFlatData[float32](got.Adversarial) {
		was, may := x[i/12][i%12], worn[i%12]
		switch {
		case !got.Success[i/12] || got.Distance[i/12] == 0: // the original is returned
		case !may && v != was:
			t.Fatalf("value %d of a face changed, which is not on the frame", i)
		case may && v != 1 && v != -1:
			t.Fatalf("value %d of the frame is %g, want an end of the box", i, v)
		case may:
			values++
			if v == 1 {
				up++
			}
		}
	}
	if values == 0 || up == 0 || up == values {
		t.Errorf("%d of %d values went up", up, values)
	}
}

// What is certified of a door is robust, and what is robust is right, with a threshold, with glasses, and with a second
// look. The bounds go through the normalisation, and hold at least half of what attacks leave.
func TestCertifiedDoor(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	net := linearNet(t, drawn(r, 5, 12, 1))
	people := drawn(r, 3, 12, 0.2)
	worn := []bool{false, false, false, false, true, true, false, true, true, false, false, false}
	covered := make([]bool, 12)
	covered[0], covered[1] = true, true
	door, err := net.Enrol(pictures(t, people, []int32{0, 1, 2}), covered)
	if err != nil {
		t.Fatal(err)
	}
	door.Threshold = 0.6
	c, err := door.Identify(worn)
	if err != nil {
		t.Fatal(err)
	}
	rows, y := drawn(r, 12, 12, 0.05), make([]int32, 12)
	for k, row := range rows {
		y[k] = int32(k % 4) // every fourth is a stranger
		for j := range row {
			if y[k] < 3 {
				row[j] += people[y[k]][j]
			} else {
				row[j] *= 4
			}
		}
	}
	attacks := []advlib.Attack{attack.PGD{Ball: advlib.Linf.Ball(0.02), Loss: advlib.Margin, Steps: 20}}
	report, err := advlib.Evaluate(t.Context(), c, pictures(t, rows, y), attacks, certify.CROWN)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Contradiction(); err != nil {
		t.Error(err)
	}
	ball := report.Balls()[0]
	certified, _ := report.Certified(ball)
	robust := report.Robust(ball)
	if certified.Count == 0 || 2*certified.Count < robust.Count {
		t.Errorf("at %v %v are certified, of %v that attacks leave", ball, certified, robust)
	}
}
