package relay

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// startBare starts GoNB itself, for comparison.
func startBare(t testing.TB, k *kernel) {
	t.Helper()
	p := prepared(k.t)
	_, env := kernelCommand(k.t, p)
	k.cmd = exec.Command(filepath.Join(p.Tools(), "gonb"), "-kernel", k.cmd.Args[len(k.cmd.Args)-1], "-raw_error", "-go_work="+p.ModuleDir())
	k.cmd.Env = append(append(os.Environ(), env...), "TMPDIR="+k.temp)
	k.cmd.Stderr = k.log
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = k.cmd.Process.Signal(syscall.SIGTERM)
		_ = k.cmd.Wait()
	})
}

// TestOverhead reports, and does not judge, what the relay adds to a trivial cell: bare and relayed kernel in turns.
func TestOverhead(t *testing.T) {
	if os.Getenv("RELAY_OVERHEAD") == "" {
		t.Skip("takes a minute and proves nothing on a busy machine: set RELAY_OVERHEAD=1 to measure")
	}
	relayed := startKernel(t).start().frontEnd()
	bareKernel := startKernel(t)
	startBare(t, bareKernel)
	bare := bareKernel.frontEnd()
	for _, cell := range []struct{ name, code string }{
		{"command", "%noautoget"}, // nothing is compiled: GoNB answers in 1 ms
		{"program", "%%\nfmt.Println(1)"},
	} {
		var with, without, more []float64
		for i := range 60 {
			once := func(f *frontEnd) float64 {
				began := time.Now()
				f.run(cell.code)
				return time.Since(began).Seconds() * 1000
			}
			var a, b float64
			if i%2 == 0 {
				a = once(relayed)
				b = once(bare)
			} else {
				b = once(bare)
				a = once(relayed)
			}
			if i >= 10 {
				with, without, more = append(with, a), append(without, b), append(more, a-b)
			}
		}
		for _, list := range [][]float64{with, without, more} {
			slices.Sort(list)
		}
		at := func(list []float64, q float64) float64 { return list[int(q*float64(len(list)-1))] }
		t.Logf("%s, ms: relayed median %.1f, 95%% %.1f; bare median %.1f, 95%% %.1f; difference of medians %.1f, of the 95%% %.1f", cell.name,
			at(with, .5), at(with, .95), at(without, .5), at(without, .95), at(with, .5)-at(without, .5), at(with, .95)-at(without, .95))
	}
}
