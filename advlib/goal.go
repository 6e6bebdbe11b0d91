package advlib

import (
	"fmt"
	"math"
)

// Goal is what an attack wants the classifier to say. The zero value, [Untargeted], wants any class but the label.
type Goal struct {
	targeted bool
	class    int
	offset   int
	each     []int32
}

// Untargeted wants any class but the label.
var Untargeted = Goal{}

// Targeted wants the given class. Examples that carry it as their label are left out: there is nothing to attack.
func Targeted(class int) Goal { return Goal{targeted: true, class: class} }

// TargetedBy wants the class label + offset mod K, another class for each label; offset must not be a multiple of K.
func TargetedBy(offset int) Goal {
	if offset == 0 {
		return Goal{targeted: true, class: ownLabel}
	}
	return Goal{targeted: true, offset: offset}
}

// ownLabel stands for the class label + 0, which is refused: Goal{targeted: true} is the class 0.
const ownLabel = math.MinInt32

// TargetedEach wants class[i] for the i-th of the examples that the attack is run on.
func TargetedEach(class []int) Goal {
	each := make([]int32, len(class))
	for i, c := range class {
		each[i] = int32(c)
	}
	return Goal{targeted: true, each: each}
}

// IsTargeted tells a targeted goal from an untargeted one.
func (g Goal) IsTargeted() bool { return g.targeted }

// String names the goal, as in "targeted(3)".
func (g Goal) String() string {
	switch {
	case !g.targeted:
		return "untargeted"
	case g.each != nil:
		return fmt.Sprintf("targeted(%d given classes)", len(g.each))
	case g.offset != 0:
		return fmt.Sprintf("targeted(label%+d)", g.offset)
	case g.class == ownLabel:
		return "targeted(label+0)"
	}
	return fmt.Sprintf("targeted(%d)", g.class)
}

// targets returns the class wanted for each label, or nil for an untargeted goal.
func (g Goal) targets(y []int32, classes int) ([]int32, error) {
	if !g.targeted {
		return nil, nil
	}
	t := make([]int32, len(y))
	switch {
	case g.class == ownLabel:
		return nil, fmt.Errorf("the goal label+0 is the label itself: there is nothing to attack; give an offset from 1 to %d", classes-1)
	case g.each != nil:
		if len(g.each) != len(y) {
			return nil, fmt.Errorf("the goal names %d target classes for %d examples: give one for each", len(g.each), len(y))
		}
		copy(t, g.each)
	case g.offset != 0:
		for i := range y {
			t[i] = int32(((int(y[i])+g.offset)%classes + classes) % classes)
		}
		if g.offset%classes == 0 {
			return nil, fmt.Errorf("the goal label%+d is the label itself with %d classes", g.offset, classes)
		}
	default:
		for i := range t {
			t[i] = int32(g.class)
		}
	}
	for i, c := range t {
		if c < 0 || int(c) >= classes {
			return nil, fmt.Errorf("the target class %d of example %d is not in 0..%d", c, i, classes-1)
		}
	}
	return t, nil
}
