package relay

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/gonb"
	"advlab/kernel/internal/guard"
)

// phaseOf names what GoNB is doing, by the processes that it has started; empty: nothing that is known.
func phaseOf(workers []guard.Process) string {
	phase := ""
	for _, p := range workers {
		switch name := p.Name; {
		case name == "link" || name == "collect2" || name == "ld" || name == "mold" || name == "lld":
			return "link"
		case name == "compile" || name == "cgo" || name == "asm" || name == "cc1":
			phase = "compile"
		case name == "go" && phase == "":
			phase = "go"
		case name == "goimports":
			phase = "imports"
		case strings.HasPrefix(name, "gonb_"):
			phase = "run"
		}
	}
	return phase
}

// phaseNames are the phases as people read them.
var phaseNames = map[string]string{"imports": "goimports", "go": "go build", "compile": "compiler", "link": "linker", "run": "program"}

// sampleEvery is %time's resolution.
const sampleEvery = 20 * time.Millisecond

// sample attributes the time since the last sample.
func (x *execution) sample(e *gonb.Engine) {
	now := time.Now()
	if phase := phaseOf(e.Workers(x.ticks)); phase != "" {
		x.phases[phase] += now.Sub(x.sampled)
	}
	x.sampled = now
}

// timing is what %time says.
func (x *execution) timing() string {
	var parts []string
	for _, phase := range []string{"imports", "go", "compile", "link", "run"} {
		if d := x.phases[phase]; d > 0 {
			parts = append(parts, fmt.Sprintf("%s %.2f s", phaseNames[phase], d.Seconds()))
		}
	}
	text := fmt.Sprintf("total %.2f s", time.Since(x.began).Seconds())
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	var told []string
	rest := x.phases["run"].Seconds()
	for _, name := range slices.Sorted(maps.Keys(x.provenance.Phases)) {
		told = append(told, fmt.Sprintf("%s %.2f s", name, x.provenance.Phases[name]))
		rest -= x.provenance.Phases[name]
	}
	if len(told) > 0 && rest > 0 { // until the program could look at the clock, and after it told something last
		told = append(told, fmt.Sprintf("start and end %.2f s", rest))
	}
	if len(told) > 0 {
		text += " (" + strings.Join(told, ", ") + ")"
	}
	return text + "\n"
}
