package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Standing is how far a search is.
type Standing struct {
	Of            string // what it bounds: boxes or branches; empty before it begins
	Bounded, Left int
	Done          float64 // share of the volume, of boxes
	Bound         float64 // the least margin of what is left
}

// Interrupted is the outcome of a search that ctx ended.
func (s Standing) Interrupted(ctx context.Context) Outcome {
	out := Outcome{Bound: s.Bound, Late: errors.Is(ctx.Err(), context.DeadlineExceeded), Reason: "interrupted"}
	if out.Late {
		out.Reason = "the time is up"
	}
	switch s.Of {
	case "":
		out.Bound = math.Inf(-1)
		out.Reason += " before anything was bounded"
	case "boxes":
		out.Reason += fmt.Sprintf(": %d boxes were bounded, %d are left, nothing unsafe is in %.3g %% of the volume", s.Bounded, s.Left,
			100*s.Done)
	default:
		out.Reason += fmt.Sprintf(": %d %s were bounded, %d are left", s.Bounded, s.Of, s.Left)
	}
	return out
}

// recorder is told how far a search is.
type recorder interface {
	// Note is called often, and returns at once.
	Note(s Standing)
	// Tell is called about once a second. It waits for whoever listens.
	Tell(ctx context.Context, s Standing, elapsed time.Duration)
}
