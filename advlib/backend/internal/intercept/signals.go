//go:build linux && cgo

package intercept

/*
#cgo CFLAGS: -D_POSIX_C_SOURCE=200809L
#include "signals.h"
*/
import "C"

import "runtime"

// WithSignalsBlocked calls f while signals are blocked in its thread, so that the threads that f makes are born with
// them blocked and keep them so; afterwards the thread's mask is what it was, also when f panics. Go's own threads are
// made with a mask of their own.
//
// It is for XLA's threads. A signal that the Go runtime handles interrupts any thread that does not block it. On its
// own threads the runtime has given the handler a stack of its own. On others the kernel puts the handler's frame, some
// kilobytes, below the stack pointer; and while oneDNN's products for AVX2 and AVX-512 run, that may point to the lower
// end of a block of the heap, so the frame overwrites what lies there. One CPU profile is enough for a crash. It is
// oneDNN's issue 4845, mended there by pull request 4855 and, for its version 3.11, by 4859; the plugin that set-up
// installs holds an older one.
//
// Signals that a thread's own faults raise (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS) stay as they
// are, for whoever handles them. Signals to the process, such as Ctrl-C's, go to a thread that does not block them: one
// that compiles for long blocks them meanwhile, and Go always has another. So a CPU profile counts neither XLA's
// threads nor its compiler.
func WithSignalsBlocked(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before C.sigset_t
	C.advlab_block(&before)
	defer C.advlab_restore(&before)
	f()
}
