package oracle_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
	"advlab/advlib/oracle"
)

// keeper keeps the answers of a victim by content, as an endpoint does, and tells how many it had to send for.
type keeper struct {
	advlib.Victim
	mu   sync.Mutex
	kept map[string]advlib.Answer
	sent int64
}

func (k *keeper) Sent() int64 { return k.sent }

func (k *keeper) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := x.Shape().Dimensions[0]
	var all []advlib.Answer
	for i := range n {
		one := advlib.TakeRows(x, []int{i}, 1)
		var key strings.Builder
		for _, v := range tensors.MustCopyFlatData[float32](one) {
			bits := math.Float32bits(v)
			key.Write([]byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)})
		}
		a, known := k.kept[key.String()]
		if !known {
			said, err := k.Victim.Query(ctx, one)
			if err != nil {
				return all, err
			}
			a = said[0]
			k.kept[key.String()] = a
			k.sent++
		}
		all = append(all, a)
	}
	return all, nil
}

// A run with 300 queries that is continued with 1200 pays for what is new, and gives what 1200 give at once.
func TestContinuedRunPaysTheRest(t *testing.T) {
	l, f := function(t)
	run := func(v advlib.Victim, queries int) *advlib.Result {
		return advlib.MustRun(t.Context(), v, l.Examples, attack.HopSkipJump{Norm: advlib.L2, Queries: queries})
	}
	kept := &keeper{Victim: f, kept: map[string]advlib.Answer{}}
	first := run(kept, 300)
	continued := run(oracle.Labels(kept), 1200)
	fresh := &keeper{Victim: f, kept: map[string]advlib.Answer{}}
	once := run(fresh, 1200)
	if !slices.Equal(tensors.MustCopyFlatData[float32](continued.Adversarial), tensors.MustCopyFlatData[float32](once.Adversarial)) ||
		!slices.Equal(continued.Queries, once.Queries) {
		t.Error("continued, the run gives something else than at once")
	}
	if kept.sent != fresh.sent || continued.Stats.Sent != fresh.sent-first.Stats.Sent || once.Stats.Sent != fresh.sent {
		t.Errorf("%d inputs sent for 300 queries and %d more for 1200, %d for 1200 at once", first.Stats.Sent, continued.Stats.Sent, fresh.sent)
	}
	n := int64(l.Examples.Len())
	if most := 1200 * n; once.Stats.Sent > most || once.Stats.Sent < most*9/10 {
		t.Errorf("%d inputs sent for %d queries: nearly all should be new", once.Stats.Sent, most)
	}
}

// A report's bill is what the victim was sent, the originals once, and each attack's queries are those it takes alone.
func TestReportsAreBilled(t *testing.T) {
	l, f := function(t)
	attacks := []advlib.Attack{square(0.15, 60), attack.HopSkipJump{Norm: advlib.L2, Queries: 80}, attack.RayS{Queries: 40}}
	for _, alone := range []bool{false, true} {
		counter := oracle.Count(f)
		r := advlib.Settings{Alone: alone, Price: 2}.MustEvaluate(t.Context(), counter, l.Examples, attacks)
		sent := r.Originals
		for k, a := range r.Attacks {
			sent += a.Sent
			if most := slices.Max(a.Queries); len(a.Queries) != l.Examples.Len() || most > []int{60, 80, 40}[k] {
				t.Errorf("%s: queries %v", a.Name, a.Queries)
			}
		}
		if sent != counter.Queries() || r.Originals != int64(l.Examples.Len()) {
			t.Errorf("alone %t: the victim answered %d inputs, the bill has %d, %d of them originals", alone, counter.Queries(), sent, r.Originals)
		}
		for _, want := range []string{r.Bill(), "queries of HopSkipJump-80 L2 minimal: median 80", "at 2 for 1000"} {
			if !strings.Contains(r.String(), want) {
				t.Errorf("the report does not say %q:\n%v", want, r)
			}
		}
	}
	if _, err := (advlib.Settings{Price: math.NaN()}).Evaluate(t.Context(), f, l.Examples, attacks); err == nil {
		t.Error("a price that is no number is taken")
	}
}

// On a model that rounds its inputs to one bit, attacks by questions break what gradients do not see, and the report
// says so, whether there is no gradient at all or one that passes beside the rounding and misleads; on an honest model
// it does not.
func TestBlackBoxBesideWhiteBox(t *testing.T) {
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	l, err := attacktest.NewLinear(attacktest.LinearSpec{Seed: 4, Examples: 30}, b)
	if err != nil {
		t.Fatal(err)
	}
	rounded := func(leak float64) *advlib.Classifier {
		return advlib.MustClassifier(advlib.Spec{Name: "one bit", Input: l.Classifier.Input(), Box: advlib.UnitBox, Backend: b,
			Store: l.Classifier.Store(), Logits: func(_ *model.Scope, x *Node) *Node {
				bits := ConvertDType(GreaterThan(x, Scalar(x.Graph(), x.DType(), 0.5)), x.DType())
				if leak == 0 {
					return l.Classifier.LogitsGraph(bits)
				}
				return Add(l.Classifier.LogitsGraph(StopGradient(bits)), MulScalar(l.Classifier.LogitsGraph(Reverse(x, 1)), leak))
			}})
	}
	ball := advlib.Linf.Ball(0.2)
	white := []advlib.Attack{attack.PGD{Ball: ball, Loss: advlib.Margin, Steps: 20}, attack.DDN{Steps: 100}}
	black := []advlib.Attack{attack.Square{Ball: ball, Queries: 300}, attack.HopSkipJump{Norm: advlib.L2, Queries: 300}}
	none := advlib.MustEvaluate(t.Context(), rounded(0), l.Examples, black)
	if s := none.String(); !strings.Contains(s, "NO GRADIENT") || none.Robust(ball).Count == none.Clean().Count {
		t.Errorf("without a gradient:\n%s", s)
	}
	attacks := slices.Concat(white, black)
	alone := advlib.Settings{Alone: true}
	if r := alone.MustEvaluate(t.Context(), rounded(1e-3), l.Examples, attacks); strings.Count(r.String(), "BLACK BOX WINS") != 2 {
		t.Errorf("on one bit, want attacks by questions ahead in Linf and L2:\n%v", r)
	}
	for _, s := range []advlib.Settings{{}, alone} {
		r := s.MustEvaluate(t.Context(), l.Classifier, l.Examples, attacks)
		if strings.Contains(r.String(), "BLACK BOX WINS") || s.Alone && len(r.Beside()) != 2 {
			t.Errorf("alone %t: on a linear model:\n%v", s.Alone, r)
		}
	}
}
