// Package relay is the kernel that Jupyter sees: it stands between front-ends and GoNB, which compiles and runs the
// cells.
//
//	front-ends ── tcp or ipc ──► relay ── ipc, in a directory of its own ──► GoNB ──► go build, pump ──► cell
//	                               └──► gopls
//
// GoNB does its part well and is not forked; the relay adds what it lacks (HOW_IT_WORKS.md tells it in order): the
// queue stops at an error, compiles can be interrupted, one error message has class, text and the cell's line, every
// request gets an answer, floods of output are merged and capped, malformed frames are harmless, a GoNB that dies comes
// back with its declarations, and nothing is left behind at the end.
//
// The relay publishes status, execute_input and error itself and passes on streams and displays; GoNB's own are
// dropped. So the order of what a front-end sees is decided in one place, execution.run.
package relay
