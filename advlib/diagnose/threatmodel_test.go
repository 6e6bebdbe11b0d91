package diagnose

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/detect"
	"advlab/advlib/oracle"
	"advlab/advlib/transform"
)

// TestAtlas compares with the release of MITRE ATLAS that is named; testdata/atlas.py has read it.
func TestAtlas(t *testing.T) {
	text, err := os.ReadFile("testdata/atlas.json")
	if err != nil {
		t.Fatal(err)
	}
	var release struct {
		Version    string
		Techniques map[string]string
	}
	if err := json.Unmarshal(text, &release); err != nil {
		t.Fatal(err)
	}
	if ATLAS != "MITRE ATLAS "+release.Version {
		t.Errorf("%q is named, the release is %s", ATLAS, release.Version)
	}
	for _, k := range []Technique{evade, access, fullAccess, whiteBox, blackBoxed, transferring, proxy, environment, printed} {
		want := release.Techniques[k.ID]
		if parent, _, isSub := strings.Cut(strings.TrimPrefix(k.ID, "AML."), "."); isSub {
			want = release.Techniques["AML."+parent] + ": " + want
		}
		if k.Name != want || want == "" {
			t.Errorf("%s is %q, and not %q", k.ID, want, k.Name)
		}
	}
}

// TestThreatModel: the words follow what was run, and on what.
func TestThreatModel(t *testing.T) {
	c := natural(t, 0)
	ball := advlib.Linf.Ball(0.1)
	closed := oracle.Budget(oracle.Labels(c), 500)
	digits, held := dataset.Digits()
	screened := detect.MustScreen(t.Context(), c, detect.FeatureSqueezing{Squeezers: []transform.Transform{transform.BitDepth{Bits: 3}}},
		detect.Data{Train: digits, Clean: held})
	square, hop := attack.Square{Ball: ball}, attack.HopSkipJump{Norm: advlib.Linf}
	for _, test := range []struct {
		victim advlib.Victim
		ran    []advlib.Attack
		ids    []string
		knows  []string // the beginnings
		asks   bool
	}{
		{c, []advlib.Attack{attack.PGD{Ball: ball}}, []string{"AML.T0015", "AML.T0043.000", "AML.T0044"}, []string{"white-box"}, false},
		{c, []advlib.Attack{attack.AllTargets{Attack: attack.PGD{Ball: ball}}, square},
			[]string{"AML.T0015", "AML.T0040", "AML.T0043.000", "AML.T0043.001", "AML.T0044"},
			[]string{"white-box", "black-box [NISTAML.025], score-based"}, true},
		{closed, []advlib.Attack{hop}, []string{"AML.T0015", "AML.T0040", "AML.T0043.001"},
			[]string{"black-box [NISTAML.025], decision-based"}, true},
		{c, []advlib.Attack{attack.Transfer{Attack: attack.PGD{Ball: ball}, From: c}},
			[]string{"AML.T0005", "AML.T0015", "AML.T0043.002"}, []string{"gray-box"}, false},
		{screened, []advlib.Attack{screened.Adaptive(ball)}, []string{"AML.T0015", "AML.T0043.000", "AML.T0044"}, []string{"white-box"}, false},
	} {
		got := ThreatModel(test.victim, ball, test.ran...)
		var ids []string
		for _, k := range got.Techniques {
			ids = append(ids, k.ID)
		}
		if !slices.Equal(ids, test.ids) {
			t.Errorf("%v: %v, want %v", test.ran, ids, test.ids)
		}
		if !slices.EqualFunc(got.Knowledge, test.knows, strings.HasPrefix) {
			t.Errorf("%v: %v, want %v", test.ran, got.Knowledge, test.knows)
		}
		if asks := len(got.Capabilities) > 1; asks != test.asks {
			t.Errorf("%v: %v", test.ran, got.Capabilities)
		}
		if !strings.HasPrefix(got.Goal, "integrity violation [NISTAML.02] by evasion [NISTAML.022], untargeted") {
			t.Error(got.Goal)
		}
	}
}
