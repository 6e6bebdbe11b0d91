package diagnose

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/oracle"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// TestAdviceCompiles: every line of advice, of every check and on every kind of victim, is Go that compiles as it is.
func TestAdviceCompiles(t *testing.T) {
	train, test := dataset.Digits()
	m := zoo.MLP(10)
	m.Epochs = 1
	c := m.MustFit(t.Context(), train)
	ball := advlib.Linf.Ball(0.1)
	lines := map[string]bool{}
	for _, x := range []*examiner{
		{victim: c, white: c},
		{victim: oracle.Labels(c)},
		{victim: transform.MustBefore(c, transform.Noise{Sigma: 0.1}).Classifier},
		{victim: transform.MustBefore(c, transform.BitDepth{Bits: 1}).Classifier},
	} {
		x.Ball, x.Attack, x.on, x.said = ball, DefaultAttack(x.victim, ball), test.First(1), []advlib.Answer{{Kind: advlib.Logits,
			Scores: []float32{100, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
		if x.white, _ = advlib.WhiteBox(x.victim); x.white != nil {
			x.blind = x.white.Differentiable()
		}
		for _, k := range checklist {
			y := *x
			if k.Name == "transfer" {
				y.Attack = attack.Transfer{Attack: attack.PGD{Ball: ball}, From: c}
			}
			var f Finding
			if f.advise(y.victim, k.next(&y)); len(f.Next) == 0 {
				t.Errorf("%s has no advice on %s", k.Name, y.victim.Name())
			}
			for _, line := range f.Next {
				lines[line] = true
			}
			for _, text := range f.Attacks {
				a, err := attack.FromJSON(text)
				if err != nil {
					t.Errorf("%s: %s: %v", k.Name, text, err)
					continue
				}
				if _, err := a.Threat(y.victim); err != nil {
					t.Errorf("%s advises on %s what it refuses: %v", k.Name, y.victim.Name(), err)
				}
			}
			// What it refuses is BPDA alone, whose stand-in is to be filled in.
			for _, s := range k.next(&y) {
				if _, bpda := s.attack.(attack.BPDA); s.attack != nil && !bpda {
					if _, err := s.attack.Threat(y.victim); err != nil {
						t.Errorf("%s advises on %s what it refuses: %v", k.Name, y.victim.Name(), err)
					}
				}
			}
		}
	}
	var code strings.Builder
	fmt.Fprintln(&code, "package diagnose\n\nimport (\n\t\"advlab/advlib\"\n\t\"advlab/advlib/attack\"\n)\n\n"+
		"func pasted(through *advlib.Classifier) {")
	for line := range lines {
		if strings.HasPrefix(line, "//") {
			fmt.Fprintln(&code, line)
		} else {
			fmt.Fprintln(&code, "\t_ =", line)
		}
	}
	fmt.Fprintln(&code, "\t_ = through\n}")
	dir := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	file, overlay := filepath.Join(dir, "pasted.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "pasted.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{file: code.String(), overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, ".").CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, code.String())
	}
}

// brokenDefence is a defence whose robust accuracy was published, and is not there any more.
type brokenDefence struct {
	name, by, source string
	victim           *advlib.Classifier
	through          *advlib.Classifier
	naive            advlib.Attack
	only             []string // checks to run
}

func published(t *testing.T, ball advlib.Ball) []brokenDefence {
	train, _ := dataset.Digits()
	c := natural(t, 0)
	slow := zoo.MLP(60)
	slow.Epochs, slow.LearningRate = 40, 0.005
	coded := transform.MustBefore(c, transform.BitDepth{Bits: 3})
	return []brokenDefence{
		{"defensive distillation, T = 100", "Papernot et al. 2016", "Carlini & Wagner 2016",
			defense.Distillation{T: 100}.MustFit(t.Context(), slow, train), nil, defense.Distillation{T: 100}.Naive(ball),
			[]string{"gradients", "loss"}},
		{"k winners take all", "Xiao et al. 2020", "Tramèr et al. 2020", kWTA(t), nil, attack.PGD{Ball: ball}, []string{"black-box", "steps"}},
		{"feature squeezing to 3 bits", "Xu et al. 2018", "Athalye et al. 2018", coded.Classifier, coded.Through,
			attack.Transfer{Attack: attack.PGD{Ball: ball, Loss: advlib.Margin}, From: c}, []string{"gradients"}},
	}
}

// TestPublishedBreaks: the number that looks good under the attack of a defence's authors, and the number after the
// advice that the diagnosis prints was followed as it is printed. With -update it writes breaks.md.
func TestPublishedBreaks(t *testing.T) {
	ball := advlib.Linf.Ball(0.2)
	_, test := dataset.Digits()
	e := test.First(30)
	table := breaksHead
	for _, b := range published(t, ball) {
		s := Settings{Ball: ball, Attack: b.naive, Queries: 300, Only: b.only}
		d, err := s.Run(t.Context(), b.victim, e)
		if err != nil {
			t.Fatal(err)
		}
		var failed []string
		advised := map[string]advlib.Attack{}
		for _, f := range d.With(Failed) {
			failed = append(failed, f.Name)
			for _, text := range f.Attacks {
				a, err := attack.FromJSON(text)
				if err != nil {
					t.Fatal(err)
				}
				advised[a.String()] = a
			}
			for _, line := range f.Next {
				if strings.HasPrefix(line, "attack.BPDA") {
					want := fmt.Sprintf("attack.BPDA{Attack: attack.PGD{Ball: advlib.Linf.Ball(%g), Loss: advlib.Margin, Restarts: 3}, "+
						"Through: through}", ball.Radius)
					if line != want {
						t.Errorf("%s: %s, and not %s", b.name, line, want)
					}
					a := attack.BPDA{Attack: attack.PGD{Ball: ball, Loss: advlib.Margin, Restarts: 3}, Through: b.through}
					advised[a.String()] = a
				}
			}
		}
		if len(advised) == 0 {
			t.Errorf("%s: no attack is advised:\n%v", b.name, d)
			continue
		}
		best, left := "", d.Clean
		for _, name := range slices.Sorted(maps.Keys(advised)) {
			r, err := advlib.Evaluate(t.Context(), b.victim, e, []advlib.Attack{advised[name]})
			if err != nil {
				t.Fatalf("%s: %s: %v", b.name, name, err)
			}
			if got := r.Robust(ball); best == "" || got.Count < left.Count {
				best, left = name, got
			}
		}
		t.Logf("%s: clean %v, %v leaves %v; %s leaves %v", b.name, d.Clean, b.naive, d.Robust, best, left)
		if looksGood := 0.3 * float64(d.Clean.Count); float64(d.Robust.Count) < looksGood || left.Count > d.Robust.Count/2 {
			t.Errorf("%s: the naive attack leaves %v of %v, the advised ones %v", b.name, d.Robust, d.Clean, left)
		}
		table += fmt.Sprintf("| %s (%s; broken by %s) | %v | %v: **%v** | %s | %s | **%v** %s |\n", b.name, b.by, b.source, d.Clean,
			b.naive, d.Robust, strings.Join(failed, ", "), best, left, left.Interval())
	}
	if *update {
		if err := os.WriteFile("breaks.md", []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const breaksHead = `# Published defences, before and after the advice

Defences whose published robust accuracy did not last, at small scale: what their authors' kind of attack leaves of
them, which checks fail, and what is left after the attacks that the diagnosis prints were run as they are printed,
the best of them alone. The first 30 of the digits' test part, Linf, ε = 0.2; of the checks those were run that
fail. Written by TestPublishedBreaks.

| defence | clean | naive attack | checks that fail | best of the advised attacks | what it leaves |
|---|---|---|---|---|---|
`
