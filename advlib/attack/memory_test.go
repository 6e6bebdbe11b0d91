package attack_test

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strconv"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
)

// Device memory does not grow with the number of steps. Each step's tensors take 0.2 MB (PGD) and 0.5 MB (C&W): 10000
// steps that kept theirs would take gigabytes. On the Go backend, where it is the garbage collector's memory, 2000
// steps must do.
func TestMemoryOverManySteps(t *testing.T) {
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		t.Skipf("resident memory cannot be read here: %v", err)
	}
	const allowedMB = 200
	l := linear(t, attacktest.LinearSpec{Coordinates: 784, Seed: 1})
	many := 10000
	if pure, err := backend.OpenNamed(backend.Go); err != nil {
		t.Fatal(err)
	} else if l.Classifier.Backend() == pure {
		many = 2000
	}
	for _, a := range []func(steps int) advlib.Attack{
		func(steps int) advlib.Attack {
			return attack.PGD{Ball: advlib.Linf.Ball(1e-4), Steps: steps, KeepGoing: true}
		},
		func(steps int) advlib.Attack {
			return attack.CarliniWagner{BinarySearchSteps: 1, Steps: steps, NoAbort: true}
		},
	} {
		var before float64
		for k, steps := range []int{500, many} {
			res, err := advlib.Run(context.Background(), l.Classifier, l.Examples, a(steps))
			if err != nil {
				t.Fatal(err)
			}
			runtime.GC()
			now := residentMB(t)
			t.Logf("%v: %.0f MB after %d passes", a(steps), now, res.Stats.Forward)
			if k == 1 && now-before > allowedMB {
				t.Errorf("%v: memory grew by %.0f MB", a(steps), now-before)
			}
			before = now
		}
	}
}

func residentMB(t *testing.T) float64 {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(statm)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return float64(pages) * float64(os.Getpagesize()) / 1e6
}
