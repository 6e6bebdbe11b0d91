package main

import (
	"fmt"
	"slices"
	"strings"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// choice is a name for attacks on the command line. To add one, add a line to attacks or presets.
type choice struct {
	name, about string
	// norms are those it can be asked for.
	norms []advlib.Norm
	// minimal says that it takes no budget: it is run once, whatever the list of ε.
	minimal bool
	// make returns the attacks for a ball on a classifier with so many classes.
	make func(ball advlib.Ball, classes int) []advlib.Attack
}

var (
	convex = []advlib.Norm{advlib.Linf, advlib.L2, advlib.L1}
	every  = []advlib.Norm{advlib.Linf, advlib.L2, advlib.L1, advlib.L0}
)

func one(make func(ball advlib.Ball) advlib.Attack) func(advlib.Ball, int) []advlib.Attack {
	return func(ball advlib.Ball, _ int) []advlib.Attack { return []advlib.Attack{make(ball)} }
}

var attacks = []choice{
	{"fgm", "one step along the gradient of the cross-entropy (FGSM in Linf)", convex, false, one(func(b advlib.Ball) advlib.Attack { return attack.FGM{Ball: b} })},
	{"bim", "10 steps along the gradient, from the original", convex, false, one(func(b advlib.Ball) advlib.Attack { return attack.BIM{Ball: b} })},
	{"mifgsm", "10 steps with momentum", []advlib.Norm{advlib.Linf, advlib.L2}, false, one(func(b advlib.Ball) advlib.Attack { return attack.MIFGSM{Ball: b} })},
	{"pgd", "projected gradient descent, 40 steps on the cross-entropy", convex, false, one(func(b advlib.Ball) advlib.Attack { return attack.PGD{Ball: b} })},
	{"pgd-margin", "PGD on the margin between the label and the best other class", convex, false, one(func(b advlib.Ball) advlib.Attack {
		return attack.PGD{Ball: b, Loss: advlib.Margin}
	})},
	{"pgd-targets", "PGD on the margin towards each other class, the most likely first", convex, false, one(func(b advlib.Ball) advlib.Attack {
		return attack.AllTargets{Attack: attack.PGD{Ball: b, Loss: advlib.Margin}}
	})},
	{"apgd-ce", "APGD, 100 steps of its own size, on the cross-entropy", convex, false, one(func(b advlib.Ball) advlib.Attack { return attack.APGD{Ball: b} })},
	{"apgd-dlr", "APGD on the difference of logits ratio, for at least 3 classes", convex, false, one(func(b advlib.Ball) advlib.Attack {
		return attack.APGD{Ball: b, Loss: advlib.DLR}
	})},
	{"apgd-t", "APGD on the targeted DLR towards the nine most likely classes, for at least 4", convex, false, one(func(b advlib.Ball) advlib.Attack {
		return attack.AllTargets{Attack: attack.APGD{Ball: b, Loss: advlib.DLR}, Most: 9}
	})},
	{"square", "Square, 5000 queries of random search, without gradients", convex, false, one(func(b advlib.Ball) advlib.Attack { return attack.Square{Ball: b} })},
	{"cw", "Carlini & Wagner: looks for the nearest adversarial example", []advlib.Norm{advlib.Linf, advlib.L2, advlib.L0}, true, one(carliniWagner)},
	{"deepfool", "DeepFool: the nearest boundary, step by step", []advlib.Norm{advlib.Linf, advlib.L2}, true, one(func(b advlib.Ball) advlib.Attack { return attack.DeepFool{Norm: b.Norm} })},
	{"ddn", "DDN: gradient steps on a sphere that shrinks and grows", []advlib.Norm{advlib.L2}, true, one(func(advlib.Ball) advlib.Attack { return attack.DDN{} })},
	{"fab", "FAB: projections on the linearised boundary, back and forth", convex, true, one(func(b advlib.Ball) advlib.Attack { return attack.FAB{Norm: b.Norm} })},
	{"fab-t", "FAB towards each of the nine most likely classes", convex, true, one(func(b advlib.Ball) advlib.Attack { return attack.FABT(b.Norm) })},
	{"ead", "EAD: Carlini & Wagner with an elastic net", []advlib.Norm{advlib.L1}, true, one(func(advlib.Ball) advlib.Attack { return attack.EAD{} })},
	{"jsma", "JSMA: pairs of values by their saliency, up or down", []advlib.Norm{advlib.L0}, true, one(func(advlib.Ball) advlib.Attack { return attack.JSMA{BothDirections: true, Gamma: 1} })},
	{"sigma-zero", "σ-zero: gradient steps on a smooth stand-in for L0", []advlib.Norm{advlib.L0}, true, one(func(advlib.Ball) advlib.Attack { return attack.SigmaZero{} })},
	{"fmn", "FMN: gradient steps in a ball that shrinks and grows", every, true, one(func(b advlib.Ball) advlib.Attack { return attack.FMN{Norm: b.Norm} })},
}

func carliniWagner(b advlib.Ball) advlib.Attack {
	switch b.Norm {
	case advlib.Norm(advlib.Linf):
		return attack.CarliniWagnerLinf{}
	case advlib.Norm(advlib.L0):
		return attack.CarliniWagnerL0{}
	}
	return attack.CarliniWagner{}
}

var presets = []choice{
	{"fast", "fgm, and PGD with 10 steps on the margin", convex, false, func(b advlib.Ball, _ int) []advlib.Attack {
		return []advlib.Attack{attack.FGM{Ball: b}, attack.PGD{Ball: b, Loss: advlib.Margin, Steps: 10}}
	}},
	{"standard", "attack.Standard: fgm, pgd, PGD towards the nine most likely classes; in L2 also cw", convex, false, func(b advlib.Ball, _ int) []advlib.Attack { return attack.Standard(b) }},
	{"autoattack", "AutoAttack's version standard: apgd-ce, apgd-t, fab-t, square; takes far longer than standard", convex, false, func(b advlib.Ball, classes int) []advlib.Attack {
		return attack.AutoAttack{Ball: b}.Attacks(classes)
	}},
}

// listed writes a table for the help.
func listed(choices []choice) string {
	var b strings.Builder
	for _, c := range choices {
		about := c.about
		if !slices.Equal(c.norms, convex) {
			about += "; in " + normNames(c.norms)
		}
		if c.minimal {
			about += " (no budget)"
		}
		fmt.Fprintf(&b, "  %-12s %s\n", c.name, about)
	}
	return strings.TrimRight(b.String(), "\n")
}

func normNames(norms []advlib.Norm) string {
	var all []string
	for _, n := range norms {
		all = append(all, n.String())
	}
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

func names(choices []choice) string {
	var all []string
	for _, c := range choices {
		all = append(all, c.name)
	}
	return strings.Join(all, ", ")
}

// find returns the choice of that name for a norm; what is "attack" or "preset".
func find(what, name string, choices []choice, norm advlib.Norm) (choice, error) {
	i := slices.IndexFunc(choices, func(c choice) bool { return c.name == name })
	if i < 0 {
		return choice{}, misuse("there is no %s %q: there are %s", what, name, names(choices))
	}
	if c := choices[i]; slices.Contains(c.norms, norm) {
		return c, nil
	}
	hint := ""
	if what == "preset" {
		hint = ": name attacks with --attacks"
	}
	return choice{}, misuse("the %s %s is for %s, not for %v%s", what, name, normNames(choices[i].norms), norm, hint)
}

// picked returns the choices of the given names, or, without any, the preset.
func picked(names []string, preset string, norm advlib.Norm) ([]choice, error) {
	if len(names) == 0 {
		c, err := find("preset", preset, presets, norm)
		return []choice{c}, err
	}
	var all []choice
	for _, name := range names {
		c, err := find("attack", name, attacks, norm)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// attacksOn returns the attacks of choices on balls of the given budgets. One without a budget is there once.
func attacksOn(balls []advlib.Ball, choices []choice, classes int) []advlib.Attack {
	var all []advlib.Attack
	there := map[string]bool{}
	for _, ball := range balls {
		for _, c := range choices {
			for _, a := range c.make(ball, classes) {
				if !there[a.String()] { // its hyper-parameters are in its name
					there[a.String()] = true
					all = append(all, a)
				}
			}
		}
	}
	return all
}
