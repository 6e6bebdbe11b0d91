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
	// make returns the attacks for a ball.
	make func(ball advlib.Ball) []advlib.Attack
}

var convex = []advlib.Norm{advlib.Linf, advlib.L2, advlib.L1}

func one(make func(ball advlib.Ball) advlib.Attack) func(advlib.Ball) []advlib.Attack {
	return func(ball advlib.Ball) []advlib.Attack { return []advlib.Attack{make(ball)} }
}

var attacks = []choice{
	{"fgm", "one step along the gradient of the cross-entropy (FGSM in Linf)", convex, false, one(func(b advlib.Ball) advlib.Attack { return attack.FGM{Ball: b} })},
	{"bim", "10 steps along the gradient, from the original", convex, false, one(func(b advlib.Ball) advlib.Attack { return attack.BIM{Ball: b} })},
	{"mifgsm", "10 steps with momentum", convex, false, one(func(b advlib.Ball) advlib.Attack { return attack.MIFGSM{Ball: b} })},
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
	{"cw", "Carlini & Wagner: looks for the nearest adversarial example", []advlib.Norm{advlib.L2}, true, one(func(advlib.Ball) advlib.Attack { return attack.CarliniWagner{} })},
	{"deepfool", "DeepFool: the nearest boundary, step by step", []advlib.Norm{advlib.Linf, advlib.L2}, true, one(func(b advlib.Ball) advlib.Attack { return attack.DeepFool{Norm: b.Norm} })},
	{"ddn", "DDN: gradient steps on a sphere that shrinks and grows", []advlib.Norm{advlib.L2}, true, one(func(advlib.Ball) advlib.Attack { return attack.DDN{} })},
	{"fmn", "FMN: gradient steps in a ball that shrinks and grows", convex, true, one(func(b advlib.Ball) advlib.Attack { return attack.FMN{Norm: b.Norm} })},
}

var presets = []choice{
	{"fast", "fgm, and PGD with 10 steps on the margin", convex, false, func(b advlib.Ball) []advlib.Attack {
		return []advlib.Attack{attack.FGM{Ball: b}, attack.PGD{Ball: b, Loss: advlib.Margin, Steps: 10}}
	}},
	{"standard", "attack.Standard: fgm, pgd, PGD towards the nine most likely classes; in L2 also cw", convex, false, attack.Standard},
}

// listed writes a table for the help.
func listed(choices []choice) string {
	var b strings.Builder
	for _, c := range choices {
		about := c.about
		if len(c.norms) < len(convex) {
			about += "; only in " + normNames(c.norms)
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
	return strings.Join(all, " and ")
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
	return choice{}, misuse("the %s %s is for %s, not for %v", what, name, normNames(choices[i].norms), norm)
}

// chosen returns the attacks of the given names, or of the preset, on the ball of each budget. An attack without a budget
// is there once.
func chosen(names []string, preset string, norm advlib.Norm, eps []float64) ([]advlib.Attack, error) {
	var picked []choice
	for _, name := range names {
		c, err := find("attack", name, attacks, norm)
		if err != nil {
			return nil, err
		}
		picked = append(picked, c)
	}
	if len(names) == 0 {
		c, err := find("preset", preset, presets, norm)
		if err != nil {
			return nil, err
		}
		picked = []choice{c}
	}
	var all []advlib.Attack
	there := map[string]bool{}
	for _, ε := range eps {
		for _, c := range picked {
			for _, a := range c.make(advlib.BallOf(norm, ε)) {
				if !there[a.String()] { // its hyper-parameters are in its name
					there[a.String()] = true
					all = append(all, a)
				}
			}
		}
	}
	if !slices.ContainsFunc(picked, func(c choice) bool { return !c.minimal }) {
		return nil, misuse("%s takes no budget, so that there is no robust accuracy at an ε: name an attack with a budget beside it, such as pgd", strings.Join(names, ", "))
	}
	return all, nil
}
