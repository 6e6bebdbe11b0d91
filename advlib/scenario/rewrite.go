package scenario

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Rewriting looks for edits of a link that make a model take its page for another class. It asks the model about links
// that exist, and about no others: moving single columns of a link makes records that no link has (Pierazzi et al.
// 2020, arXiv:1911.02277, call this the problem space). Edits that need another name to be registered are left out, as
// a record has more about a name than the link.
type Rewriting struct {
	// Depth is how many edits may follow each other; 0 means 3.
	Depth int
	// Width is how many links go on to the next edit: of those whose answers have scores the best, else the shortest; 0
	// means 6.
	Width int
	// Queries is the most links that are asked about; 0 means 400.
	Queries int
}

// Rewritten is a record whose link was edited.
type Rewritten struct {
	// Realised has the link and its edits.
	Realised
	// X is the input with the link's columns, Class what the model says of it, and Passed whether that is another class
	// than the truth. What did not pass has the link that came nearest, of a model that gives scores.
	X      []float32
	Class  int32
	Passed bool
	// Queries is how many inputs the model was asked about.
	Queries int

	other float64 // see score
}

// LinkOf returns an error unless the columns of an input that a link determines are those of this link.
func (r *Records) LinkOf(x []float32, l Link) error {
	f := l.Features()
	for name, at := range r.linkColumns() {
		if v := float32(f[name]); math.Abs(float64(x[at]-v)) > 1e-5*(1+math.Abs(float64(v))) {
			return fmt.Errorf("scenario: the column %q is %g, of the link %v it is %g: is it the link of this record?", name, x[at], l, v)
		}
	}
	return nil
}

// linkColumns are the coordinates of the columns that a link determines, of those that the records have.
func (r *Records) linkColumns() map[string]int {
	of := map[string]int{}
	at := 0
	for _, f := range r.Domain {
		if slices.Contains(LinkColumns, f.Name) {
			of[f.Name] = at
		}
		at += max(1, f.OneHot)
	}
	return of
}

// Rewrite edits the link of an input x of that true class until v says something else. Answers of labels are enough. It
// is an error if the link is not that of the input, by its columns.
func (r *Records) Rewrite(ctx context.Context, v advlib.Victim, x []float32, truth int32, l Link, how Rewriting) (*Rewritten, error) {
	how.Depth, how.Width, how.Queries = orElse(how.Depth, 3), orElse(how.Width, 6), orElse(how.Queries, 400)
	switch {
	case len(x) != r.Coordinates():
		return nil, fmt.Errorf("scenario: %d values are no input: records of %s have %d", len(x), r.Threat.Name, r.Coordinates())
	case how.Depth < 0 || how.Width < 0 || how.Queries < 0:
		return nil, fmt.Errorf("scenario: %d edits of %d links with %d queries: none of these is below 0", how.Depth, how.Width, how.Queries)
	}
	if err := r.LinkOf(x, l); err != nil {
		return nil, err
	}
	columns := r.linkColumns()
	ask := func(of []Rewritten) error {
		for i := range of {
			of[i].X = slices.Clone(x)
			if len(of[i].Edits) == 0 {
				continue // the table may have rounded
			}
			f := of[i].Link.Features()
			for name, at := range columns {
				of[i].X[at] = float32(f[name])
			}
		}
		return score(ctx, v, truth, of)
	}
	first := []Rewritten{{Realised: Realised{Link: l}}}
	if err := ask(first); err != nil {
		return nil, err
	}
	best, beam, asked := first[0], first, 1
	seen := map[string]bool{l.raw: true}
	for step := 0; step < how.Depth && !best.Passed; step++ {
		var next []Rewritten
		for _, s := range beam {
			for _, e := range s.Link.Edits() {
				if !seen[e.Link.raw] && !strings.HasPrefix(e.Name, otherName) && asked+len(next) < how.Queries {
					seen[e.Link.raw] = true
					next = append(next, Rewritten{Realised: Realised{e.Link, append(slices.Clone(s.Edits), e.Name)}})
				}
			}
		}
		if len(next) == 0 {
			break
		}
		if err := ask(next); err != nil {
			return nil, err
		}
		asked += len(next)
		slices.SortStableFunc(next, func(a, b Rewritten) int {
			return cmp.Or(cmp.Compare(b.other, a.other), cmp.Compare(len(a.Link.raw), len(b.Link.raw)))
		})
		if next[0].other > best.other {
			best = next[0]
		}
		beam = next[:min(how.Width, len(next))]
	}
	best.Queries = asked
	return &best, nil
}

