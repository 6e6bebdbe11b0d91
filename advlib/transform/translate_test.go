package transform_test

import (
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/transform"
)

// TestTranslate: by hand, on an image of 2 × 3.
func TestTranslate(t *testing.T) {
	x := tensors.FromFlatDataAndDimensions([]float32{1, 2, 3, 4, 5, 6}, 1, 2, 3, 1)
	box := advlib.Box{Lo: 0, Hi: 10}
	for by, want := range map[transform.Translate][]float32{
		{Down: 1}:            {1, 2, 3, 1, 2, 3},
		{Down: -1}:           {4, 5, 6, 4, 5, 6},
		{Right: 1}:           {1, 1, 2, 4, 4, 5},
		{Right: -2}:          {3, 3, 2, 6, 6, 5},
		{Down: 1, Right: -1}: {2, 3, 3, 2, 3, 3},
	} {
		if got := applied(t, by, x, box); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", by, got, want)
		}
	}
	for _, bad := range []transform.Translate{{}, {Down: 3}, {Right: -4}} {
		if bad.Check([]int{2, 3, 1}) == nil {
			t.Errorf("%+v is no error", bad)
		}
	}
}
