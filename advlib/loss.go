package advlib

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// GoalNodes is a [Goal] inside a graph, with its classes for each row: what a [Loss] pushes towards.
type GoalNodes struct {
	// Label is the true class y, int32 [n].
	Label *Node
	// Target is the class t to move towards, int32 [n]; nil for an untargeted attack.
	Target *Node
	// AnyClass says, with a Target, that leaving the label is enough: the target only gives the direction.
	AnyClass bool
}

// Loss is what an attack ascends: per row of the logits, larger is closer to the goal. The package's values are
// [CrossEntropy], [Margin] and [DLR].
type Loss interface {
	// String is the loss's name.
	String() string
	// Of returns the loss of each row: logits z are [n, K], the result [n].
	Of(z *Node, goal GoalNodes) *Node
	// MinClasses is the smallest number of classes K that the loss is defined for, with and without a target.
	MinClasses(targeted bool) int
}

// The losses.
var (
	// CrossEntropy is −log softmax(z)_y, or log softmax(z)_t with a target: the loss of Goodfellow et al. (2015) and
	// Madry et al. (2018). Its gradient vanishes where the softmax saturates.
	CrossEntropy Loss = crossEntropy{}
	// Margin is max_{j≠y} z_j − z_y, positive exactly when the label is left (minus f₆ of Carlini & Wagner 2017,
	// arXiv:1608.04644, section V-A). With a target it is z_t − max_{j≠t} z_j, or z_t − z_y when any class will do.
	Margin Loss = margin{}
	// DLR is the difference of logits ratio of Croce & Hein (2020), arXiv:2003.01690, equations 6 and 7:
	// −(z_y − max_{i≠y} z_i)/(z_π1 − z_π3), which neither shift nor scale of the logits changes; with a target
	// −(z_y − z_t)/(z_π1 − ½(z_π3+z_π4)). It needs at least 3 classes, 4 with a target.
	DLR Loss = dlr{}
)

type (
	crossEntropy struct{}
	margin       struct{}
	dlr          struct{}
)

func (crossEntropy) String() string { return "CrossEntropy" }
func (margin) String() string       { return "Margin" }
func (dlr) String() string          { return "DLR" }

func (crossEntropy) MinClasses(bool) int { return 2 }
func (margin) MinClasses(bool) int       { return 2 }
func (dlr) MinClasses(targeted bool) int {
	if targeted {
		return 4
	}
	return 3
}

func (crossEntropy) Of(z *Node, goal GoalNodes) *Node {
	logp := LogSoftmax(z, -1)
	if goal.Target != nil {
		return At(logp, goal.Target)
	}
	return Neg(At(logp, goal.Label))
}

func (margin) Of(z *Node, goal GoalNodes) *Node {
	switch {
	case goal.Target == nil:
		return Sub(MaxExcept(z, goal.Label), At(z, goal.Label))
	case goal.AnyClass:
		return Sub(At(z, goal.Target), At(z, goal.Label))
	}
	return Sub(At(z, goal.Target), MaxExcept(z, goal.Target))
}

// dlrFloor keeps the ratio finite where the top logits are equal (the reference implementation's constant).
const dlrFloor = 1e-12

func (dlr) Of(z *Node, goal GoalNodes) *Node {
	zy := At(z, goal.Label)
	π := descending(z, dlr{}.MinClasses(goal.Target != nil))
	if goal.Target == nil {
		return Neg(Div(Sub(zy, MaxExcept(z, goal.Label)), AddScalar(Sub(π[0], π[2]), dlrFloor)))
	}
	half := MulScalar(Add(π[2], π[3]), 0.5)
	return Neg(Div(Sub(zy, At(z, goal.Target)), AddScalar(Sub(π[0], half), dlrFloor)))
}

// At returns the logit of class c in each row: z [n, K], c int32 [n], result [n].
func At(z, c *Node) *Node {
	return ReduceSum(Where(isClass(z, c), z, ZerosLike(z)), -1)
}

// MaxExcept returns the largest logit of each row among all classes but c: z [n, K], c int32 [n], result [n].
// The class is masked by −∞, not by 0: with a mask of 0 the result is wrong where all other logits are negative.
func MaxExcept(z, c *Node) *Node {
	return ReduceMax(Where(isClass(z, c), Infinity(z.Graph(), z.DType(), -1), z), -1)
}

// isClass is true at column c of each row: [n, K].
func isClass(z, c *Node) *Node {
	n, k := z.Shape().Dimensions[0], z.Shape().Dimensions[1]
	columns := Iota(z.Graph(), shapeOf(c.DType(), n, k), 1)
	return Equal(columns, BroadcastToDims(Reshape(c, n, 1), n, k))
}

// descending returns the k largest logits of each row, in order, each [n]. Ties count separately.
func descending(z *Node, k int) []*Node {
	top := make([]*Node, k)
	for i := range top {
		first := ArgMax(z, -1)
		top[i] = At(z, first)
		z = Where(isClass(z, first), Infinity(z.Graph(), z.DType(), -1), z)
	}
	return top
}
