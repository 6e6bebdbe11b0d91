package advlib_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// recorder is an attack that changes nothing, and keeps what it was given.
type recorder struct {
	threat advlib.Threat
	got    *[]advlib.Batch
}

func (r recorder) String() string                              { return "recorder" }
func (r recorder) Threat(advlib.Victim) (advlib.Threat, error) { return r.threat, nil }
func (r recorder) Perturb(_ context.Context, _ *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	// In the order of the file.
	s := b.Select(slices.SortedFunc(slices.Values(b.Order()), func(i, j int) int { return cmp.Compare(b.Number(i), b.Number(j)) }))
	*r.got = append(*r.got, advlib.Batch{Y: s.Y, Target: s.Target, Index: s.Index, AnyClass: s.AnyClass})
	return b.X.LocalClone()
}

func TestGoalsResolveToTargets(t *testing.T) {
	c, e := linear(t), corners(t)
	cases := []struct {
		goal    advlib.Goal
		targets []int32 // of the attempted rows
		index   []int64
		err     string
	}{
		{goal: advlib.Untargeted, targets: nil, index: []int64{0, 1, 2}},
		{goal: advlib.Targeted(1), targets: []int32{1, 1}, index: []int64{0, 2}},
		{goal: advlib.TargetedBy(1), targets: []int32{1, 2, 0}, index: []int64{0, 1, 2}},
		{goal: advlib.TargetedBy(-1), targets: []int32{2, 0, 1}, index: []int64{0, 1, 2}},
		{goal: advlib.TargetedBy(3), err: "label itself"},
		{goal: advlib.TargetedBy(0), err: "label itself"},
		{goal: advlib.Targeted(3), err: "target class 3 of example 0 is not in 0..2"},
		{goal: advlib.Targeted(-1), err: "target class -1"},
		{goal: advlib.TargetedEach([]int{0, 0, 0}), targets: []int32{0, 0}, index: []int64{1, 2}},
		{goal: advlib.TargetedEach([]int{0}), err: "1 target classes for 3 examples"},
	}
	for _, tc := range cases {
		var got []advlib.Batch
		_, err := advlib.Run(context.Background(), c, e, recorder{advlib.Threat{Norm: advlib.Linf, Radius: 0.1, Goal: tc.goal}, &got})
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v: error %v, want one with %q", tc.goal, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", tc.goal, err)
			continue
		}
		if len(got) != 1 || !slices.Equal(got[0].Target, tc.targets) || !slices.Equal(got[0].Index, tc.index) {
			t.Errorf("%v: the attack saw %+v, want targets %v for examples %v", tc.goal, got, tc.targets, tc.index)
		}
	}
}
