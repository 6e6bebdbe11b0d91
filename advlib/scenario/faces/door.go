package faces

import (
	"fmt"
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Door knows persons by their templates, and lets in whoever is near enough to one.
type Door struct {
	// Persons are the names of those who are enrolled; person k has the label k.
	Persons []string
	// Templates are their directions on the sphere: the mean of the points of their faces.
	Templates [][]float32
	// Threshold is the least cosine of a face with a template that counts as the same person. Enrol leaves it at −1, which
	// takes anybody for somebody: see [Door.At].
	Threshold float64

	net *Net
}

// Enrol makes a template of each person of the examples.
func (n *Net) Enrol(e *advlib.Examples) (*Door, error) {
	points, err := n.Points(e.X)
	if err != nil {
		return nil, err
	}
	persons := len(e.Classes)
	for _, y := range e.Y {
		persons = max(persons, int(y)+1)
	}
	if persons < 2 {
		return nil, fmt.Errorf("faces: %s has %d persons: a door tells at least 2 apart", e.Name, persons)
	}
	d := &Door{Persons: slices.Clone(e.Classes), Templates: make([][]float32, persons), Threshold: -1, net: n}
	for k := len(d.Persons); k < persons; k++ {
		d.Persons = append(d.Persons, fmt.Sprint("person ", k))
	}
	for i, p := range points {
		t := &d.Templates[e.Y[i]]
		if *t == nil {
			*t = make([]float32, len(p))
		}
		for j, v := range p {
			(*t)[j] += v
		}
	}
	for k, t := range d.Templates {
		length := math.Sqrt(cosine(t, t))
		if length == 0 {
			return nil, fmt.Errorf("faces: %s has no face of %s: enrol each with at least one", e.Name, d.Persons[k])
		}
		for j := range t {
			t[j] /= float32(length)
		}
	}
	return d, nil
}

// Scores are the cosines of faces with templates: of the same person, and of others.
type Scores struct{ Genuine, Impostor []float64 }

// Scores compares each face of the examples with all templates.
func (d *Door) Scores(e *advlib.Examples) (s Scores, err error) {
	points, err := d.net.Points(e.X)
	if err != nil {
		return s, err
	}
	for i, p := range points {
		for k, t := range d.Templates {
			if c := cosine(p, t); int(e.Y[i]) == k {
				s.Genuine = append(s.Genuine, c)
			} else {
				s.Impostor = append(s.Impostor, c)
			}
		}
	}
	slices.Sort(s.Genuine)
	slices.Sort(s.Impostor)
	return s, nil
}

// At returns the door with the least threshold at which at most the given share of the examples' impostor comparisons,
// faces with the templates of others, is accepted: a false-accept rate, in (0, 1).
func (d *Door) At(rate float64, e *advlib.Examples) (*Door, error) {
	if !(rate > 0 && rate < 1) {
		return nil, fmt.Errorf("faces: a false-accept rate of %g: give a share in (0, 1), such as 0.01", rate)
	}
	s, err := d.Scores(e)
	if err != nil {
		return nil, err
	}
	at := *d
	at.Threshold = s.threshold(rate)
	return &at, nil
}

// threshold is the least one that accepts at most so many of the impostors: just above the best of those that it
// refuses.
func (s Scores) threshold(rate float64) float64 {
	refused := len(s.Impostor) - int(rate*float64(len(s.Impostor)))
	if refused == 0 {
		return -1
	}
	return math.Nextafter(s.Impostor[refused-1], 2)
}

// Accepted returns the shares of impostor and genuine comparisons that a threshold accepts: the false-accept rate and
// the true-accept rate.
func (s Scores) Accepted(threshold float64) (impostor, genuine float64) {
	share := func(v []float64) float64 {
		at, _ := slices.BinarySearch(v, threshold)
		return float64(len(v)-at) / float64(max(len(v), 1))
	}
	return share(s.Impostor), share(s.Genuine)
}

// sharp is what cosines are multiplied by to be logits.
const sharp = 16

// Identify returns the door as a classifier of persons, and of one class more for a stranger if it has a threshold: its
// logits are 16 times the cosines, and 16 times the threshold. In worn, height × width long, are the pixels that an
// attacker may change; nil means all.
func (d *Door) Identify(worn []bool) (*advlib.Classifier, error) {
	classes, closed := slices.Clone(d.Persons), d.Threshold <= -1
	if !closed {
		classes = append(classes, "a stranger")
	}
	return d.classifier("who is it", classes, worn, func(cosines *Node) *Node {
		if closed {
			return cosines
		}
		n := cosines.Shape().Dimensions[0]
		return Concatenate([]*Node{cosines, BroadcastToDims(Const(cosines.Graph(), [][]float32{{float32(d.Threshold)}}), n, 1)}, 1)
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
			templates := ConstAsDType(x.Graph(), x.DType(), d.Templates) // [persons, dimensions]
			return MulScalar(of(Einsum("nd,kd->nk", d.net.outputs(scope, x)[1], templates)), sharp)
		}}
	if worn != nil {
		pixels := spec.Input[0] * spec.Input[1]
		if len(worn) != pixels {
			return nil, fmt.Errorf("faces: %d pixels say whether they may change, the faces have %d × %d", len(worn), spec.Input[0], spec.Input[1])
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

// face is the share of a picture that a face covers: an ellipse of 0.8 of the height and of the width.
const face = math.Pi / 4 * 0.8 * 0.8

// MostGlasses is the largest share of the face that glasses may cover: Sharif et al. (2016,
// https://doi.org/10.1145/2976749.2978392, section 5.1) have 6.5 % of the picture.
const MostGlasses = 0.12

// Glasses returns the pixels of the frame of a pair of glasses before the eyes of a face that fills a picture of height
// × width pixels, upright and in the middle, row by row: two rims, a bridge, and what goes to the ears. They are at
// most [MostGlasses] of the face.
func Glasses(height, width int) []bool {
	worn := make([]bool, height*width)
	for i := range worn {
		x := math.Abs((float64(i%width)+0.5)/float64(width)*2 - 1)
		y := (float64(i/width)+0.5)/float64(height)*2 - 1 - eyes
		rim := func(rx, ry float64) bool { return (x-0.33)*(x-0.33)/(rx*rx)+y*y/(ry*ry) <= 1 }
		worn[i] = rim(0.27, 0.19) && !rim(0.19, 0.125) || x < 0.08 && math.Abs(y+0.02) < 0.045 ||
			x > 0.58 && x < 0.78 && math.Abs(y+0.05) < 0.045
	}
	return worn
}

// eyes are at this height of a face, from −1 at the top to 1 at the bottom of its picture.
const eyes = -0.14

// Share returns which share of the face such pixels are, of all of a picture.
func Share(worn []bool) float64 {
	n := 0
	for _, may := range worn {
		if may {
			n++
		}
	}
	return float64(n) / (face * float64(len(worn)))
}
