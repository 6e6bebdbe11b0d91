//go:build linux && cgo

package intercept

import (
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// blocked returns the signals that the calling thread blocks, as /proc writes them.
func blocked(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "SigBlk:\t")
	mask, _, _ := strings.Cut(rest, "\n")
	return mask
}

// TestWithSignalsBlocked: the thread blocks all but faults and what glibc keeps for itself, and afterwards what it did
// before; Go's threads made meanwhile block nothing, and one of them hears a signal to the process.
func TestWithSignalsBlocked(t *testing.T) {
	const all = "fffffffe3ffbfa07" // without 4 to 8, 11, 31, 32 and 33; nothing blocks 9 and 19
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := blocked(t)
	WithSignalsBlocked(func() {
		if mask := blocked(t); mask != all {
			t.Errorf("blocked are %s, want %s", mask, all)
		}
		WithSignalsBlocked(func() {})
		if mask := blocked(t); mask != all {
			t.Errorf("after a second one inside, blocked are %s, want %s", mask, all)
		}
		others := make(chan string)
		go func() {
			runtime.LockOSThread() // not unlocked: the thread ends with it, and the next is new
			others <- blocked(t)
		}()
		if mask := <-others; mask != before {
			t.Errorf("another thread blocks %s, want %s", mask, before)
		}
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, syscall.SIGUSR1)
		defer signal.Stop(heard)
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		select {
		case <-heard:
		case <-time.After(10 * time.Second):
			t.Error("nobody heard a signal to the process")
		}
	})
	if mask := blocked(t); mask != before {
		t.Errorf("afterwards blocked are %s, want %s as before", mask, before)
	}
	func() {
		defer func() { _ = recover() }()
		WithSignalsBlocked(func() { panic("on purpose") })
	}()
	if mask := blocked(t); mask != before {
		t.Errorf("after a panic blocked are %s, want %s as before", mask, before)
	}
}
