package detect

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"advlab/advlib"
)

// Action is what is done about a query that a detector flags.
type Action int

const (
	// Log counts it, and it is answered like any other.
	Log Action = iota
	// Reject does not answer it.
	Reject
	// Ban answers neither it nor anything that the client asks later.
	Ban
)

// String returns "log", "reject" or "ban".
func (a Action) String() string {
	switch a {
	case Log:
		return "log"
	case Reject:
		return "reject"
	case Ban:
		return "ban"
	}
	return fmt.Sprintf("Action(%d)", int(a))
}

// Options say how clients are watched.
type Options struct {
	// Action is what is done about a flagged query.
	Action Action
	// PerClient compares a query with those of its own client alone; otherwise with everybody's, so that an attacker gains
	// nothing by many accounts.
	PerClient bool
}

// mostClients is how many clients a watch tells apart; those that come later share the last number.
const mostClients = 10000

// Watch follows the queries of clients with a detector. Its methods may be called concurrently.
type Watch struct {
	detector Detector
	options  Options
	size     int

	mu      sync.Mutex
	memory  Memory
	clients []Client
	number  map[string]int32
}

// Client is what was seen of one client.
type Client struct {
	// Name is what told it apart from others, such as its address.
	Name string
	// Queries is how many inputs it has asked about, Flagged how many of these were flagged, Refused how many were not
	// answered: those flagged, and those after a ban.
	Queries, Flagged, Refused int
	// First is the number of the first query that was flagged, counted from 1; 0 if none was.
	First int
}

// NewWatch returns a watch over the inputs of a victim with that signature.
func NewWatch(d Detector, s advlib.Signature, o Options) (*Watch, error) {
	if d == nil {
		return nil, errors.New("detect: there is no detector: give KNN or Blacklight")
	}
	if o.Action < Log || o.Action > Ban {
		return nil, fmt.Errorf("detect: there is no %v: there are Log, Reject and Ban", o.Action)
	}
	if err := s.Limits().Check(); len(s.Input) == 0 || err != nil && s.Domain == nil {
		return nil, fmt.Errorf("detect: the signature makes no sense: inputs %v in %v: %w", s.Input, s.Box, err)
	}
	memory, err := d.Start(s)
	if err != nil {
		return nil, err
	}
	return &Watch{detector: d, options: o, size: sizeOf(s), memory: memory, number: map[string]int32{}}, nil
}

// See tells which of some inputs, flat, one after the other, are not to be answered to a client, and remembers all of
// them. It panics if x does not hold whole inputs.
func (w *Watch) See(client string, x []float32) (refused []bool) {
	if len(x)%w.size != 0 {
		panic(fmt.Sprintf("detect: %d values are no inputs of %d", len(x), w.size))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	number, known := w.number[client]
	if !known {
		if number = int32(len(w.clients)); number < mostClients {
			w.number[client], w.clients = number, append(w.clients, Client{Name: client})
		} else {
			number = mostClients - 1
			w.clients[number].Name = "others"
		}
	}
	c, compared := &w.clients[number], number
	if !w.options.PerClient {
		compared = 0
	}
	for row := range slices.Chunk(x, w.size) {
		c.Queries++
		if w.memory.See(compared, row) {
			c.Flagged++
			if c.First == 0 {
				c.First = c.Queries
			}
			refused = append(refused, w.options.Action != Log)
		} else {
			refused = append(refused, w.options.Action == Ban && c.First > 0)
		}
		if refused[len(refused)-1] {
			c.Refused++
		}
	}
	return refused
}

// Report returns what was seen so far.
func (w *Watch) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Report{Detector: w.detector.String(), Action: w.options.Action, Clients: slices.Clone(w.clients)}
}

// Report is what a detector has seen.
type Report struct {
	// Detector is its name, and Action what was done.
	Detector string
	Action   Action
	// Clients are those that asked, in the order in which they came.
	Clients []Client
}

// Total is the sum over all clients; its First is the earliest of any client's own.
func (r Report) Total() Client {
	t := Client{Name: "all"}
	for _, c := range r.Clients {
		t.Queries, t.Flagged, t.Refused = t.Queries+c.Queries, t.Flagged+c.Flagged, t.Refused+c.Refused
		if c.First > 0 && (t.First == 0 || c.First < t.First) {
			t.First = c.First
		}
	}
	return t
}

// mostShown is how many clients the text names.
const mostShown = 5

// String says how many queries were flagged, and of which clients the most.
func (r Report) String() string {
	t := r.Total()
	text := fmt.Sprintf("%s (%v): %d of %d queries flagged", r.Detector, r.Action, t.Flagged, t.Queries)
	if t.Refused > 0 {
		text += fmt.Sprintf(", %d not answered", t.Refused)
	}
	flagged := slices.DeleteFunc(slices.Clone(r.Clients), func(c Client) bool { return c.Flagged == 0 })
	slices.SortStableFunc(flagged, func(a, b Client) int { return cmp.Compare(b.Flagged, a.Flagged) })
	var lines []string
	for _, c := range flagged[:min(mostShown, len(flagged))] {
		name := c.Name
		if name == "" {
			name = "the client"
		}
		lines = append(lines, fmt.Sprintf("%s: %d of %d, the first at query %d", name, c.Flagged, c.Queries, c.First))
	}
	if more := len(flagged) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	if len(lines) > 0 {
		text += "; " + strings.Join(lines, "; ")
	}
	return text
}
