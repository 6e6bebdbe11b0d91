package craft

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"advlab/advlib"
)

// Described is an attack that says in one table what its fields are: their defaults, what they may be, and how its name
// shows them. [Name], [Threat], [Plan] and [Ready] are all read from it, so that nothing is said twice:
//
//	func (a *Signs) Describe(d *craft.Description) {
//		d.Gradients()
//		d.Ball(&a.Ball, advlib.Linf)
//		d.Goal(&a.Goal)
//		d.Count(&a.Steps, 10)
//		d.Size(&a.StepSize, a.Ball.Radius/4).As("α = %g")
//		d.Name("signs-%d", a.Steps)
//		d.Passes(a.Steps, a.Steps)
//	}
//
// The receiver is a pointer to a copy: a field that is 0 has its default as soon as its line is done, so that what
// follows, as the name above, sees that. Lines come in the order in which the name shows their fields.
type Described interface {
	Describe(d *Description)
}

// of is a pointer to an attack that can be described.
type of[A any] interface {
	*A
	Described
}

// Name returns the attack's name with what differs from the defaults, "PGD-40 Linf ≤ 0.1, Margin": what String returns.
func Name[A any, P of[A]](a A) string { return describe(P(&a), nil, false).String() }

// Threat checks the fields against the victim, and returns what the attack may change and what it wants: what Threat
// returns.
func Threat[A any, P of[A]](a A, v advlib.Victim) (advlib.Threat, error) {
	d := describe(P(&a), v, false)
	return d.threat, d.err
}

// Plan returns how many passes an example takes when nothing stops early: what Plan of an [advlib.Planner] returns.
func Plan[A any, P of[A]](a A, v advlib.Victim) (forward, backward float64, known bool) {
	d := describe(P(&a), v, false)
	return d.passes()
}

// Filled returns the attack with its defaults in place of zeros.
func Filled[A any, P of[A]](a A) A {
	describe(P(&a), nil, false)
	return a
}

// Ready returns the attack with its defaults in place of zeros, for Perturb. It is an error if it cannot do what the
// batch asks for, such as go for a target, which a wrapper may have set.
func Ready[A any, P of[A]](a A, v advlib.Victim, b advlib.Batch) (A, error) {
	return a, describe(P(&a), v, b.Target != nil).err
}

// CheckTargeted returns an error if an attack cannot be given targets by a wrapper; one that is not [Described] does
// not say.
func CheckTargeted(a advlib.Attack, v advlib.Victim) error {
	if p, ok := described(a); ok {
		return describe(p, v, true).err
	}
	return nil
}

// PlanOf returns what an attack announces, with a target for each example or without.
func PlanOf(a advlib.Attack, v advlib.Victim, targeted bool) (forward, backward float64, known bool) {
	if p, ok := described(a); ok {
		return describe(p, v, targeted).passes()
	}
	if p, ok := a.(advlib.Planner); ok {
		return p.Plan(v)
	}
	return 0, 0, false
}

// described returns a copy of an attack that can be described.
func described(a advlib.Attack) (Described, bool) {
	if a == nil {
		return nil, false
	}
	p := reflect.New(reflect.TypeOf(a))
	p.Elem().Set(reflect.ValueOf(a))
	d, ok := p.Interface().(Described)
	return d, ok
}

// Describe returns the description of the attack that a points to, and fills in its defaults.
func Describe(a Described) *Description { return describe(a, nil, false) }

// DescribeIn is [Describe] with the given ball where the attack has a ball, and its norm where it has a norm: for an
// index.
func DescribeIn(a Described, at advlib.Ball) *Description {
	d := &Description{attack: reflect.ValueOf(a).Elem(), at: &at}
	a.Describe(d)
	return d
}

func describe(a Described, v advlib.Victim, targeted bool) *Description {
	d := &Description{attack: reflect.ValueOf(a).Elem(), victim: v, targeted: targeted}
	a.Describe(d)
	return d
}

// Description collects what [Described] says. The first check that fails is the attack's error.
type Description struct {
	attack   reflect.Value
	victim   advlib.Victim // that the attack is checked against; nil to leave such checks out
	targeted bool
	at       *advlib.Ball // what is written into an attack's ball or norm; nil for nothing

	threat            advlib.Threat
	goal              advlib.Goal // as the name shows it
	name, where       string
	parts             []*Field
	err               error
	forward, backward float64
	planned, unknown  bool

	norms      []advlib.Norm
	gradients  bool
	scores     bool
	untargeted bool
	paper      string
}

