package advlib

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

func TestGoalSurvivesJSON(t *testing.T) {
	for _, want := range []Goal{Untargeted, Targeted(0), Targeted(3), TargetedBy(-2), TargetedEach([]int{1, 0, 7})} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Goal
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v became %v by %s (%v)", want, got, text, err)
		}
	}
}

func TestDistanceSurvivesJSON(t *testing.T) {
	for _, want := range []Distance{0, 8. / 255, 1e-300, 1e300, Distance(math.Inf(1))} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Distance
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Errorf("%v became %v by %s (%v)", want, got, text, err)
		}
	}
}
