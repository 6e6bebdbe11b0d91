package certify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// standing is how far a search is.
type standing struct {
	of            string // what it bounds: boxes or branches; empty before it begins
	bounded, left int
	done          float64 // share of the volume, of boxes
	bound         float64 // the least margin of what is left
}

// interrupted is the outcome of a search that ctx ended.
func (s standing) interrupted(ctx context.Context) outcome {
	out := outcome{bound: s.bound, late: errors.Is(ctx.Err(), context.DeadlineExceeded), reason: "interrupted"}
	if out.late {
		out.reason = "the time is up"
	}
	switch s.of {
	case "":
		out.bound = math.Inf(-1)
		out.reason += " before anything was bounded"
	case "boxes":
		out.reason += fmt.Sprintf(": %d boxes were bounded, %d are left, nothing unsafe is in %.3g %% of the volume", s.bounded, s.left, 100*s.done)
	default:
		out.reason += fmt.Sprintf(": %d %s were bounded, %d are left", s.bounded, s.of, s.left)
	}
	return out
}

// recorder is told how far a search is.
type recorder interface {
	// note is called often, and returns at once.
	note(s standing)
	// tell is called about once a second. It waits for whoever listens.
	tell(ctx context.Context, s standing, elapsed time.Duration)
}