// Field is a field in the table.
type Field struct {
	name  string
	given bool // it is not 0
	value any  // with the default
	zero  bool // it is 0 even so
	show  func() string
}

// field notes a field that ptr points to.
func (d *Description) field(ptr any, given bool) *Field {
	v := reflect.ValueOf(ptr).Elem()
	f := &Field{name: d.nameOf(ptr), given: given, value: v.Interface(), zero: v.IsZero()}
	d.parts = append(d.parts, f)
	return f
}

// nameOf returns the name of the field that ptr points to.
func (d *Description) nameOf(ptr any) string {
	if name := fieldAt(d.attack, reflect.ValueOf(ptr)); name != "" {
		return name
	}
	panic(fmt.Sprintf("craft: %v describes a %T that is none of its fields: give a pointer to a field", d.attack.Type(), ptr))
}

// fieldAt returns the name of the field of a struct that ptr points to, which may be one of a struct that is embedded;
// "" if there is none.
func fieldAt(of, ptr reflect.Value) string {
	for i := range of.NumField() {
		f, t := of.Field(i), of.Type().Field(i)
		if f.Type() == ptr.Type().Elem() && f.Addr().Pointer() == ptr.Pointer() {
			return t.Name
		}
		f = reflect.Indirect(f)
		if t.Anonymous && f.Kind() == reflect.Struct {
			if name := fieldAt(f, ptr); name != "" {
				return name
			}
		}
	}
	return ""
}

// As shows the field in the attack's name where it is not 0, by a format for its value, such as "α = %.6g".
func (f *Field) As(format string) {
	f.show = func() string {
		if strings.Contains(format, "%") {
			return fmt.Sprintf(format, f.value)
		}
		return format
	}
}

// Given says whether the field was set, where that does not show in its value.
func (f *Field) Given(set bool) { f.given = set }

// Refuse makes it an error if wrong holds.
func (d *Description) Refuse(wrong bool, format string, args ...any) {
	if wrong && d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// Check takes an error, if there is one.
func (d *Description) Check(err error) {
	if d.err == nil {
		d.err = err
	}
}

// Victim returns what the attack is checked against; nil where it is only named, or filled in.
func (d *Description) Victim() advlib.Victim { return d.victim }

// Targeted tells whether the attack is given a target for each example, by its own goal or by a wrapper.
func (d *Description) Targeted() bool { return d.targeted || d.threat.Goal.IsTargeted() }

// Gradients says that the attack needs a gradient: victims that have none are refused.
func (d *Description) Gradients() {
	d.gradients = true
	if d.victim == nil {
		return
	}
	c, err := advlib.WhiteBox(d.victim)
	if err == nil {
		err = c.Differentiable()
	}
	d.Check(err)
}

// Scores says that the attack asks for logits or probabilities, and refuses victims that tell less.
func (d *Description) Scores() {
	d.scores = true
	if d.victim != nil {
		d.Check(advlib.GivesScores(d.victim))
	}
}

// Ball is what the attack may change, in one of the norms.
func (d *Description) Ball(b *advlib.Ball, norms ...advlib.Norm) {
	if d.at != nil {
		*b = *d.at
	}
	d.norms, d.where = norms, b.String()
	d.threat.Norm, d.threat.Radius = b.Norm, b.Radius
	d.Check(b.Check())
	if d.err != nil {
		return
	}
	_, convex := b.Norm.(advlib.ConvexNorm)
	d.Refuse(!convex && !slices.Contains(norms, b.Norm), "the %v ball has no steepest ascent and no projection: use L1, L2 or Linf", b.Norm)
	d.Refuse(!slices.Contains(norms, b.Norm), "the %v ball is none that it searches: use %s", b.Norm, list(norms))
}

// ConvexBall is what the attack may change, in L1, L2, Linf or a [advlib.ConvexNorm] of the user's own: for attacks
// that use what such a norm offers, its projection and its direction of steepest ascent, and nothing else.
func (d *Description) ConvexBall(b *advlib.Ball) {
	norms := []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf}
	if _, convex := b.Norm.(advlib.ConvexNorm); convex && d.at == nil && !slices.Contains(norms, b.Norm) {
		d.Ball(b, append(norms, b.Norm)...)
		return
	}
	d.Ball(b, norms...)
}

