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

// TestOverhead reports, and does not judge, what the relay adds to the round trip of a trivial cell: bare and relayed
// kernel in turns, each pair's difference.
func TestOverhead(t *testing.T) {
	if os.Getenv("RELAY_OVERHEAD") == "" {
		t.Skip("takes a minute and proves nothing on a busy machine: set RELAY_OVERHEAD=1 to measure")
	}
	relayed := startKernel(t).start().frontEnd()
	bareKernel := startKernel(t)
	startBare(t, bareKernel)
	bare := bareKernel.frontEnd()
	for _, cell := range []struct {
		name, code string
		pairs      int
	}{
		{"command", "%env ADVLAB_TRIVIAL=1", 500}, // nothing is compiled: GoNB answers in 1 ms, so what is seen is the relay's
		{"program, GoNB as it comes", "%%\nfmt.Println(1)", 60},
		{"program, neither calls go get", "%%\nfmt.Println(1)", 60}, // what the pump adds
	} {
		if cell.name == "program, neither calls go get" {
			bare.run("%noautoget")
		}
		const warm = 10
		var with, without, more []float64
		for i := range warm + cell.pairs {
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
			if i >= warm {
				with, without, more = append(with, a), append(without, b), append(more, a-b)
			}
		}
		for _, list := range [][]float64{with, without, more} {
			slices.Sort(list)
		}
		at := func(list []float64, q float64) float64 { return list[int(q*float64(len(list)-1))] }
		t.Logf("%s, %d pairs, ms, median and 95 %%: relayed %.1f, %.1f; bare %.1f, %.1f; difference of a pair %.1f, %.1f; difference of the "+
			"two %.1f, %.1f",
			cell.name, cell.pairs, at(with, .5), at(with, .95), at(without, .5), at(without, .95), at(more, .5), at(more, .95),
			at(with, .5)-at(without, .5), at(with, .95)-at(without, .95))
	}
}
