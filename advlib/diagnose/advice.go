package diagnose

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// Advice is given as attacks where one of these would look further: they are printed as Go that can be pasted, with
// packages advlib and attack, and, in JSON, as what attack.FromJSON and --attack-file read. What is no attack is a
// comment.

// suggestion is one advice: an attack, or a sentence.
type suggestion struct {
	attack advlib.Attack
	text   string
}

func suggest(all ...advlib.Attack) (s []suggestion) {
	for _, a := range all {
		s = append(s, suggestion{attack: a})
	}
	return s
}

// say is advice that is no attack, whatever was found.
func say(lines ...string) func(*examiner) []suggestion {
	return func(*examiner) (s []suggestion) {
		for _, l := range lines {
			s = append(s, suggestion{text: "// " + l})
		}
		return s
	}
}

// advise writes suggestions into a finding. What the victim refuses as it stands, such as BPDA without its stand-in,
// has no form in JSON.
func (f *Finding) advise(v advlib.Victim, all []suggestion) {
	for _, s := range all {
		if s.attack == nil {
			f.Next = append(f.Next, s.text)
			continue
		}
		f.Next = append(f.Next, source(reflect.ValueOf(s.attack)))
		if _, err := s.attack.Threat(v); err != nil {
			continue
		}
		if text, err := attack.JSON(s.attack); err == nil { // one on a classifier of its own has none
			f.Attacks = append(f.Attacks, text)
		}
	}
}

// Advice returns the attacks in JSON that the checks which have failed advise, each once, as attack.FromJSON and the
// command line's --attack-file read them.
func (d *Diagnosis) Advice() []json.RawMessage {
	all := []json.RawMessage{}
	seen := map[string]bool{}
	for _, f := range d.With(Failed) {
		for _, a := range f.Attacks {
			if !seen[string(a)] {
				seen[string(a)], all = true, append(all, a)
			}
		}
	}
	return all
}

// stronger asks for a stronger version of the attack.
func stronger(x *examiner) []suggestion {
	n, ok := steps(x.Attack)
	if !ok {
		n = 50
	}
	pgd := attack.PGD{Ball: x.Ball, Loss: advlib.Margin, Steps: max(100, 2*n), Restarts: 5}
	if d, ok := x.victim.(knowing); ok {
		if own := d.Adaptive(x.Ball); own.String() != x.Attack.String() {
			return suggest(own)
		}
	}
	switch {
	case x.white == nil || x.blind != nil:
		return x.withoutGradients()
	case x.victim.Signature().Random:
		return x.inExpectation()
	}
	return suggest(attack.APGD{Ball: x.Ball, Loss: advlib.Margin, Restarts: 5}, attack.AllTargets{Attack: pgd, Most: 9})
}

// onBothSides asks for a stronger attack; on a detector for one that its score guides.
func onBothSides(x *examiner) []suggestion {
	if _, ok := x.victim.(Rereader); !ok {
		return stronger(x)
	}
	return append(stronger(x), say("the attack must follow the detector's score, up as well as down: give detect.Evasion more Steps and "+
		"Restarts, or a loss through which the score has a gradient")(x)...)
}

// inExpectation asks for an attack on the mean of a random victim's draws, of the probabilities and of the logits.
func (x *examiner) inExpectation() []suggestion {
	pgd := attack.PGD{Ball: x.Ball, Loss: advlib.Margin, Steps: 50, KeepGoing: true}
	if x.white == nil || x.blind != nil {
		return suggest(attack.EOT{Attack: asking(x.victim, x.Ball, 5000), Samples: 20})
	}
	return suggest(attack.EOT{Attack: pgd, Probabilities: true}, attack.EOT{Attack: pgd})
}

// withoutGradients asks for attacks that need none, and for a stand-in that has one.
func (x *examiner) withoutGradients() []suggestion {
	if x.victim.Signature().Random {
		return x.inExpectation()
	}
	all := suggest(asking(x.victim, x.Ball, 10_000))
	if x.white != nil && x.blind != nil {
		bpda := attack.BPDA{Attack: attack.PGD{Ball: x.Ball, Loss: advlib.Margin, Restarts: 3}}
		all = append(suggest(bpda), all...)
		all = append(all, suggestion{text: "// through: Defended.Through of transform.Before, or made with attack.StraightThrough"})
	}
	return all
}

// otherLoss asks for losses whose gradients do not vanish.
func otherLoss(x *examiner) []suggestion {
	if x.white == nil || x.blind != nil {
		return x.withoutGradients()
	}
	if x.victim.Signature().Random {
		return x.inExpectation()
	}
	pgd := attack.PGD{Ball: x.Ball, Steps: 100}
	margin := pgd
	margin.Loss = advlib.Margin
	all := suggest(attack.AllTargets{Attack: margin, Most: 9})
	if T := x.temperature(); T > 1 {
		all = append(all, suggest(attack.Temperature{Attack: pgd, T: T})...)
	}
	return append(all, suggest(attack.Square{Ball: x.Ball, Queries: 5000})...)
}

// fewGradients asks for attacks that follow no gradient, after one that follows other gradients.
func fewGradients(x *examiner) []suggestion {
	if x.victim.Signature().Random {
		return x.inExpectation()
	}
	if x.white == nil || x.blind != nil {
		return x.withoutGradients()
	}
	return append(stronger(x), suggest(attack.Square{Ball: x.Ball, Queries: 5000})...)
}

// source returns a value as Go, with what is set of it. A classifier, and what else is pointed to, such as a detector,
// is named after its field.
func source(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case advlib.Ball:
		return fmt.Sprintf("advlib.%v.Ball(%s)", value.Norm, number(value.Radius))
	case advlib.Loss, advlib.Norm:
		return fmt.Sprintf("advlib.%v", value)
	}
	switch v.Kind() {
	case reflect.Interface:
		return source(v.Elem())
	case reflect.Float64, reflect.Float32:
		return number(v.Float())
	case reflect.Slice:
		var all []string
		for i := range v.Len() {
			all = append(all, source(v.Index(i)))
		}
		return v.Type().String() + "{" + strings.Join(all, ", ") + "}"
	case reflect.Struct:
		var fields []string
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case !f.IsExported():
			case f.Type == reflect.TypeFor[*advlib.Classifier](), f.Type.Kind() == reflect.Pointer && !v.Field(i).IsNil():
				fields = append(fields, f.Name+": "+strings.ToLower(f.Name))
			case !v.Field(i).IsZero():
				fields = append(fields, f.Name+": "+source(v.Field(i)))
			}
		}
		return v.Type().String() + "{" + strings.Join(fields, ", ") + "}"
	}
	return fmt.Sprintf("%#v", v.Interface())
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
