package attack_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// AutoAttack standard leaves as many examples standing as the peer's, within one. The peer's summary has no list of
// examples, so the log names those on which ours differs from the peer's PGD-20, whose adversarial examples are there.
// For cnn-mnist-adv, of which 8 of 32 examples are kept, the peer's number is that of its PGD-20: over the 32, both
// left the same number, 31, 30, 31 and 30 of 32. There only the larger radii are tried, unless ADVLAB_FULL is set.
func TestReferenceAutoAttack(t *testing.T) {
	b := digits(t).Classifier.Backend()
	for _, name := range attacktest.References {
		r := reference(t, name, b)
		for key, n := range normKeys {
			for text, ε := range radii(name, n) {
				if name == "cnn-mnist-adv" && !full && (text == "0.05" || text == "0.5") {
					continue
				}
				autoAttackAgainstPeer(t, r, name, key, text, n, ε)
			}
		}
	}
}

// autoAttackAgainstPeer compares how many examples AutoAttack leaves standing with the peer's number, or, where the
// summary is not there, with that of its PGD-20.
func autoAttackAgainstPeer(t *testing.T, r *attacktest.Reference, name, key, text string, n advlib.ConvexNorm, ε float64) {
	t.Helper()
	const allowed = 1
	pgd := robust(t, r, array(t, r, "pgd_"+key+"_a=eps__4_s=20__"+text))
	peer := count(pgd)
	if accuracy, ok := r.Peers["autoattack_standard_"+key+"/"+text]; ok {
		peer = int(math.Round(accuracy * float64(r.Examples.Len())))
	} else if r.Peers != nil {
		t.Fatalf("%s: the peer's AutoAttack in %s at %s is missing", name, key, text)
	}
	res, err := advlib.Run(context.Background(), r.Classifier, r.Examples, attack.AutoAttack{Ball: n.Ball(ε)})
	if err != nil {
		t.Fatal(err)
	}
	standing := 0
	var more, fewer []int
	for i, success := range res.Success {
		switch {
		case !success:
			standing++
			if !pgd[i] {
				more = append(more, i)
			}
		case pgd[i]:
			fewer = append(fewer, i)
		}
	}
	t.Logf("%s, %v ≤ %g: ours leaves %d of %d standing, the peer %d; beyond the peer's PGD-20 ours breaks %v, and leaves %v that "+
		"it breaks; %v", name, n, ε, standing, len(pgd), peer, fewer, more, res.Stats)
	if d := standing - peer; d > allowed || d < -allowed {
		t.Errorf("%s, %v ≤ %g: ours leaves %d standing, the peer %d", name, n, ε, standing, peer)
	}
}

// The members are those of the authors' set_version, in their order.
func TestAutoAttackVersions(t *testing.T) {
	linf, l1 := advlib.Linf.Ball(0.1), advlib.L1.Ball(2)
	square := "Square-5002 Linf ≤ 0.1"
	for _, c := range []struct {
		a       attack.AutoAttack
		classes int
		want    []string
	}{
		{attack.AutoAttack{Ball: linf}, 10, []string{"APGD-100 Linf ≤ 0.1", "APGD-100 Linf ≤ 0.1, DLR, 9 targets", "FAB-100 Linf minimal, 9 targets", square}},
		{attack.AutoAttack{Ball: linf}, 3, []string{"APGD-100 Linf ≤ 0.1", "APGD-100 Linf ≤ 0.1, Margin, 9 targets", "FAB-100 Linf minimal, 9 targets", square}},
		{attack.AutoAttack{Ball: l1}, 10, []string{"APGD-100 L1 ≤ 2, 4 restarts, larger radii", "APGD-100 L1 ≤ 2, DLR, larger radii, 5 targets", "FAB-100 L1 minimal, 9 targets", "Square-5002 L1 ≤ 2"}},
		{attack.AutoAttack{Ball: linf, Version: attack.VersionPlus}, 10, []string{"APGD-100 Linf ≤ 0.1, 4 restarts", "APGD-100 Linf ≤ 0.1, DLR, 4 restarts", "FAB-100 Linf minimal, 4 restarts", square, "APGD-100 Linf ≤ 0.1, DLR, 9 targets", "FAB-100 Linf minimal, 9 targets"}},
		{attack.AutoAttack{Ball: linf, Version: attack.VersionRand}, 2, []string{"APGD-100 Linf ≤ 0.1", "APGD-100 Linf ≤ 0.1, Margin"}},
	} {
		var got []string
		for _, a := range c.a.Attacks(c.classes) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v with %d classes:\n%s\nwant\n%s", c.a, c.classes, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
	ten := linear(t, linearSpecs[0]).Classifier
	for want, a := range map[string]advlib.Attack{
		"the ball is unset":                attack.AutoAttack{},
		"version 7 is not one of":          attack.AutoAttack{Ball: linf, Version: 7},
		"has no targeted form":             attack.AllTargets{Attack: attack.AutoAttack{Ball: linf}},
		"no steepest ascent and no projec": attack.AutoAttack{Ball: advlib.L0.Ball(1)},
	} {
		if _, err := a.Threat(ten); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v does not say %q", a, err, want)
		}
	}
}

// autoAttackSubjects is the smallest version, whose members are the two that all versions have; with ADVLAB_FULL=1 the
// standard one too, which takes a minute. Its other members are in the suite by themselves, as is WorstOf, which runs
// them.
func autoAttackSubjects() []attacktest.Subject {
	versions := []attack.AutoAttackVersion{attack.VersionRand}
	if full {
		versions = append(versions, attack.VersionStandard)
	}
	var subjects []attacktest.Subject
	for _, v := range versions {
		at := func(ε float64) advlib.Attack {
			return attack.AutoAttack{Ball: advlib.Linf.Ball(ε), Version: v}
		}
		subjects = append(subjects, attacktest.Subject{
			Name: "AutoAttack " + v.String(),
			New: func(g advlib.Goal) advlib.Attack {
				if g.IsTargeted() { // it has no Goal; what wraps it refuses for it
					return attack.AllTargets{Attack: at(radius(advlib.Linf))}
				}
				return at(radius(advlib.Linf))
			},
			AtRadius:   at,
			Untargeted: true,
		})
	}
	return subjects
}

func TestConformanceAutoAttack(t *testing.T) { attacktest.Run(t, autoAttackSubjects()...) }

func ExampleAutoAttack() {
	c, e := brightness()
	auto := attack.AutoAttack{Ball: advlib.Linf.Ball(0.3)}
	res := advlib.MustRun(context.Background(), c, e.First(2), auto)
	fmt.Println(res.Attack, res.Success)
	for _, a := range auto.Attacks(c.Classes()) {
		fmt.Println(a)
	}
	// Output:
	// AutoAttack standard Linf ≤ 0.3 [true true]
	// APGD-100 Linf ≤ 0.3
	// APGD-100 Linf ≤ 0.3, Margin, 9 targets
	// FAB-100 Linf minimal, 9 targets
	// Square-5002 Linf ≤ 0.3
}
