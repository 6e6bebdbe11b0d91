package scenario

import (
	"fmt"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Monotone returns a model of two classes of these records for which an attacker's evidence only grows: its score of
// the class malicious never falls when he sends more, opens more, or asks for more (Íncer Romeo et al. 2018,
// "Adversarially robust malware detection using monotonic classification", doi 10.1145/3180445.3180449). Whatever he
// does in the threat's domain, in any ball, a record that is detected stays so: the defence is a proof, and needs no
// attack to believe it.
//
// What he cannot change goes through hidden units of any sign. What he can only make larger, by the threat's rules,
// goes through weights of at least 0 from there on. What he can choose is not used, nor are shares that he can dilute;
// in their place stand the counts behind them, which a defender who counts has. That is what the defence costs: measure
// the accuracy beside an ordinary model's.
//
//	m := training.Model{Name: "monotone", Build: r.Monotone(1, 32), Domain: r.Domain}
func (r *Records) Monotone(malicious, hidden int) func(classes int) advlib.LogitsFn {
	return func(classes int) advlib.LogitsFn {
		return func(scope *model.Scope, x *Node) *Node {
			if classes != 2 || malicious < 0 || malicious > 1 || hidden < 1 {
				panic(fmt.Errorf("scenario: a monotone model of %d classes, of which %d grows, with %d hidden units: it has 2 classes, 0 and 1, "+
					"and at least 1 hidden unit", classes, malicious, hidden))
			}
			free, growing := r.evidence(x)
			h := activation.Relu(layer(scope.In("free"), free, hidden, false))
			u := layer(scope.In("mix"), h, hidden, false)
			if growing != nil {
				u = Add(u, layer(scope.In("growing"), growing, hidden, true))
			}
			s := layer(scope.In("score"), activation.Relu(u), 1, true)
			// The score and its negative: softmax sees twice the score, and no class is preferred.
			if malicious == 0 {
				return Concatenate([]*Node{s, Neg(s)}, 1)
			}
			return Concatenate([]*Node{Neg(s), s}, 1)
		}
	}
}

// layer is x·w + b, of weights of at least 0 if rising is true.
func layer(scope *model.Scope, x *Node, units int, rising bool) *Node {
	w := scope.VariableWithShape("w", shapes.Make(x.DType(), x.Shape().Dimensions[1], units)).NodeValue(x)
	if rising {
		w = Abs(w)
	}
	b := scope.VariableWithShape("b", shapes.Make(x.DType(), units)).NodeValue(x)
	return Add(DotProduct(x, w), InsertAxes(b, 0))
}

// evidence returns what an attacker cannot change of inputs, and what he can only make larger; nil if there is nothing.
func (r *Records) evidence(x *Node) (free, growing *Node) {
	seen := r.Seen(x)
	columns := func(of *Node, from, n int) *Node { return Slice(of, AxisRange(), AxisRange(from, from+n)) }
	var fixed, more []*Node
	at := 0
	for i := range r.Schema.Features {
		f := r.Domain[i]
		n := max(1, f.OneHot)
		switch {
		case r.grows(f.Name) || f.Formula == "" && f.Change == advlib.RiseOnly:
			more = append(more, columns(seen, at, n))
		case f.Formula == "" && f.Change == advlib.FallOnly:
			more = append(more, Neg(columns(seen, at, n)))
		case f.Formula == "" && f.Change == advlib.Fixed:
			fixed = append(fixed, columns(seen, at, n))
		}
		at += n
	}
	for i, b := range r.Threat.Behind {
		if b.Counted {
			most := r.Domain[len(r.Schema.Features)+i].Hi
			fixed = append(fixed, MulScalar(columns(x, at+i, 1), 1/most))
		}
	}
	if len(fixed) == 0 {
		panic(fmt.Errorf("scenario: an attacker can change all columns of %s: a monotone model has nothing to tell records apart by",
			r.Threat.Name))
	}
	free = Concatenate(fixed, 1)
	if len(more) > 0 {
		growing = Concatenate(more, 1)
	}
	return free, growing
}

// grows tells whether a rule says that no move makes the column smaller.
func (r *Records) grows(column string) bool {
	for _, rule := range r.Threat.Rules {
		if rule.Column == column {
			return rule.Grows
		}
	}
	return false
}
