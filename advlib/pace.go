package advlib

import (
	"fmt"
	"sync"
	"time"
)

// Progress says how far a measurement is.
type Progress struct {
	// What is being run: an attack's name, or a certificate's.
	What string
	// Part is its number, 1 … Parts, among all that the measurement consists of.
	Part, Parts int
	// Done and Total count the examples that What is tried on; of a verification, the boxes that were bounded, and these
	// with those that wait.
	Done, Total int
	// Elapsed is the time since What began.
	Elapsed time.Duration
	// Remaining is an estimate of the time that the whole measurement still takes, all parts together; negative while
	// there is nothing to estimate it by. It is made of the passes that attacks announce (see [Planner]) and of the
	// time that passes took so far. Attacks that stop early end sooner; what certificates will take is not in it.
	Remaining time.Duration
	// Share is the share of the whole that is done, 0..1, by the same estimate; it never falls. It is 0 while
	// Remaining is unknown.
	Share float64
}

// Left writes the time left as a person would say it: "40 s", "3 min", "2.5 h". It is empty while it is not known.
func (p Progress) Left() string {
	switch s := p.Remaining.Seconds(); {
	case s < 0:
		return ""
	case s < 99.5:
		return fmt.Sprintf("%.0f s", s)
	case s < 99.5*60:
		return fmt.Sprintf("%.0f min", s/60)
	default:
		return fmt.Sprintf("%.1f h", s/3600)
	}
}

// Planner is implemented by attacks that know about how many passes they make, so that the time left can be estimated.
type Planner interface {
	// Plan returns how many passes forward and backward an example takes when nothing stops early; known is false when
	// that cannot be said, by a wrapper of an attack that is no Planner for example.
	Plan(v Victim) (forward, backward float64, known bool)
}

// weigh returns the work of passes, in forward ones: a backward pass takes about as long as two.
func weigh(forward, backward float64) float64 { return forward + 2*backward }

const (
	unknown = -1 // the work of a part that does not announce it
	noWork  = 0  // that of a part that is left out of the estimate
)

// workOf is what an attack announces for an example.
func workOf(a Attack, v Victim) float64 {
	if p, ok := a.(Planner); ok {
		if forward, backward, known := p.Plan(v); known {
			return weigh(forward, backward)
		}
	}
	return unknown
}

// part is one attack or certificate of a measurement.
type part struct {
	what     string
	expected float64 // work for each example; unknown or noWork
	total    int     // examples it is tried on, as far as known
	done     int
}

// pace follows a measurement, tells of its progress, and estimates how long it still takes.
type pace struct {
	mu    sync.Mutex
	tell  func(Progress) // nil for nobody
	now   func() time.Time
	parts []part
	begun time.Time // the whole
	told  time.Time
	share float64

	// Of the part that runs.
	at       int
	start    time.Time
	building time.Duration // time in which programs were made
	finished int           // examples that were worked on, in batches that are done
	worked   float64       // work for these
	batch    float64       // work in the batch that runs
	timed    float64       // work beside the making of programs

	// Of the parts before.
	before      float64       // timed work
	spent       time.Duration // for it
	built       time.Duration
	partsBefore int
}

func newPace(tell func(Progress), parts ...part) *pace {
	return &pace{tell: tell, now: time.Now, parts: parts, begun: time.Now(), at: -1}
}

// pauseOfSteps is the shortest time between two calls because of a step.
const pauseOfSteps = 100 * time.Millisecond

// begin says that a part runs from now on, and on how many examples, of which some need nothing.
func (p *pace) begin(k, total, done int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave()
	p.at, p.start = k, p.now()
	p.parts[k].total, p.parts[k].done = total, done
	p.report()
}

// leave adds the part that ran to those before.
func (p *pace) leave() {
	if p.at < 0 {
		return
	}
	if p.timed > 0 {
		p.before += p.timed
		p.spent += max(0, p.now().Sub(p.start)-p.building)
	}
	p.built += p.building
	p.partsBefore++
	p.building, p.finished, p.worked, p.batch, p.timed = 0, 0, 0, 0, 0
}

// step takes note of the passes of a step.
func (p *pace) step(s stepCost) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := weigh(float64(s.forward), float64(s.backward))
	p.batch += w
	if s.built {
		p.building += s.elapsed // beside the compiler nothing can be seen of what the pass itself took
	} else {
		p.timed += w
	}
	if p.tell != nil && p.now().Sub(p.told) >= pauseOfSteps {
		p.report()
	}
}

// pass says that so many examples of the part that runs need no work.
func (p *pace) pass(rows int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts[p.at].done += rows
}

// advance says that a batch of so many examples is done; recalled says that it was not worked on now.
func (p *pace) advance(rows int, recalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts[p.at].done += rows
	if !recalled {
		p.finished += rows
		p.worked += p.batch
	}
	p.batch = 0
	p.report()
}

func (p *pace) report() {
	if p.tell == nil {
		return
	}
	now := p.now()
	p.told = now
	left := p.remaining(now)
	if whole := now.Sub(p.begun); left >= 0 && whole+left > 0 {
		p.share = max(p.share, float64(whole)/float64(whole+left))
	}
	at := p.parts[p.at]
	p.tell(Progress{
		What: at.what, Part: p.at + 1, Parts: len(p.parts), Done: at.done, Total: at.total,
		Elapsed: now.Sub(p.start), Remaining: left, Share: p.share,
	})
}

// remaining estimates the time left from now on.
func (p *pace) remaining(now time.Time) time.Duration {
	// The part that runs: as its finished batches went, or as it announced.
	at := p.parts[p.at]
	each := at.expected
	if p.finished > 0 && each != noWork {
		each = p.worked / float64(p.finished)
	}
	left := 0.
	if examples := at.total - at.done; examples > 0 {
		if each == unknown {
			return unknown
		}
		left = max(0, each*float64(examples)-p.batch)
	}
	later := 0
	for _, q := range p.parts[p.at+1:] {
		switch {
		case q.total == 0 || q.expected == noWork:
			continue
		case q.expected == unknown:
			return unknown
		}
		left += q.expected * float64(q.total)
		later++
	}
	if left == 0 {
		return 0
	}
	// By how the part that runs goes, once it has gone for a while.
	done, took := p.timed, max(0, now.Sub(p.start)-p.building)
	if done == 0 {
		took = 0
	}
	if took < time.Second {
		done, took = done+p.before, took+p.spent
	}
	// A fraction of a second says little: of a step that is run once, most is overhead.
	if done == 0 || took < time.Second {
		return unknown
	}
	estimate := time.Duration(left / done * float64(took))
	if built := p.built + p.building; built > 0 {
		estimate += time.Duration(later) * built / time.Duration(p.partsBefore+1)
	}
	return estimate
}
