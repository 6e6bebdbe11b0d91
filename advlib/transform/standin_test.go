package transform_test

import (
	"os"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/dataset"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// byIdentity is a JPEG with the stand-in of Athalye et al. (2018).
type byIdentity struct{ transform.JPEG }

func (byIdentity) Backward(_ *model.Scope, x *Node, _ advlib.Box) *Node { return x }

// bySlopes is a code with their stand-in, min(max(v − l/Levels, 0), 1), for inputs [n, d...].
type bySlopes struct{ transform.Thermometer }

func (t bySlopes) Backward(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	bits := []*Node{OnesLike(InsertAxes(x, -1))}
	for l := 1; l < t.Levels; l++ {
		bits = append(bits, ClipScalar(AddScalar(InsertAxes(x, -1), -float64(l)/float64(t.Levels)), 0, 1))
	}
	dims := x.Shape().Clone().Dimensions
	dims[len(dims)-1] *= t.Levels
	return Reshape(Concatenate(bits, -1), dims...)
}

// TestStandIns: behind the stand-ins of JPEG and of the code, PGD leaves less than behind those of Athalye et al. The
// figures in their documentation are this test's on 100 digits, with ADVLAB_FULL=1; else it takes 30.
func TestStandIns(t *testing.T) {
	train, test := dataset.Digits()
	test = test.First(30)
	if os.Getenv("ADVLAB_FULL") != "" {
		_, test = dataset.Digits()
		test = test.First(100)
	}
	ball := advlib.Linf.Ball(0.1)
	c := zoo.MLP(60).MustFit(t.Context(), train)
	jpeg, code := transform.JPEG{Quality: 30}, transform.Thermometer{Levels: 16}
	for _, pair := range [][2]*transform.Defended{
		{transform.MustBefore(c, jpeg), transform.MustBefore(c, byIdentity{jpeg})},
		{transform.MustFit(t.Context(), zoo.MLP(60), train, code), transform.MustFit(t.Context(), zoo.MLP(60), train, bySlopes{code})},
	} {
		ours, theirs := robust(t, pair[0], test, pair[0].Adaptive(ball)), robust(t, pair[1], test, pair[1].Adaptive(ball))
		t.Logf("%v: %.2f left, with the stand-in of Athalye et al. %.2f", pair[0], ours, theirs)
		if ours >= theirs {
			t.Errorf("%v: %.2f left, with the stand-in of Athalye et al. %.2f", pair[0], ours, theirs)
		}
	}
}
