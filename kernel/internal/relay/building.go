package relay

import (
	"fmt"
	"time"

	"advlab/kernel/internal/gonb"
)

// buildNotice is how long a cell may be built before the user is told what takes so long.
const buildNotice = 10 * time.Second

// building is what is known of a cell's build, for the notice of one that takes long.
type building struct {
	looked, since, told time.Time // last at the processes, when they first built, when the notice was last written
	done                bool
}

// tellBuilding shows one line about a build that takes long, and keeps it true: "building for 12 s: compiler", and in
// the end "built in 34 s". Front-ends know it by an id, so that it is one line.
func (x *execution) tellBuilding(e *gonb.Engine) {
	limit := x.relay.config.BuildNotice
	if limit == 0 {
		limit = buildNotice
	}
	b, now := &x.build, time.Now()
	if b.done || x.program == nil || x.phases != nil || now.Sub(b.looked) < limit/10 {
		return
	}
	b.looked = now
	phase := phaseOf(e.Workers(x.ticks))
	switch {
	case phase == "":
		return
	case phase == "run":
		x.builtNow()
		return
	case b.since.IsZero():
		b.since = now
	}
	if took := now.Sub(b.since); took >= limit && now.Sub(b.told) >= limit/2 {
		x.tellBuild(fmt.Sprintf("building for %.0f s: %s", took.Seconds(), phaseNames[phase]))
		b.told = now
	}
}

// builtNow ends the notice, if there is one: the program runs, or does not compile.
func (x *execution) builtNow() {
	b := &x.build
	if !b.done && !b.told.IsZero() {
		x.tellBuild(fmt.Sprintf("built in %.0f s", time.Since(b.since).Seconds()))
	}
	b.done = true
}

func (x *execution) tellBuild(text string) {
	kind := "update_display_data"
	if x.build.told.IsZero() {
		kind = "display_data"
	}
	x.pass(kind, map[string]any{"data": map[string]any{"text/plain": "[" + text + "]"}, "metadata": map[string]any{},
		"transient": map[string]any{"display_id": fmt.Sprintf("advlab-build-%s-%d", x.relay.session, x.count)}}, nil)
}
