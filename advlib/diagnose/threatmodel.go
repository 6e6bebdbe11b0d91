package diagnose

import (
	"fmt"
	"strings"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// ThreatModel states the threat model of what was run, in the words of NIST AI 100-2 E2025.
func ThreatModel(v advlib.Victim, ball advlib.Ball, ran []advlib.Attack) []string {
	white, scores, labels, transfer := false, false, false, false
	for _, a := range ran {
		switch a.(type) {
		case attack.HopSkipJump, attack.RayS, attack.SurFree, attack.CGBAH, attack.SignOPT, attack.BoundaryAttack, attack.Pointwise:
			labels = true
		case attack.Square, attack.NES, attack.SPSA, attack.SimBA, attack.Bandits, attack.ZOO:
			scores = true
		case attack.Transfer:
			transfer = true
		default:
			if _, err := advlib.WhiteBox(v); err == nil {
				white = true
			}
		}
	}
	var knows []string
	if white {
		knows = append(knows, "white-box (the graph, its weights and gradients)")
	}
	if scores {
		knows = append(knows, "black-box by scores")
	}
	if labels {
		knows = append(knows, "black-box by labels")
	}
	if transfer {
		knows = append(knows, "black-box by transfer")
	}
	return []string{
		"goal: integrity violation by evasion, untargeted",
		"knowledge: " + strings.Join(knows, ", "),
		fmt.Sprintf("capability: changes of the input at deployment, %v; queries of the model", ball),
	}
}
