package signs

import (
	"context"
	"fmt"
	"slices"

	"advlab/advlib"
)

// StripPlaces are where an attacker may try two strips on a sign: at each pair of five heights, as [Strips] has them,
// as far as they fit on it.
func StripPlaces(on Outline) (places [][]Sticker) {
	heights := []float64{-0.62, -0.31, 0, 0.31, 0.62}
	for i, above := range heights {
		for _, below := range heights[i+1:] {
			if s := Strips(on, above, below); checkStickers(on, s) == nil {
				places = append(places, s)
			}
		}
	}
	return places
}

// PatchPlaces are where an attacker may try one square on a sign: a [Patch] at each point of a grid of three by three,
// as far as they fit on it.
func PatchPlaces(on Outline) (places [][]Sticker) {
	for _, y := range []float64{-0.5, 0, 0.5} {
		for _, x := range []float64{-0.5, 0, 0.5} {
			if s := Patch(on, x, y); checkStickers(on, s) == nil {
				places = append(places, s)
			}
		}
	}
	return places
}

// Place chooses where the stickers go: it tries each of the places, [StripPlaces] and [PatchPlaces] if none are given,
// by a campaign of a quarter of the steps on the views of two thirds of the pictures, and takes the one that works on
// most views of the other third, the first of equals. Where there are fewer than three pictures, a third of the views
// is left out instead. It returns the campaign with these stickers, and on how many of the views that were left out
// each place works.
//
// The place is a choice as the colours are: chosen on the views on which success is reported, it would make that look
// higher than it is. Give views to practise on, and report on others.
func (a Campaign) Place(ctx context.Context, c *advlib.Classifier, w *Views, places ...[]Sticker) (Campaign, []advlib.Rate, error) {
	if c == nil || w == nil {
		return a, nil, fmt.Errorf("signs: %v: there is no classifier, or there are no views: give both", a)
	}
	if len(places) == 0 {
		places = slices.Concat(StripPlaces(a.Outline), PatchPlaces(a.Outline))
	}
	if w.Len() < 3 {
		return a, nil, fmt.Errorf("signs: %v: %d views to choose a place on: give at least 3", a, w.Len())
	}
	practice, left := w.thirds()
	best, rates := -1, make([]advlib.Rate, len(places))
	for i, stickers := range places {
		short := a
		short.Stickers = stickers
		if short.Steps = defaultSteps / 4; a.Steps > 0 {
			short.Steps = max(a.Steps/4, 1)
		}
		p, _, err := short.Fit(ctx, c, practice)
		if err != nil {
			return a, nil, err
		}
		r, err := advlib.Settings{BatchSize: left.Len()}.Run(ctx, c, left.Examples, p.On(left))
		if err != nil {
			return a, nil, err
		}
		if rates[i] = r.SuccessRate(); best < 0 || rates[i].Value() > rates[best].Value() {
			best = i
		}
	}
	a.Stickers = places[best]
	return a, rates, nil
}

// thirds returns the views of two thirds of the pictures, and those of the others.
func (w *Views) thirds() (two, one *Views) {
	at := map[int]int{} // which picture of these views
	for _, k := range w.Of {
		if _, met := at[k]; !met {
			at[k] = len(at)
		}
	}
	var most, rest []int
	for row, k := range w.Of {
		if which := at[k]; len(at) >= 3 && which%3 == 2 || len(at) < 3 && row%3 == 2 {
			rest = append(rest, row)
		} else {
			most = append(most, row)
		}
	}
	return w.part(most), w.part(rest)
}

// part are the views of some rows.
func (w *Views) part(rows []int) *Views {
	p := &Views{Examples: w.Examples.Select(rows), plane: w.plane, box: w.box, view: w.view}
	for _, row := range rows {
		p.Of = append(p.Of, w.Of[row])
	}
	return p
}