// Norm is what the attack makes as small as possible, one of the norms.
func (d *Description) Norm(n *advlib.Norm, norms ...advlib.Norm) {
	if d.at != nil {
		*n = d.at.Norm
	}
	if *n == nil {
		d.norms, d.where = norms, "no norm"
		d.Refuse(true, "the Norm is unset: say how the perturbation is measured, by %s", list(norms))
		return
	}
	d.Minimal(*n)
	d.norms = norms
	d.Refuse(!slices.Contains(norms, *n), "the Norm %v is none that it minimises: use %s", *n, list(norms))
}

// Minimal says that the attack makes the given norm as small as possible.
func (d *Description) Minimal(n advlib.Norm) {
	d.norms, d.where = []advlib.Norm{n}, n.String()+" minimal"
	d.threat.Norm, d.threat.Radius = n, math.Inf(1)
}

// Budget is what the attack may change where that is no ball of its own: a ball that contains it, and how the name
// shows it.
func (d *Description) Budget(b advlib.Ball, shown string) {
	d.norms, d.where = []advlib.Norm{b.Norm}, shown
	d.threat.Norm, d.threat.Radius = b.Norm, b.Radius
}

// Runs is the attack that a wrapper runs, n times on each example, and whose threat and passes are its own. What says
// what for, as in "to repeat". It returns the threat.
func (d *Description) Runs(a advlib.Attack, n int, what string) advlib.Threat {
	return d.RunsOn(d.victim, a, n, what)
}

// RunsOn is [Description.Runs] for a wrapper that runs the attack on another victim.
func (d *Description) RunsOn(v advlib.Victim, a advlib.Attack, n int, what string) advlib.Threat {
	d.Refuse(a == nil, "the Attack %s is nil", what)
	if d.victim != nil && d.err == nil {
		d.Threat(a.Threat(v))
		d.Inner(v, a, n)
	}
	return d.threat
}

// Threat is what the attack may change and what it wants, by that of others that it runs, or their error.
func (d *Description) Threat(t advlib.Threat, err error) {
	d.threat = t
	d.Check(err)
}

// Inner is an attack that a wrapper runs n times on each example, with the target that it is given itself, if it is
// given one.
func (d *Description) Inner(v advlib.Victim, a advlib.Attack, n int) {
	if d.targeted {
		d.Check(CheckTargeted(a, v))
	}
	forward, backward, known := PlanOf(a, v, d.Targeted())
	d.PassesOf(n, forward, backward, known)
}

func list(norms []advlib.Norm) string {
	names := make([]string, len(norms))
	for i, n := range norms {
		names[i] = n.String()
	}
	return strings.Join(names, ", ")
}

// Goal is what the attack wants.
func (d *Description) Goal(g *advlib.Goal) { d.goal, d.threat.Goal = *g, *g }

// Untargeted says why the attack cannot be given targets.
func (d *Description) Untargeted(why string) {
	d.untargeted = true
	d.Refuse(d.targeted, "%v has no targeted form: %s", d, why)
}

// Loss is what the attack raises; nil means otherwise.
func (d *Description) Loss(l *advlib.Loss, otherwise advlib.Loss) *Field {
	given := *l
	if given == nil {
		*l = otherwise
	}
	f := d.field(l, given != nil && given != otherwise)
	f.As("%v")
	if !reflect.TypeOf(*l).Comparable() {
		d.Refuse(true, "the loss %v is of type %T, which == does not compare: compiled steps are kept by it, so make it comparable", *l, *l)
		return f
	}
	if d.victim == nil {
		return f
	}
	kind := ""
	if d.Targeted() {
		kind = " with a target"
	}
	least, classes := (*l).MinClasses(d.Targeted()), d.victim.Signature().Classes
	d.Refuse(classes < least, "the loss %v needs at least %d classes%s, the classifier has %d: use Margin", *l, least, kind, classes)
	return f
}

// Count is a number of something; 0 means otherwise.
func (d *Description) Count(n *int, otherwise int) *Field {
	given := *n != 0
	d.Refuse(*n < 0, "%s = %d is below 0: leave it at 0 for the default, or give a positive number", d.nameOf(n), *n)
	if !given {
		*n = otherwise
	}
	return d.field(n, given)
}

