package relay

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"advlab/kernel/internal/compose"
)

const (
	stillEvery = time.Second // how often it is asked whether the program has noticed that nothing moves
	mostStill  = 10          // kinds of goroutines that are named
)

// tellStill shows which goroutines wait for each other, once, where the program has noticed that nothing can move any
// more. The cell is not ended: its user may want to look at it, and knows best.
func (x *execution) tellStill() {
	if x.program == nil || x.proof.program == "" || time.Since(x.askedStill) < stillEvery {
		return
	}
	x.askedStill = time.Now()
	traces, err := os.ReadFile(x.proof.program + compose.StillSuffix)
	if err != nil {
		return
	}
	_ = os.Remove(x.proof.program + compose.StillSuffix)
	e := evidence{program: x.program}
	x.notice("nothing moves any more, for each goroutine waits for another (deadlock). Interrupt the cell to end it.\n" +
		strings.Join(e.waiting(string(traces)), "\n"))
}

var (
	goroutine = regexp.MustCompile(`^goroutine (\d+) \[([^,\]]*)`)
	called    = regexp.MustCompile(`(?m)^(\S+)\(.*\)$`)
)

// waiting says of each goroutine for what it waits, and where in a cell; those that do so at the same place are one.
func (e evidence) waiting(traces string) (lines []string) {
	count := map[string]int{}
	var first []string
	for _, g := range strings.Split(strings.TrimSpace(traces), "\n\n") {
		head := goroutine.FindStringSubmatch(g)
		if head == nil {
			continue
		}
		where := "outside of cells"
		if m := called.FindStringSubmatch(g); m != nil {
			where = "in " + m[1]
		}
		if m := frame.FindStringSubmatch(g); m != nil {
			where = e.place(m[1], number(m[2]))
		}
		text := head[2] + ", " + where
		if count[text]++; count[text] == 1 {
			first = append(first, text)
		}
	}
	for i, text := range first {
		if i == mostStill {
			return append(lines, fmt.Sprintf("  … and %d more", len(first)-i))
		}
		if n := count[text]; n > 1 {
			text = fmt.Sprintf("%d times %s", n, text)
		}
		lines = append(lines, "  "+text)
	}
	return lines
}
