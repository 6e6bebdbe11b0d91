package advlib

import (
	"testing"
	"time"
)

// fakeClock is a clock that stands still unless it is moved.
type fakeClock struct{ at time.Time }

func (c *fakeClock) move(d time.Duration) { c.at = c.at.Add(d) }

// followed returns a pace on the clock, and what it told last.
func followed(c *fakeClock, parts ...part) (*pace, *Progress, *int) {
	last, calls := &Progress{}, new(int)
	p := newPace(func(now Progress) { *last, *calls = now, *calls+1 }, parts...)
	p.now, p.begun = func() time.Time { return c.at }, c.at
	return p, last, calls
}

// forwardSteps makes n steps of the given forward passes, each taking a second.
func forwardSteps(p *pace, c *fakeClock, n int, passes int64) {
	for range n {
		c.move(time.Second)
		p.step(stepCost{forward: passes, elapsed: time.Second})
	}
}

func TestPaceOfOneAttack(t *testing.T) {
	c := &fakeClock{time.Unix(1000, 0)}
	// 10 passes for each of 100 examples, in two batches of 50: 1000 passes of which 50 take a second.
	p, last, _ := followed(c, part{what: "A", expected: 10})
	p.begin(0, 120, 20)
	if last.Remaining != unknown || last.Done != 20 || last.Total != 120 || last.Part != 1 || last.Parts != 1 || last.Share != 0 {
		t.Errorf("at the start: %+v", *last)
	}
	forwardSteps(p, c, 1, 50)
	if last.Remaining != 19*time.Second || last.Elapsed != time.Second || last.Share != 1./20 {
		t.Errorf("after a step: %+v", *last)
	}
	forwardSteps(p, c, 9, 50)
	p.advance(50, false)
	if last.Remaining != 10*time.Second || last.Done != 70 || last.Share != 0.5 {
		t.Errorf("after a batch: %+v", *last)
	}
	forwardSteps(p, c, 10, 50)
	p.advance(50, false)
	if last.Remaining != 0 || last.Done != 120 || last.Share != 1 {
		t.Errorf("at the end: %+v", *last)
	}
}

// An attack that stops early is judged by its finished batches, not by what it announced.
func TestPaceOfAnAttackThatStopsEarly(t *testing.T) {
	c := &fakeClock{time.Unix(1000, 0)}
	p, last, _ := followed(c, part{what: "A", expected: 1000})
	p.begin(0, 100, 0)
	forwardSteps(p, c, 10, 10)
	if last.Remaining < time.Hour {
		t.Errorf("before a batch is done: %v", last.Remaining)
	}
	share := last.Share
	p.advance(50, false) // 100 passes for 50 examples
	if last.Remaining != 10*time.Second || last.Share != 0.5 || share > 0.01 {
		t.Errorf("after: %+v, share before %v", *last, share)
	}
}

func TestPaceOfSeveralParts(t *testing.T) {
	c := &fakeClock{time.Unix(1000, 0)}
	p, last, _ := followed(c, part{what: "A", expected: 1, total: 100}, part{what: "B", expected: 20, total: 100},
		part{what: "certificate", expected: noWork, total: 100})
	p.begin(0, 100, 0)
	// A compiles for 4 seconds, in its only step: how long a pass takes is not known from that.
	c.move(4 * time.Second)
	p.step(stepCost{forward: 100, elapsed: 4 * time.Second, built: true})
	p.advance(100, false)
	if last.Remaining != unknown {
		t.Errorf("after A: %+v", *last)
	}
	// B is run on the 60 that A left: 1200 passes, of which 60 take a second; it compiles as well.
	p.parts[1].total = 60
	p.begin(1, 60, 0)
	if last.What != "B" || last.Part != 2 || last.Parts != 3 || last.Elapsed != 0 {
		t.Errorf("B begins with %+v", *last)
	}
	c.move(2 * time.Second)
	p.step(stepCost{forward: 60, elapsed: 2 * time.Second, built: true})
	forwardSteps(p, c, 9, 60)
	if last.Remaining != 10*time.Second || last.Elapsed != 11*time.Second || last.Share != 15./25 {
		t.Errorf("in the middle of B: %+v", *last)
	}
	forwardSteps(p, c, 10, 60)
	p.advance(60, false)
	if last.Remaining != 0 {
		t.Errorf("after B: %+v", *last)
	}
	p.begin(2, 100, 0)
	p.advance(100, false)
	if last.What != "certificate" || last.Remaining != 0 || last.Share != 1 {
		t.Errorf("at the end: %+v", *last)
	}
}

// The time left is not known when an attack ahead does not say what it will do, unless it is not run.
func TestPaceWithUnknownParts(t *testing.T) {
	c := &fakeClock{time.Unix(1000, 0)}
	p, last, _ := followed(c, part{what: "A", expected: 1}, part{what: "B", expected: unknown, total: 5})
	p.begin(0, 100, 0)
	forwardSteps(p, c, 5, 10)
	if last.Remaining != unknown {
		t.Errorf("%+v", *last)
	}
	p.parts[1].total = 0
	forwardSteps(p, c, 1, 10)
	if last.Remaining != 4*time.Second {
		t.Errorf("%+v", *last)
	}
	// Its first batch says it.
	p.parts[1].total = 4
	p.begin(1, 4, 0)
	forwardSteps(p, c, 3, 10)
	if last.Remaining != unknown {
		t.Errorf("%+v", *last)
	}
	p.advance(1, false)
	if last.Remaining != 9*time.Second {
		t.Errorf("%+v", *last)
	}
}

// What was recalled says nothing about how long the rest takes, and steps are told ten times a second at most.
func TestPaceOfRecalledBatches(t *testing.T) {
	c := &fakeClock{time.Unix(1000, 0)}
	p, last, calls := followed(c, part{what: "A", expected: 10})
	p.begin(0, 100, 0)
	p.advance(50, true)
	if last.Done != 50 || last.Remaining != unknown {
		t.Errorf("%+v", *last)
	}
	before := *calls
	for range 100 {
		c.move(10 * time.Millisecond)
		p.step(stepCost{forward: 1})
	}
	if *calls-before != 10 {
		t.Errorf("told %d times in a second", *calls-before)
	}
	if last.Remaining != 4*time.Second {
		t.Errorf("%+v", *last)
	}
}
