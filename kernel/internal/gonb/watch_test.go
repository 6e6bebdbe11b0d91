package gonb

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"advlab/kernel/internal/guard"
)

// What moves in GoNB, and what does not.
func TestProgress(t *testing.T) {
	sleeper := exec.Command("sleep", "60") // a GoNB that waits for nothing
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
	e := &Engine{config: Config{Beat: time.Second}, dir: t.TempDir(), cmd: sleeper}
	if err := os.WriteFile(guard.PIDFile(e.dir), []byte(strconv.Itoa(sleeper.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, known := guard.CPUTime(sleeper.Process.Pid); !known {
		t.Skip("this system does not say what a process does")
	}
	limit, beat := e.StuckLimit(), e.config.Beat
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, test := range []struct {
		name string
		p    Progress
		want bool
	}{
		{"nothing moves", Progress{since: ago(limit), looked: ago(2 * beat)}, true},
		{"not yet", Progress{since: ago(limit / 2), looked: ago(2 * beat)}, false},
		{"it was looked just now", Progress{since: ago(limit), looked: ago(beat / 2)}, false},
		{"this process was stopped, too", Progress{since: ago(time.Hour), looked: ago(time.Hour)}, false},
		{"it computes", Progress{since: ago(limit), looked: ago(2 * beat), cpu: -1}, false},
	} {
		if got := test.p.Stuck(e, 0); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
