package faces

import (
	"fmt"
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Door knows persons by their templates, and lets in whoever is near enough to one. It may look at a face more than
// once, each time with other pixels covered: then it goes by the least cosine of its looks, so that who would pass must
// pass in all of them.
type Door struct {
	// Persons are the names of those who are enrolled; person k has the label k.
	Persons []string
	// Threshold is the least cosine of a face with a template that counts as the same person. Enrol leaves it at −1, which
	// takes anybody for somebody: see [Door.At].
	Threshold float64

	net   *Net
	looks []look
}

// look is a way of looking at a face: with these pixels covered (nil: with none), as the templates were made, the mean
// direction on the sphere of each person's faces.
type look struct {
	covered   []bool
	templates [][]float32
}

// Enrol makes templates of each person of the examples, who is known by the name of the class. For each of covers,
// height × width long, the door looks once more, with these pixels covered in the middle gray. What an attacker wears
// there it does not see in that look, nor does it see what he has there of a face.
func (n *Net) Enrol(e *advlib.Examples, covers ...[]bool) (*Door, error) {
	persons := len(e.Classes)
	for _, y := range e.Y {
		persons = max(persons, int(y)+1)
	}
	if persons < 2 {
		return nil, fmt.Errorf("faces: %s has %d persons: a door tells at least 2 apart", e.Name, persons)
	}
	d := &Door{Threshold: -1, net: n}
	for k := range persons {
		name := nameOf(e, k)
		if slices.Contains(d.Persons, name) {
			return nil, fmt.Errorf("faces: %s has two persons called %q: persons are known by their names", e.Name, name)
		}
		d.Persons = append(d.Persons, name)
	}
	for k, covered := range append([][]bool{nil}, covers...) {
		if k > 0 && !slices.Contains(covered, true) {
			return nil, fmt.Errorf("faces: cover %d covers nothing: the door looks at the whole face in any case", k-1)
		}
		l := look{covered: covered}
		points, err := n.under(covered, e.X)
		if err != nil {
			return nil, err
		}
		if l.templates, err = templates(points, e, d.Persons); err != nil {
			return nil, err
		}
		d.looks = append(d.looks, l)
	}
	return d, nil
}

// templates are the mean directions of each person's points.
func templates(points [][]float32, e *advlib.Examples, persons []string) ([][]float32, error) {
	all := make([][]float32, len(persons))
	for i, p := range points {
		t := &all[e.Y[i]]
		if *t == nil {
			*t = make([]float32, len(p))
		}
		for j, v := range p {
			(*t)[j] += v
		}
	}
	for k, t := range all {
		length := math.Sqrt(cosine(t, t))
		if length == 0 {
			return nil, fmt.Errorf("faces: %s has no face of %s: enrol each with at least one", e.Name, persons[k])
		}
		for j := range t {
			t[j] /= float32(length)
		}
	}
	return all, nil
}

// nameOf is the name of a person of examples.
func nameOf(e *advlib.Examples, k int) string {
	if k < len(e.Classes) {
		return e.Classes[k]
	}
	return fmt.Sprint("person ", k)
}

// Template returns the direction on the sphere of a person who is enrolled, by the look at the whole face: the mean of
// the points of his faces.
func (d *Door) Template(person int) []float32 { return slices.Clone(d.looks[0].templates[person]) }

// persons returns for each example which of those who are enrolled it is, by name: −1 is a stranger.
func (d *Door) persons(e *advlib.Examples) []int {
	who := make([]int, e.Len())
	for i, y := range e.Y {
		who[i] = slices.Index(d.Persons, nameOf(e, int(y)))
	}
	return who
}

// Visitors returns the examples with the labels of what [Door.Identify] returns: persons who are enrolled, told by
// their names, have theirs, all others that of a stranger. It fails where there are strangers and the door, which has
// no threshold, knows none.
func (d *Door) Visitors(e *advlib.Examples) (*advlib.Examples, error) {
	v := *e
	v.Y, v.Classes = make([]int32, e.Len()), slices.Clone(d.Persons)
	for i, k := range d.persons(e) {
		if k < 0 {
			if d.Threshold <= -1 {
				return nil, fmt.Errorf("faces: %s of %s is not enrolled, and the door has no threshold: take Door.At first",
					nameOf(e, int(e.Y[i])), e.Name)
			}
			k = len(d.Persons)
		}
		v.Y[i] = int32(k)
	}
	if d.Threshold > -1 {
		v.Classes = append(v.Classes, stranger)
	}
	return &v, nil
}

// stranger is what those are called who are not enrolled.
const stranger = "a stranger"

// sharp is what cosines are multiplied by to be logits.
const sharp = 16

// Identify returns the door as a classifier of persons, and of one class more for a stranger if it has a threshold: its
// logits are 16 times the cosines, and 16 times the threshold. In worn, height × width long, are the pixels that an
// attacker may change; nil means all.
func (d *Door) Identify(worn []bool) (*advlib.Classifier, error) {
	classes, closed := slices.Clone(d.Persons), d.Threshold <= -1
	if !closed {
		classes = append(classes, stranger)
	}
	return d.classifier("who is it", classes, worn, func(cosines *Node) *Node {
		if closed {
			return cosines
		}
		n := cosines.Shape().Dimensions[0]
		threshold := ConstAsDType(cosines.Graph(), cosines.DType(), [][]float64{{d.Threshold}})
		return Concatenate([]*Node{cosines, BroadcastToDims(threshold, n, 1)}, 1)
	})
}

// Verify returns the door as a classifier that says whether a face is the given person: class 0 is refused, 1 accepted.
// In worn are the pixels that an attacker may change; nil means all.
func (d *Door) Verify(person int, worn []bool) (*advlib.Classifier, error) {
	if person < 0 || person >= len(d.Persons) {
		return nil, fmt.Errorf("faces: there is no person %d: %d are enrolled, from 0 on", person, len(d.Persons))
	}
	return d.classifier("is it "+d.Persons[person], []string{"refused", "accepted"}, worn, func(cosines *Node) *Node {
		own := Slice(cosines, AxisRange(), AxisElem(person))
		return Concatenate([]*Node{MulScalar(OnesLike(own), d.Threshold), own}, 1)
	})
}

func (d *Door) classifier(name string, classes []string, worn []bool, of func(cosines *Node) *Node) (*advlib.Classifier, error) {
	trained := d.net.trained
	spec := advlib.Spec{Name: trained.Name() + ", " + name, Input: trained.Input(), Box: trained.Box(), Backend: trained.Backend(),
		Store: trained.Store(), Classes: classes,
		Logits: func(scope *model.Scope, x *Node) *Node {
			return MulScalar(of(d.cosines(scope, x)), sharp)
		}}
	if worn != nil {
		if err := d.net.checkPixels(worn); err != nil {
			return nil, err
		}
		channels := spec.Input[2]
		for i, may := range worn {
			for c := range channels {
				f := advlib.Feature{Name: fmt.Sprintf("pixel %d, %d, channel %d", i/spec.Input[1], i%spec.Input[1], c), Change: advlib.Fixed}
				if may {
					f.Change = advlib.EitherWay
				}
				spec.Domain = append(spec.Domain, f)
			}
		}
	}
	c, err := advlib.NewClassifier(spec)
	if err != nil {
		return nil, fmt.Errorf("faces: %w", err)
	}
	return c, nil
}

// cosines are those of faces x [n, h, w, c] with the templates, the least of all looks: [n, persons].
func (d *Door) cosines(scope *model.Scope, x *Node) *Node {
	var least *Node
	for _, l := range d.looks {
		seen := x
		if l.covered != nil {
			dims := x.Shape().Dimensions
			over := Const(x.Graph(), [][][]bool{rows(l.covered, dims[2])}) // [1, h, w]
			seen = Where(BroadcastToDims(InsertAxes(over, -1), dims...), MulScalar(OnesLike(x), d.net.gray()), x)
		}
		templates := ConstAsDType(x.Graph(), x.DType(), l.templates) // [persons, dimensions]
		point := d.net.outputs(scope.Store().RootScope(), seen)[1]   // a scope of its own, as each has its variables once
		c := Einsum("nd,kd->nk", point, templates)
		if least == nil {
			least = c
		} else {
			least = Min(least, c)
		}
	}
	return least
}

// rows of a picture.
func rows(pixels []bool, width int) (of [][]bool) { return slices.Collect(slices.Chunk(pixels, width)) }
