package advlib_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/report"
)

// ownNorm is a norm of the user's own: half of the Linf norm, so that its balls of radius ε are those of Linf of radius
// 2ε.
type ownNorm struct {
	advlib.ConvexNorm
	name string
}

func half(name string) *ownNorm { return &ownNorm{ConvexNorm: advlib.Linf, name: name} }

func (n *ownNorm) String() string                    { return n.name }
func (n *ownNorm) Ball(ε float64) advlib.Ball        { return advlib.Ball{Norm: n, Radius: ε} }
func (n *ownNorm) Of(δ *Node) *Node                  { return MulScalar(n.ConvexNorm.Of(δ), 0.5) }
func (n *ownNorm) Distance(a, b []float32) float64   { return n.ConvexNorm.Distance(a, b) / 2 }
func (n *ownNorm) Length(δ []float64) float64        { return n.ConvexNorm.Length(δ) / 2 }
func (n *ownNorm) Diameter(d int, w float64) float64 { return n.ConvexNorm.Diameter(d, w) / 2 }
func (n *ownNorm) Ascend(g *Node) *Node              { return MulScalar(n.ConvexNorm.Ascend(g), 2) }
func (n *ownNorm) Project(δ, radius, lo, hi *Node) *Node {
	return n.ConvexNorm.Project(δ, MulScalar(radius, 2), lo, hi)
}

// incomparable is a norm that cannot be a key of what is compiled.
type incomparable struct {
	advlib.ConvexNorm
	weights []float64
}

func (incomparable) String() string { return "weighted" }

// A norm of the user's own is carried by its name, from the attack to the printed report and through JSON.
func TestReportsCarryAnOwnNorm(t *testing.T) {
	c, e := line(t), numbers(t)
	n := half("Linf/2")
	r, err := advlib.Settings{Balls: []advlib.Ball{n.Ball(0.03)}}.Evaluate(t.Context(), c, e, []advlib.Attack{
		attack.FGM{Ball: n.Ball(0.075)}, attack.PGD{Ball: n.Ball(0.075)}, attack.FGSM(0.15), mover{norm: n, radius: math.Inf(1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		ball advlib.Ball
		want int // of 6, by the distances of the examples from the boundary, of which the norm is half
	}{{n.Ball(0.03), 4}, {n.Ball(0.075), 2}, {advlib.Linf.Ball(0.15), 2}} {
		if got := r.Robust(test.ball); got.Count != test.want {
			t.Errorf("robust in %v: %v of %v, want %d", test.ball, got.Count, got.Of, test.want)
		}
	}
	if text := r.String(); !strings.Contains(text, "Linf/2 ≤ 0.075: robust accuracy") || !strings.Contains(text, "Linf/2 ≤ 0.03") {
		t.Errorf("the report is\n%s", text)
	}
	if !strings.Contains(r.HTML(), "Linf/2 ≤ 0.075: robust accuracy") {
		t.Error("the HTML does not name the norm")
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back advlib.Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, &back, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("JSON round trip (-before +after):\n%s", diff)
	}
	if got, want := r.Norms(), []string{report.Linf, "Linf/2"}; !cmp.Equal(got, want) {
		t.Errorf("norms %q, want %q", got, want)
	}
}

func TestNormsThatReportsCannotTellApart(t *testing.T) {
	c, e := line(t), numbers(t)
	for _, test := range []struct {
		name  string
		balls []advlib.Ball
		want  string
	}{
		{"advlib's name", []advlib.Ball{half("Linf").Ball(0.1)}, "*advlib_test.ownNorm calls itself Linf"},
		{"no name", []advlib.Ball{half("").Ball(0.1)}, "*advlib_test.ownNorm has no name"},
		{"one name twice", []advlib.Ball{half("mine").Ball(0.1), half("mine").Ball(0.2)}, "two different norms, a *advlib_test.ownNorm and a *advlib_test.ownNorm, call themselves mine"},
		{"incomparable", []advlib.Ball{{Norm: incomparable{advlib.L2, nil}, Radius: 0.1}}, "cannot be compared by ==, as what is compiled for it must be: make it a pointer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for how, run := range map[string]func() error{
				"as balls": func() error {
					_, err := advlib.Settings{Balls: test.balls}.Evaluate(t.Context(), c, e, []advlib.Attack{attack.FGSM(0.1)})
					return err
				},
				"as attacks": func() error {
					var attacks []advlib.Attack
					for _, b := range test.balls {
						attacks = append(attacks, proposal{threat: advlib.Threat{Norm: b.Norm, Radius: math.Inf(1)}})
					}
					_, err := advlib.Evaluate(t.Context(), c, e, attacks)
					return err
				},
			} {
				if err := run(); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: the error is %v, want one with %q", how, err, test.want)
				}
			}
		})
	}
}
