package endpoint

import "fmt"

// Bill is what was sent to a server since [Open], the first questions included.
type Bill struct {
	// Requests were written, whether they were answered or not: a provider may bill them all.
	Requests int64
	// Inputs were in these requests.
	Inputs int64
	// Again are requests that were sent again, after a fault or because the server asked to wait.
	Again int64
	// Answered are inputs that were answered, each once; Kept are questions that were answered from the disk.
	Answered, Kept int64
}

// Bill returns what was sent.
func (e *Endpoint) Bill() Bill {
	c := &e.client.sent
	return Bill{c.requests.Load(), c.inputs.Load(), c.again.Load(), c.answered.Load(), c.kept.Load()}
}

// Sent tells package advlib how many inputs were sent.
func (e *Endpoint) Sent() int64 { return e.client.sent.inputs.Load() }

// String is a sentence without its point.
func (b Bill) String() string {
	return fmt.Sprintf("%d inputs sent in %d requests, %d of them again; %d answered by the server, %d from what was kept", b.Inputs,
		b.Requests, b.Again, b.Answered, b.Kept)
}