// Rewrites are records whose links were edited.
type Rewrites struct {
	// Originals are the examples whose links are known and theirs, Rewritten the same with the columns of the edited
	// links.
	Originals, Rewritten *advlib.Examples
	// Links are the edited links, of each example.
	Links []*Rewritten
	// Missed counts those that pass as they are, and Passed those that pass after edits, of those that did not before.
	Missed int
	Passed advlib.Rate
	// Queries is the median of the inputs that were asked about, of those that pass after edits.
	Queries int
	// LeftOut counts the examples without a link, or with one whose columns are others.
	LeftOut int
}

// String says in a line what came out.
func (w *Rewrites) String() string {
	return fmt.Sprintf("links edited: %v %s made to pass, %d queries in the median; %d passed as they are, %d left out, whose links are "+
		"not known or not theirs", w.Passed, w.Passed.Interval(), w.Queries, w.Missed, w.LeftOut)
}

// RewriteAll edits the links of examples, which are given by the examples' numbers, with [Records.Rewrite]. What does
// not pass keeps the link that came nearest; so an attack on the page can go on from there, with Rewritten.
func (r *Records) RewriteAll(ctx context.Context, v advlib.Victim, e *advlib.Examples, links map[int64]Link,
	how Rewriting) (*Rewrites, error) {
	w := &Rewrites{}
	size := r.Coordinates()
	flat := tensors.MustCopyFlatData[float32](e.X)
	var rows, queries []int
	var moved []float32
	for i := range e.Len() {
		x := flat[i*size : (i+1)*size]
		l, known := links[e.Number(i)]
		if !known || r.LinkOf(x, l) != nil {
			w.LeftOut++
			continue
		}
		one, err := r.Rewrite(ctx, v, x, e.Y[i], l, how)
		if err != nil {
			return nil, err
		}
		rows, moved, w.Links = append(rows, i), append(moved, one.X...), append(w.Links, one)
		if one.Passed && len(one.Edits) == 0 {
			w.Missed++
			continue
		}
		w.Passed.Of++
		if one.Passed {
			w.Passed.Count++
			queries = append(queries, one.Queries)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("scenario: none of the %d examples has a link that is its own: give them by the examples' numbers, which are "+
			"lines of their file", e.Len())
	}
	if slices.Sort(queries); len(queries) > 0 {
		w.Queries = queries[len(queries)/2]
	}
	w.Originals = e.Select(rows)
	again := *w.Originals
	again.X = tensors.FromFlatDataAndDimensions(moved, len(rows), size)
	w.Rewritten = &again
	return w, nil
}

// score asks about inputs, and notes by how much the best other class is ahead of the truth; of labels, 1 or −1. What
// is rejected is behind all others.
func score(ctx context.Context, v advlib.Victim, truth int32, of []Rewritten) error {
	var flat []float32
	for _, s := range of {
		flat = append(flat, s.X...)
	}
	x := tensors.FromFlatDataAndDimensions(flat, len(of), len(flat)/len(of))
	defer advlib.Free(x)
	said, err := v.Query(ctx, x)
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	for i, a := range said {
		s := &of[i]
		s.Class, s.other = a.Class(), -1
		s.Passed = s.Class >= 0 && s.Class != truth
		z := a.Logits(v.Signature().Classes)
		switch {
		case s.Class < 0:
			s.other = math.Inf(-1)
		case z != nil:
			s.other = math.Inf(-1)
			for k, v := range z {
				if int32(k) != truth {
					s.other = max(s.other, float64(v-z[truth]))
				}
			}
		case s.Passed:
			s.other = 1
		}
	}
	return nil
}

func orElse(v, or int) int {
	if v == 0 {
		return or
	}
	return v
}
