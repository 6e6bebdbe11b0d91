package detect

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
)

// numbers is testdata/scores.json, which testdata/scores.py wrote.
type numbers struct {
	Weights, Autoencoders map[string][]float32
	Train, Clean, X       []float32
	Y                     []int32
	Scores                map[string][]float64
	Logistic              struct {
		X    [][]float64
		Y, W []float64
		B    float64
	}
}

func readNumbers(t *testing.T) numbers {
	t.Helper()
	text, err := os.ReadFile("testdata/scores.json")
	if err != nil {
		t.Fatal(err)
	}
	var n numbers
	if err := json.Unmarshal(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func images(flat []float32) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(flat, len(flat)/36, 6, 6, 1)
}

// classifier is the network of testdata/scores.py.
func (n numbers) classifier(t *testing.T) *advlib.Classifier {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "numbers", Input: []int{6, 6, 1}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node {
			w := func(name string, dims ...int) *Node {
				return ConstTensor(x.Graph(), tensors.FromFlatDataAndDimensions(n.Weights[name], dims...))
			}
			relu := func(x *Node) *Node { return MaxScalar(x, 0.) }
			h := graph.Convolve(x, w("w0", 3, 3, 1, 4)).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done()
			h = relu(Add(h, w("b0", 1, 1, 1, 4)))
			h = relu(Add(graph.DotProduct(Reshape(h, x.Shape().Dimensions[0], -1), w("w1", 144, 12)), w("b1", 1, 12)))
			return Add(graph.DotProduct(h, w("w2", 12, 3)), w("b2", 1, 3))
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (n numbers) data() Data {
	return Data{
		Train: &advlib.Examples{Name: "train", X: images(n.Train), Y: n.Y},
		Clean: &advlib.Examples{Name: "clean", X: images(n.Clean), Y: n.Y[:len(n.Clean)/36]}, Rate: 0.1,
	}
}

// compare holds rows against numbers, to 1e-5 of their size.
func compare(t *testing.T, name string, got [][]float32, want []float64) {
	t.Helper()
	worst, k := 0., 0
	for _, row := range got {
		for _, v := range row {
			if k < len(want) {
				worst = math.Max(worst, math.Abs(float64(v)-want[k])/math.Max(1, math.Abs(want[k])))
			}
			k++
		}
	}
	if k != len(want) || k == 0 || !(worst <= 1e-5) {
		t.Errorf("%s: %d scores, %d expected, the farthest is off by %.3g", name, k, len(want), worst)
	}
	t.Logf("%s: %d scores, the farthest is off by %.2g", name, k, worst)
}

// TestScoresAreThoseOfTheirDefinitions compares with NumPy.
func TestScoresAreThoseOfTheirDefinitions(t *testing.T) {
	n := readNumbers(t)
	c, d := n.classifier(t), n.data()
	x := images(n.X)
	of := func(m Method) Score {
		t.Helper()
		s, err := m.Fit(t.Context(), c, d)
		if err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		return s
	}
	on := func(g func(m *advlib.Model, x, z *Node) *Node) [][]float32 {
		t.Helper()
		v, err := values(t.Context(), c, x, g)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	compare(t, "squeezing", on(of(FeatureSqueezing{}).Graph), n.Scores["squeezing"])
	compare(t, "LID", on(of(LID{K: 7, Batch: 150}).(*combined).parts), n.Scores["lid"])
	m := of(Mahalanobis{}).(*combined)
	compare(t, "Mahalanobis", on(m.parts), n.Scores["mahalanobis"])
	compare(t, "Mahalanobis, added", on(m.Graph), n.Scores["mahalanobis, added"])
	compare(t, "kernel density", on(of(KernelDensity{Bandwidth: 0.7}).Graph), n.Scores["density 0.7"])

	s := &magnet{box: advlib.UnitBox, temperatures: []float64{10, 40}, thresholds: []float64{1, 1, 1, 1}, reforms: true}
	for _, name := range []string{"I", "II"} {
		store := model.NewStore()
		a := autoencoder{pools: name == "I", box: advlib.UnitBox}
		for _, layer := range []string{"conv0", "conv1", "conv2", "conv3", "conv4"} {
			in, out := 3, 3
			if layer == "conv0" {
				in = 1
			}
			if layer == "conv4" {
				out = 1
			}
			if w, ok := n.Autoencoders[name+"/"+layer+"/w"]; ok {
				scope := store.RootScope().In("%v", a).In("%s", layer)
				scope.VariableWithValue("w", tensors.FromFlatDataAndDimensions(w, 3, 3, in, out))
				scope.VariableWithValue("b", tensors.FromFlatDataAndDimensions(n.Autoencoders[name+"/"+layer+"/b"], out))
			}
		}
		store.WithVariableAsConst(true)
		s.by = append(s.by, func(x *Node) *Node { return a.graph(store.RootScope(), x) })
	}
	compare(t, "MagNet", on(s.parts), n.Scores["magnet"])
	if err := s.calibrate(t.Context(), c, d); err != nil {
		t.Fatal(err)
	}
	compare(t, "MagNet, largest", on(s.Graph), n.Scores["magnet, largest"])
}

// TestLogistic compares with scikit-learn.
func TestLogistic(t *testing.T) {
	n := readNumbers(t).Logistic
	w, b, err := logistic(n.X, n.Y)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range append(w, b) {
		if want := append(n.W, n.B)[i]; math.Abs(v-want) > 1e-6*math.Max(1, math.Abs(want)) {
			t.Errorf("weight %d is %.9g, scikit-learn's is %.9g", i, v, want)
		}
	}
}
