package diagnose

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// The vocabularies of a threat model, and which releases the words are those of. NIST's are of section 2.1 of
// "Adversarial Machine Learning: A Taxonomy and Terminology of Attacks and Mitigations", for predictive AI; ATLAS's of
// the file dist/ATLAS.yaml of its data, which testdata/atlas.py has read.
const (
	NIST  = "NIST AI 100-2 E2025"
	ATLAS = "MITRE ATLAS 5.6.0"
)

// Threat states the threat model of what was run.
type Threat struct {
	// Taxonomy is [NIST]. Goal, Knowledge and Capabilities are in its words.
	Taxonomy     string   `json:"taxonomy"`
	Goal         string   `json:"goal"`
	Knowledge    []string `json:"knowledge"`
	Capabilities []string `json:"capabilities"`
	// Atlas is [ATLAS], and Techniques those of its techniques that the attacks stand for.
	Atlas      string      `json:"atlas"`
	Techniques []Technique `json:"techniques"`
}

// Technique is one of MITRE ATLAS.
type Technique struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// The techniques that attacks of this library stand for.
var (
	evade        = Technique{"AML.T0015", "Evade AI Model"}
	access       = Technique{"AML.T0040", "AI Model Inference API Access"}
	fullAccess   = Technique{"AML.T0044", "Full AI Model Access"}
	whiteBox     = Technique{"AML.T0043.000", "Craft Adversarial Data: White-Box Optimization"}
	blackBoxed   = Technique{"AML.T0043.001", "Craft Adversarial Data: Black-Box Optimization"}
	transferring = Technique{"AML.T0043.002", "Craft Adversarial Data: Black-Box Transfer"}
	proxy        = Technique{"AML.T0005", "Create Proxy AI Model"}
	environment  = Technique{"AML.T0041", "Physical Environment Access"}
	printed      = Technique{"AML.T0008.003", "Acquire Infrastructure: Physical Countermeasures"}
)

// ThreatModel states the threat model of attacks that were run on a victim, within a ball; those that have another say
// so by their names.
func ThreatModel(v advlib.Victim, ball advlib.Ball, ran ...advlib.Attack) Threat {
	return threatModel(v, ball, ran)
}

func threatModel(v advlib.Victim, ball advlib.Ball, ran []advlib.Attack) Threat {
	t := Threat{Taxonomy: NIST, Atlas: ATLAS, Techniques: []Technique{evade}}
	_, closed := advlib.WhiteBox(v)
	if s, ok := v.(advlib.Screener); ok { // attacks that know the detector follow the gradients of both
		_, closed = s.Classifier()
	}
	used := map[string]bool{}
	targeted := false
	for _, a := range ran {
		for _, kind := range knowledge(a, closed == nil) {
			used[kind] = true
		}
		if threat, err := a.Threat(v); err == nil && threat.Goal.IsTargeted() {
			targeted = true
		}
	}
	t.Goal = "integrity violation [NISTAML.02] by evasion [NISTAML.022], " + map[bool]string{true: "targeted", false: "untargeted"}[targeted]
	t.Capabilities = []string{fmt.Sprintf("testing data control: perturbations of testing samples at deployment time, %v", ball)}
	asks := fmt.Sprintf("query access: %s", v.Signature().Returns)
	if n := v.Signature().Queries; n > 0 {
		asks += fmt.Sprintf(", at most %d queries an example", n)
	}
	add := func(kind, knows string, techniques ...Technique) {
		if used[kind] {
			t.Knowledge, t.Techniques = append(t.Knowledge, knows), append(t.Techniques, techniques...)
		}
	}
	add("gradients", "white-box: architecture, parameters, and all mitigations", fullAccess, whiteBox)
	add("transfer", "gray-box: data distributed identically to the training data, for a surrogate (transferability)", proxy, transferring)
	add("logits", "black-box [NISTAML.025], score-based", access, blackBoxed)
	add("labels", "black-box [NISTAML.025], decision-based", access, blackBoxed)
	if used["patch"] {
		t.Techniques = append(t.Techniques, printed, environment)
	}
	if used["logits"] || used["labels"] || closed != nil {
		t.Capabilities = append(t.Capabilities, asks)
	}
	if closed != nil {
		t.Techniques = append(t.Techniques, access)
	}
	slices.SortFunc(t.Techniques, func(a, b Technique) int { return strings.Compare(a.ID, b.ID) })
	t.Techniques = slices.Compact(t.Techniques)
	return t
}

// knowledge says what an attack asks for: "gradients", "logits", "labels", of another classifier "transfer", and
// "patch" besides. What an attack of the user's own asks for is not known: on a model with a graph it may be anything.
func knowledge(a advlib.Attack, white bool) []string {
	if _, ok := a.(attack.Transfer); ok {
		return []string{"transfer"}
	}
	name := reflect.TypeOf(a).Name()
	for _, e := range attack.Index() {
		if e.Attack != name || reflect.TypeOf(a).PkgPath() != reflect.TypeFor[attack.PGD]().PkgPath() {
			continue
		}
		if inner, ok := field[advlib.Attack](a, "Attack"); ok && inner != nil {
			return knowledge(inner, white)
		}
		if e.Knowledge == attack.Inner { // such as AutoAttack: all of it
			return []string{"gradients", "logits"}
		}
		if e.Kind == attack.InPatch {
			return []string{string(e.Knowledge), "patch"}
		}
		return []string{string(e.Knowledge)}
	}
	if white {
		return []string{"gradients"}
	}
	return []string{"logits"}
}

// Lines returns the threat model as sentences.
func (t Threat) Lines() []string {
	if t.Taxonomy == "" {
		return nil
	}
	var techniques []string
	for _, k := range t.Techniques {
		techniques = append(techniques, k.ID+" "+k.Name)
	}
	return []string{
		"threat model in the words of " + t.Taxonomy + ":",
		"goal: " + t.Goal,
		"knowledge: " + strings.Join(t.Knowledge, "; "),
		"capabilities: " + strings.Join(t.Capabilities, "; "),
		"techniques of " + t.Atlas + ": " + strings.Join(techniques, "; "),
	}
}