// Queries is the budget of an attack by questions alone, see [Inquest]: how many inputs are answered for each example,
// the original and the returned point included; 0 means otherwise. The attack's field must be named Queries.
func (d *Description) Queries(n *int, otherwise int) *Field {
	f := d.Count(n, otherwise)
	d.Passes(max(0, *n-2), 0)
	return f
}

// Size is a finite number of at least 0; 0 means otherwise.
func (d *Description) Size(v *float64, otherwise float64) *Field {
	return d.Number(v, otherwise, *v >= 0 && !math.IsInf(*v, 1),
		"is not a finite number ≥ 0: leave it at 0 for the default, or give a positive number")
}

// Share is a share of something, below 1; 0 means otherwise.
func (d *Description) Share(v *float64, otherwise float64) *Field {
	return d.Number(v, otherwise, *v >= 0 && *v < 1, "is not in [0, 1): leave it at 0 for the default, or give a share below 1")
}

// Portion is a share of something, up to all of it: what says of what. 0 means otherwise.
func (d *Description) Portion(v *float64, otherwise float64, what string) *Field {
	return d.Number(v, otherwise, *v >= 0 && *v <= 1, fmt.Sprintf("is not in (0, 1]: it is %s; leave it at 0 for %g", what, otherwise))
}

// Number is a number that is fine or not, with the words that say why not; 0 means otherwise.
func (d *Description) Number(v *float64, otherwise float64, fine bool, why string) *Field {
	given := *v != 0
	d.Refuse(!fine, "%s = %g %s", d.nameOf(v), *v, why)
	if !given {
		*v = otherwise
	}
	return d.field(v, given)
}

// Flag is a choice, which the name shows by the given words where it is made.
func (d *Description) Flag(v *bool, shown string) { d.field(v, *v).As(shown) }

// Part is a field of another kind, with its defaults already filled in, which the name always shows, by its String.
func (d *Description) Part(v fmt.Stringer) {
	d.field(v, true).As("%v")
}

// Name is what the name begins with, by a format.
func (d *Description) Name(format string, args ...any) { d.name = fmt.Sprintf(format, args...) }

// Passes says how many passes forward and backward an example takes when nothing stops early, for an estimate of the
// time left.
func (d *Description) Passes(forward, backward int) {
	d.PassesOf(1, float64(forward), float64(backward), true)
}

// PassesOf adds n times the passes of a part of the attack, if they are known; else those of the whole are not.
func (d *Description) PassesOf(n int, forward, backward float64, known bool) {
	d.forward, d.backward = d.forward+float64(n)*forward, d.backward+float64(n)*backward
	d.planned, d.unknown = true, d.unknown || !known
}

func (d *Description) passes() (forward, backward float64, known bool) {
	if d.unknown {
		return 0, 0, false
	}
	return d.forward, d.backward, d.planned
}

// Paper says where the attack comes from: "Madry et al. 2018, arXiv:1706.06083".
func (d *Description) Paper(p string) { d.paper = p }

// String returns the attack's name.
func (d *Description) String() string {
	s := d.name
	if d.where != "" {
		s += " " + d.where
	}
	if d.goal.IsTargeted() {
		s += ", " + d.goal.String()
	}
	for _, f := range d.parts {
		if f.given && f.show != nil {
			s += ", " + f.show()
		}
	}
	return s
}

// Err returns the first check that failed.
func (d *Description) Err() error { return d.err }

// Norms are those that the attack can be given, or the one that it has; nil of a wrapper.
func (d *Description) Norms() []advlib.Norm { return d.norms }

// ForIndex returns the rest of what an index says: whether the attack needs a gradient, whether it can be given a
// target, and its paper.
func (d *Description) ForIndex() (gradients, targeted bool, paper string) {
	return d.gradients, !d.untargeted, d.paper
}

// AsksScores tells whether the attack asks for logits or probabilities, without looking into a graph: one that neither
// does nor needs a gradient makes do with labels.
func (d *Description) AsksScores() bool { return d.scores }

// Values calls f for each field that is not 0 once the defaults are filled in.
func (d *Description) Values(f func(name string, value any)) {
	for _, p := range d.parts {
		if !p.zero {
			f(p.name, p.value)
		}
	}
}
