package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// choice is a name for attacks on the command line.
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

// attacks are those of the library's index, by the names that they give themselves there.
var attacks = indexed(attack.Index())

func indexed(t attack.Listing) (all []choice) {
	for _, e := range t {
		for _, c := range e.Commands {
			norms := slices.DeleteFunc(slices.Clone(every), func(n advlib.Norm) bool { return !slices.Contains(c.Norms, n) })
			all = append(all, choice{c.Name, c.About, norms, e.Kind == attack.Nearest, func(b advlib.Ball, _ int) []advlib.Attack {
				return []advlib.Attack{c.Make(b)}
			}})
		}
	}
	return all
}

// none is the preset without attacks.
const none = "none"

var presets = []choice{
	{"fast", "fgm, and PGD with 10 steps on the margin", convex, false, func(b advlib.Ball, _ int) []advlib.Attack {
		return []advlib.Attack{attack.FGM{Ball: b}, attack.PGD{Ball: b, Loss: advlib.Margin, Steps: 10}}
	}},
	{"standard", "attack.Standard: fgm, pgd, PGD towards the nine most likely classes; in L2 also cw", convex, false,
		func(b advlib.Ball, _ int) []advlib.Attack { return attack.Standard(b) }},
	{"autoattack", "AutoAttack's version standard: apgd-ce, apgd-t, fab-t, square; takes far longer than standard", convex, false,
		func(b advlib.Ball, classes int) []advlib.Attack {
			return attack.AutoAttack{Ball: b}.Attacks(classes)
		}},
	{none, "no attack, for certificates alone: with --certify", every, false, func(advlib.Ball, int) []advlib.Attack { return nil }},
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

// inFile returns the attacks of a file in JSON: one, or a list. Those without a ball get each of the given ones.
func inFile(path string, balls []advlib.Ball) (all []choice, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, misuse("--attack-file: %w", err)
	}
	list := []json.RawMessage{text}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, misuse("--attack-file: %s: %w", path, err)
		}
	}
	if len(list) == 0 {
		return nil, misuse("--attack-file: %s: the list of attacks is empty", path)
	}
	for i, one := range list {
		made := map[advlib.Ball]advlib.Attack{}
		for _, b := range balls {
			a, err := (attack.Reader{Ball: b}).Read(one)
			if err != nil {
				return nil, misuse("--attack-file: %s, attack %d of %d: %w", path, i+1, len(list), err)
			}
			made[b] = a
		}
		all = append(all, choice{make: func(b advlib.Ball, _ int) []advlib.Attack { return []advlib.Attack{made[b]} }})
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
