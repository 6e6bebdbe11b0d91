package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"advlab/advlib"
)

// Grouped are examples of which some belong together, as the pictures that a camera took of the same sign while the car
// came nearer. A model that has seen one of them in training has seen them all: a split must keep them together, and an
// interval must be of groups.
type Grouped struct {
	*advlib.Examples
	// Group names the group of each example. Where each is a group of its own, the names are all different.
	Group []string
}

// Groups returns the names of the groups, in the order in which they come first.
func (g *Grouped) Groups() []string {
	var names []string
	seen := map[string]bool{}
	for _, name := range g.Group {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// Select returns the examples of the given rows, in that order.
func (g *Grouped) Select(rows []int) *Grouped {
	s := &Grouped{Examples: g.Examples.Select(rows), Group: make([]string, len(rows))}
	for i, r := range rows {
		s.Group[i] = g.Group[r]
	}
	return s
}

// Split draws whole groups for the test, from each class about the given share of its groups, in 0..1: at least one,
// and all but one at most. No group is in both parts. It fails where a class has one group only. The same seed gives
// the same split; the order of the examples is kept.
func (g *Grouped) Split(test float64, seed uint64) (trainPart, testPart *Grouped, err error) {
	if !(test > 0 && test < 1) {
		return nil, nil, fmt.Errorf("dataset: %s: a share of %g for the test makes no split: give a number between 0 and 1", g.Name, test)
	}
	class := map[string]int32{}
	of := map[int32][]string{} // the groups of each class
	for i, name := range g.Group {
		y, met := class[name]
		if met && y != g.Y[i] {
			return nil, nil, fmt.Errorf("dataset: %s: the group %s has the classes %d and %d: a group must be of one", g.Name, name, y, g.Y[i])
		}
		if !met {
			class[name] = g.Y[i]
			of[g.Y[i]] = append(of[g.Y[i]], name)
		}
	}
	chosen := map[string]bool{}
	for y := range int32(math.MaxInt32) {
		if len(of) == 0 {
			break
		}
		names, some := of[y]
		if !some {
			continue
		}
		delete(of, y)
		if len(names) < 2 {
			return nil, nil, fmt.Errorf("dataset: %s: the class %s has one group only, %s: it cannot be in both parts", g.Name, g.className(y),
				names[0])
		}
		n := min(max(int(math.Round(test*float64(len(names)))), 1), len(names)-1)
		random := rand.New(rand.NewPCG(seed, uint64(y))) // each class's own, so that one more class changes no other
		for _, k := range random.Perm(len(names))[:n] {
			chosen[names[k]] = true
		}
	}
	var trainRows, testRows []int
	for i, name := range g.Group {
		if chosen[name] {
			testRows = append(testRows, i)
		} else {
			trainRows = append(trainRows, i)
		}
	}
	return g.Select(trainRows), g.Select(testRows), nil
}

func (g *Grouped) className(y int32) string {
	if int(y) < len(g.Classes) {
		return g.Classes[y]
	}
	return fmt.Sprint(y)
}

// Shots draws n examples of each class to train on, as one learns a face from a few photographs, and leaves the others
// for the test. It fails where a class has no more than n. The same seed gives the same split; the order of the
// examples is kept.
func Shots(e *advlib.Examples, n int, seed uint64) (train, test *advlib.Examples, err error) {
	if n < 1 {
		return nil, nil, fmt.Errorf("dataset: %s: %d examples of each class to train on are asked for: give at least 1", e.Name, n)
	}
	of := map[int32][]int{}
	for i, y := range e.Y {
		of[y] = append(of[y], i)
	}
	var trainRows, testRows []int
	for y, rows := range of {
		if len(rows) <= n {
			return nil, nil, fmt.Errorf("dataset: %s: the class %s has %d examples: %d to train on leave none for the test", e.Name,
				(&Grouped{Examples: e}).className(y), len(rows), n)
		}
		random := rand.New(rand.NewPCG(seed, uint64(y)))
		random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		trainRows, testRows = append(trainRows, rows[:n]...), append(testRows, rows[n:]...)
	}
	slices.Sort(trainRows)
	slices.Sort(testRows)
	return e.Select(trainRows), e.Select(testRows), nil
}

// Apart draws whole classes: a part for each of the given numbers of classes, and what is left as the last one. Persons
// of one part are strangers to what has learnt from another. In each part the labels are 0, 1, … in the old order, and
// every class keeps its name, its old number where it had none. The same seed gives the same parts.
func Apart(e *advlib.Examples, seed uint64, classes ...int) ([]*advlib.Examples, error) {
	n, wanted := len(e.Classes), 0
	for _, y := range e.Y {
		n = max(n, int(y)+1)
	}
	for _, k := range classes {
		if k < 1 {
			return nil, fmt.Errorf("dataset: %s: a part of %d classes is asked for: give at least 1", e.Name, k)
		}
		wanted += k
	}
	if wanted >= n {
		return nil, fmt.Errorf("dataset: %s: parts of %d classes leave none of its %d for the last part", e.Name, classes, n)
	}
	order := rand.New(rand.NewPCG(seed, 0)).Perm(n)
	var parts []*advlib.Examples
	for _, k := range append(slices.Clone(classes), n-wanted) {
		in := slices.Sorted(slices.Values(order[:k]))
		order = order[k:]
		var rows []int
		for i, y := range e.Y {
			if _, is := slices.BinarySearch(in, int(y)); is {
				rows = append(rows, i)
			}
		}
		part := e.Select(rows)
		part.Y, part.Classes = slices.Clone(part.Y), nil
		for i, y := range part.Y {
			k, _ := slices.BinarySearch(in, int(y))
			part.Y[i] = int32(k)
		}
		for _, y := range in {
			part.Classes = append(part.Classes, (&Grouped{Examples: e}).className(int32(y)))
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// Interval returns the 95 % interval of a share of the examples, of which is says which they are: the percentiles of
// 2000 bootstrap samples of whole groups, drawn from the seed 0. Pictures of one sign are right or wrong together, so
// that an interval that counted them one by one, such as Wilson's, would be too narrow. It fails if is has another
// length than the examples.
func (g *Grouped) Interval(is []bool) (low, high float64, err error) {
	if len(is) != len(g.Group) || len(is) == 0 {
		return 0, 0, fmt.Errorf("dataset: %s: %d answers to %d examples: give one for each", g.Name, len(is), len(g.Group))
	}
	names := g.Groups()
	at := make(map[string]int, len(names))
	for i, name := range names {
		at[name] = i
	}
	count, of := make([]float64, len(names)), make([]float64, len(names))
	for i, name := range g.Group {
		k := at[name]
		of[k]++
		if is[i] {
			count[k]++
		}
	}
	const samples = 2000
	shares := make([]float64, samples)
	r := rand.New(rand.NewPCG(0, 0))
	for s := range shares {
		var hits, n float64
		for range names {
			k := r.IntN(len(names))
			hits, n = hits+count[k], n+of[k]
		}
		shares[s] = hits / n
	}
	slices.Sort(shares)
	return shares[samples/40], shares[samples-1-samples/40], nil
}
