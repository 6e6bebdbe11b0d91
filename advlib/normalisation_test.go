package advlib_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/certify"
)

// colours has the shape [2, 2, 3] of a small image, and two classes: the sum of its normalised values against −0.25. It
// also returns what a normalised value of each channel adds to the first logit.
func colours(t testing.TB, n *advlib.Normalisation) (*advlib.Classifier, []float64) {
	t.Helper()
	slope := []float64{1, -2, 0.5}
	c, err := advlib.NewClassifier(advlib.Spec{Name: "colours", Input: []int{2, 2, 3}, Box: advlib.UnitBox, Normalisation: n,
		Logits: func(_ *model.Scope, x *Node) *Node {
			w := Reshape(ConstAsDType(x.Graph(), x.DType(), slope), 1, 1, 1, 3)
			z := ReduceSum(Mul(x, w), 1, 2, 3)
			return Stack([]*Node{z, OnesLike(z)}, 1)
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c, slope
}

var imagenet = advlib.Normalisation{Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}}

func images(t testing.TB, n int) *advlib.Examples {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n*12)
	for i := range x {
		x[i] = r.Float32()
	}
	e, err := advlib.NewExamples("images", x, []int{2, 2, 3}, make([]int32, n))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Logits are those of (x − mean)/std computed outside; the distance to the decision, by hand, is in pixels.
func TestNormalisationIsInside(t *testing.T) {
	plain, slope := colours(t, nil)
	inside, _ := colours(t, &imagenet)
	onTop, err := plain.Normalised(imagenet, advlib.UnitBox)
	if err != nil {
		t.Fatal(err)
	}
	derived := halved(t, inside, 1)
	e := images(t, 40)
	flat := tensors.MustCopyFlatData[float32](e.X)
	outside := make([]float32, len(flat))
	z0 := make([]float64, e.Len()) // the first logit less the second
	for i, v := range flat {
		c := i % 3
		outside[i] = (v - float32(imagenet.Mean[c])) / float32(imagenet.Std[c])
		z0[i/12] += slope[c] * (float64(v) - imagenet.Mean[c]) / imagenet.Std[c]
	}
	const ε = 0.02
	margin := make([]float64, e.Len()) // the smallest within ε and the box, by hand
	for i := range z0 {
		z0[i]--
		margin[i] = math.Abs(z0[i])
		if z0[i] < 0 {
			e.Y[i] = 1
		}
		for j, v := range flat[i*12 : i*12+12] {
			per := slope[j%3] / imagenet.Std[j%3]
			room := float64(1 - v) // for the pixel to move to where the margin falls
			if (per > 0) == (z0[i] > 0) {
				room = float64(v)
			}
			margin[i] -= math.Abs(per) * min(ε, room)
		}
	}
	want, err := plain.Logits(tensors.FromFlatDataAndDimensions(outside, e.X.Shape().Dimensions...))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*advlib.Classifier{"inside": inside, "on top": onTop, "derived": derived} {
		z, err := c.Logits(e.X)
		if err != nil {
			t.Fatal(err)
		}
		for i := range z {
			if !(math.Abs(float64(z[i][0]-want[i][0])) <= 1e-5) {
				t.Errorf("%s: the logit of example %d is %g, outside it is %g", name, i, z[i][0], want[i][0])
			}
		}
		if len(c.Notes()) != 1 || !strings.Contains(c.Notes()[0], "mean 0.485, 0.456, 0.406") {
			t.Errorf("%s: notes %q", name, c.Notes())
		}
		report, err := advlib.Evaluate(t.Context(), c, e, []advlib.Attack{attack.PGD{Ball: advlib.Linf.Ball(ε)}}, certify.IBP, certify.CROWN)
		if err != nil {
			t.Fatal(err)
		}
		weak := 0
		for i, want := range margin {
			if want < 0 {
				weak++
			}
			for _, cert := range report.Certificates {
				// The margin of a linear model is known: nothing of it is lost to the normalisation but rounding.
				if got := float64(cert.Margin[i]); !(got <= want+1e-6 && got >= want-5e-4) {
					t.Errorf("%s, %s: margin %g of example %d, by hand %g", name, cert.Method, got, i, want)
				}
			}
			if broken := report.Attacks[0].Success[i]; broken != (want < 0) && math.Abs(want) > 1e-4 {
				t.Errorf("%s: example %d with margin %g: broken is %v", name, i, want, broken)
			}
		}
		if weak == 0 || weak == len(margin) {
			t.Fatalf("%d of %d can be broken: nothing is tested", weak, len(margin))
		}
		text, _ := json.Marshal(report)
		for form, s := range map[string]string{"text": report.String(), "HTML": report.HTML(), "JSON": string(text)} {
			if !strings.Contains(s, "(axis 3), mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225") {
				t.Errorf("%s: the report's %s does not say what is done to the inputs", name, form)
			}
		}
		if len(report.Warnings) != 0 {
			t.Errorf("%s: warnings %q", name, report.Warnings)
		}
		other := *report
		other.Notes = nil
		if _, err := report.Merge(&other); err == nil {
			t.Errorf("%s: a report with a normalisation and one without are merged", name)
		}
	}
}

func TestNormalisationFits(t *testing.T) {
	mean := func(v ...float64) []float64 { return v }
	for _, c := range []struct {
		n     advlib.Normalisation
		input []int
		axis  int
		err   string
	}{
		{imagenet, []int{32, 32, 3}, 3, ""},
		{imagenet, []int{3, 32, 32}, 1, ""},
		{imagenet, []int{3, 32, 3}, 0, "several axes of that size, 1 3: say which are the channels by Normalisation.Axis"},
		{advlib.Normalisation{Mean: imagenet.Mean, Axis: -1}, []int{3, 32, 3}, 3, ""},
		{advlib.Normalisation{Mean: imagenet.Mean, Axis: 1}, []int{3, 32, 3}, 1, ""},
		{advlib.Normalisation{Mean: imagenet.Mean, Axis: 2}, []int{3, 32, 3}, 0, "the axis 2 of inputs x [n, 3, 32, 3] has the size 32"},
		{advlib.Normalisation{Mean: imagenet.Mean, Axis: 4}, []int{3, 32, 3}, 0, "axis 4 is not one of"},
		{imagenet, []int{28, 28, 1}, 0, "no axis of that size"},
		{imagenet, []int{3}, 1, ""}, // a scaler of columns
		{advlib.Normalisation{Mean: mean(0.5), Std: imagenet.Std}, []int{32, 32, 3}, 3, ""},
		{advlib.Normalisation{Mean: mean(0.5), Std: mean(0.5)}, []int{3, 3}, 0, ""},
		{advlib.Normalisation{}, []int{3, 3}, 0, ""},
		{advlib.Normalisation{Mean: mean(1, 2), Std: imagenet.Std}, []int{3}, 0, "2 means and 3 standard deviations"},
		{advlib.Normalisation{Std: mean(0)}, []int{3}, 0, "std of channel 0 is 0: it must be a finite number above 0"},
		{advlib.Normalisation{Mean: mean(math.NaN())}, []int{3}, 0, "mean of channel 0 is NaN"},
	} {
		got, err := c.n.Fit(c.input)
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%v for %v: %v, want %q", c.n, c.input, err, c.err)
		case c.err == "" && (err != nil || got.Axis != c.axis || len(got.Mean) != got.Channels() || len(got.Std) != got.Channels()):
			t.Errorf("%v for %v: %+v, %v, want axis %d", c.n, c.input, got, err, c.axis)
		}
	}
}

func TestNormalisationInOtherUnits(t *testing.T) {
	bytes := advlib.Box{Lo: 0, Hi: 255}
	for _, c := range []struct {
		mean, std float64
		box       advlib.Box
		want      string
	}{
		{0.4, 0.2, advlib.UnitBox, ""},
		{0.1307, 0.3081, advlib.UnitBox, ""},
		{104, 58, bytes, ""},
		{0, 255, bytes, ""},
		{0.5, 0.5, advlib.Box{Lo: -1, Hi: 1}, ""},
		{123.675, 58.395, advlib.UnitBox, "mean 123.675 of channel 0 lies outside of the box [0, 1]: mean and std must be in the units of the box (123.675/255 is 0.485)"},
		{0, 58.395, advlib.UnitBox, "std 58.395 of channel 0 is small or large"},
		{0.485, 0.229, bytes, "(0.229 times 255 is 58.395)"},
	} {
		if got := advlib.NormalisationOf(c.mean, c.std).Warning(c.box); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("mean %g and std %g in %v: %q, want %q", c.mean, c.std, c.box, got, c.want)
		}
	}
	c, _ := colours(t, &advlib.Normalisation{Mean: []float64{123.675}, Std: []float64{58.395}})
	res, err := advlib.Run(t.Context(), c, images(t, 2), attack.FGM{Ball: advlib.Linf.Ball(0.1)})
	if err != nil || !slices.ContainsFunc(res.Warnings, func(w string) bool { return strings.Contains(w, "mean 123.675") }) {
		t.Errorf("%v, warnings %q", err, res.Warnings)
	}
}
