package training

import (
	"context"
	"sync"
	"time"

	"advlab/advlib/lab"
)

// Cost is what trainings took.
type Cost struct {
	// Trainings counts them, those whose weights were kept too, and Seconds is how long they took when they were made.
	Trainings int
	Seconds   float64

	mu sync.Mutex
}

type costKey struct{}

// Account returns a context in which each training adds what it took to a cost. One whose weights were kept adds what
// it took when it was made: for comparisons of defences, of which some train several models.
func Account(ctx context.Context, to *Cost) context.Context {
	return context.WithValue(ctx, costKey{}, to)
}

// account adds the training of a recipe, which took so long now: if its weights were kept, what it took then.
func account(ctx context.Context, of lab.Recipe, now time.Duration) {
	to, ok := ctx.Value(costKey{}).(*Cost)
	if !ok {
		return
	}
	seconds := now.Seconds()
	if len(of.Parts) > 0 {
		if e, kept := lab.Kept(lab.Models, of); kept {
			seconds = e.Seconds
		}
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.Trainings++
	to.Seconds += seconds
}
