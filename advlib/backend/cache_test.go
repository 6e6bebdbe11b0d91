//go:build linux && cgo

package backend_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"advlab/advlib/backend"
	"advlab/advlib/backend/internal/executables"
	"advlab/advlib/cachedir"
)

const bytesVariable = "ADVLAB_EXECUTABLE_CACHE_BYTES"

var everything = task{Backend: backend.XLACPU, Programs: slices.Sorted(maps.Keys(programs))}

// few is enough where the kind of graph does not matter.
var few = task{Backend: backend.XLACPU, Programs: []string{"many outputs", "mlp gradient"}}

// filled returns an environment with a cache that holds what do takes, the cache's files, and what the programs that
// were compiled computed.
func filled(t *testing.T, do task) (env []string, files []string, computed map[string]string) {
	t.Helper()
	cache := t.TempDir()
	env = append(needPlugin(t), cachedir.Variable+"="+cache)
	r := run(t, do, env...)
	if r.Stats.Misses == 0 || r.Stats.Hits != 0 || r.Stats.Unstored != 0 {
		t.Fatalf("filling the cache: %+v", r.Stats)
	}
	files, err := filepath.Glob(filepath.Join(cache, "executables", "*.xla"))
	if err != nil || len(files) != r.Stats.Misses {
		t.Fatalf("%d files for %d programs (%v)", len(files), r.Stats.Misses, err)
	}
	return env, files, r.Digests
}

func wantSame(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s: %s, want %s, bit for bit", name, got[name], w)
		}
	}
}

// wantHits expects that everything was loaded.
func wantHits(t *testing.T, r report, n int) {
	t.Helper()
	if r.Stats.Hits != n || r.Stats.Misses != 0 || r.Stats.Refused != 0 || r.Stats.Compiling != 0 || r.Stats.BytesRead == 0 {
		t.Errorf("stats %+v, want %d hits and nothing else", r.Stats, n)
	}
}

// wantMisses expects that n programs were compiled and kept, refused of them after a file was refused.
func wantMisses(t *testing.T, r report, n, refused int) {
	t.Helper()
	if r.Stats.Misses != n || r.Stats.Refused != refused || r.Stats.Unstored != 0 {
		t.Errorf("stats %+v, want %d misses, %d of them refused files", r.Stats, n, refused)
	}
}

func TestLoadedProgramsComputeTheSameBits(t *testing.T) {
	env, files, computed := filled(t, everything)
	for range 3 {
		loaded := run(t, everything, env...)
		wantSame(t, loaded.Digests, computed)
		wantHits(t, loaded, len(files))
	}
	// Off, they are compiled again, and still the same.
	off := run(t, everything, append(env, bytesVariable+"=0")...)
	wantSame(t, off.Digests, computed)
	if off.Stats != (backend.Stats{}) || off.Info.CacheDir != "" || !strings.Contains(off.Info.CacheOff, bytesVariable) {
		t.Errorf("switched off: %+v\n%s", off.Stats, off.Info)
	}
}

func TestWhatTheKeyHolds(t *testing.T) {
	env, files, computed := filled(t, few)
	n := len(files)
	// A flag that changes no result here, but might.
	flagged := append(slices.Clone(env), "XLA_FLAGS=--xla_cpu_enable_fast_min_max=false")
	wantMisses(t, run(t, few, flagged...), n, 0)
	wantHits(t, run(t, few, flagged...), n)
	wantMisses(t, run(t, few, append(env, "NPROC=1")...), n, 0)
	wantHits(t, run(t, few, env...), n)

	// The plugin counts by its content: the same file at another place hits.
	wantHits(t, run(t, few, append(env, needPlugin(t)...)...), n)
	// A byte that no section uses makes it another plugin.
	dir := t.TempDir()
	other := filepath.Join(dir, "pjrt_c_api_cpu_plugin.so")
	content, err := os.ReadFile(cpuPlugin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, append(content, 0), 0o700); err != nil {
		t.Fatal(err)
	}
	r := run(t, few, append(env, "PJRT_PLUGIN_LIBRARY_PATH="+dir)...)
	wantMisses(t, r, n, 0)
	wantSame(t, r.Digests, computed)

	dumping := run(t, few, append(env, "XLA_FLAGS=--xla_dump_to="+t.TempDir())...)
	if dumping.Stats != (backend.Stats{}) || !strings.Contains(dumping.Info.CacheOff, "dump") {
		t.Errorf("with a dump asked for: %+v\n%s", dumping.Stats, dumping.Info)
	}
}

// TestDamagedFilesAreCompiledAgain damages every file in one way at a time.
func TestDamagedFilesAreCompiledAgain(t *testing.T) {
	env, files, computed := filled(t, few)
	contents := make([][]byte, len(files))
	for i, file := range files {
		var err error
		if contents[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	// put writes a payload under the file's own key with a right checksum, as no accident does: only the plugin can
	// refuse it.
	put := func(i int, payload []byte) error {
		raw, err := hex.DecodeString(strings.TrimSuffix(filepath.Base(files[i]), ".xla"))
		if err != nil {
			return err
		}
		return executables.NewStore(filepath.Dir(files[i]), 1<<30).Put(executables.Key(raw), payload)
	}
	const header = 84
	write := func(i int, content []byte) error { return os.WriteFile(files[i], content, 0o600) }
	flip := func(i, at int) error {
		c := bytes.Clone(contents[i])
		c[at] ^= 0x40
		return write(i, c)
	}
	for _, damage := range []struct {
		name string
		do   func(i int) error
	}{
		{"empty", func(i int) error { return write(i, nil) }},
		{"header only", func(i int) error { return write(i, contents[i][:header]) }},
		{"half", func(i int) error { return write(i, contents[i][:len(contents[i])/2]) }},
		{"last byte missing", func(i int) error { return write(i, contents[i][:len(contents[i])-1]) }},
		{"one byte more", func(i int) error { return write(i, append(bytes.Clone(contents[i]), 0)) }},
		{"a bit in the header", func(i int) error { return flip(i, 50) }},
		{"a bit in the middle", func(i int) error { return flip(i, len(contents[i])/2) }},
		{"zeros", func(i int) error { return write(i, make([]byte, len(contents[i]))) }},
		{"a neighbour's file", func(i int) error { return write(i, contents[(i+1)%len(contents)]) }},
		{"a link to the file", func(i int) error {
			aside := files[i] + ".aside"
			return errors.Join(os.WriteFile(aside, contents[i], 0o600), os.Remove(files[i]), os.Symlink(aside, files[i]))
		}},
		{"writable by all", func(i int) error { return errors.Join(write(i, contents[i]), os.Chmod(files[i], 0o666)) }},
		{"a valid file of nothing", func(i int) error { return put(i, nil) }},
		{"a valid file of text", func(i int) error { return put(i, []byte(strings.Repeat("no program ", 500))) }},
		{"a valid file of zeros", func(i int) error { return put(i, make([]byte, 10000)) }},
		{"a valid file of half a program", func(i int) error { return put(i, contents[i][header:len(contents[i])/2]) }},
	} {
		t.Run(damage.name, func(t *testing.T) {
			for i := range files {
				if err := damage.do(i); err != nil {
					t.Fatal(err)
				}
			}
			r := run(t, few, env...)
			wantSame(t, r.Digests, computed)
			wantMisses(t, r, len(files), len(files))
			if r.Stats.Problem == "" {
				t.Error("nothing says why the files were refused")
			}
			again := run(t, few, env...)
			wantSame(t, again.Digests, computed)
			wantHits(t, again, len(files))
		})
	}
}

func TestSeveralProcessesAtOnce(t *testing.T) {
	cache := t.TempDir()
	env := append(needPlugin(t), cachedir.Variable+"="+cache)
	// The second round has a limit that holds the largest program, but not all, so files vanish under the readers.
	for round, limit := range []string{"1000000000", "160000"} {
		var waits []func() report
		for range 4 {
			waits = append(waits, start(t, everything, append(env, bytesVariable+"="+limit)...))
		}
		var first report
		for i, wait := range waits {
			r := wait()
			if i == 0 {
				first = r
			}
			wantSame(t, r.Digests, first.Digests)
			if r.Stats.Refused != 0 || r.Stats.Unstored != 0 || r.Stats.Hits+r.Stats.Misses != first.Stats.Hits+first.Stats.Misses {
				t.Errorf("round %d, process %d: %+v", round, i, r.Stats)
			}
		}
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	env, files, computed := filled(t, everything)
	dir := filepath.Dir(files[0])
	limit := sizeOf(t, dir) / 2
	// New programs, by another flag, into a cache that is too full for them.
	r := run(t, everything, append(env, "NPROC=1", fmt.Sprintf("%s=%d", bytesVariable, limit))...)
	wantSame(t, r.Digests, computed)
	if size := sizeOf(t, dir); size > limit {
		t.Errorf("%d bytes in the cache, limit %d", size, limit)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.xla")); err != nil || len(left) == 0 {
		t.Errorf("nothing is left in the cache (%v)", err)
	}
	bad := run(t, everything, append(env, bytesVariable+"=1GB")...)
	if !strings.Contains(bad.Error, `"1GB"`) || !strings.Contains(bad.Error, bytesVariable) {
		t.Errorf("a limit of 1GB: error %q", bad.Error)
	}
}

func sizeOf(t *testing.T, dir string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// TestAReadOnlyCacheStillGives is about caches baked into images.
func TestAReadOnlyCacheStillGives(t *testing.T) {
	env, files, computed := filled(t, few)
	dir := filepath.Dir(files[0])
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	if os.Geteuid() == 0 {
		// Root writes anywhere, unless it gives the capability up.
		setpriv, err := exec.LookPath("setpriv")
		if err != nil {
			t.Skipf("root writes to directories of any mode, and there is no setpriv to prevent it: %v", err)
		}
		childPrefix = []string{setpriv, "--bounding-set=-dac_override", "--inh-caps=-dac_override"}
		t.Cleanup(func() { childPrefix = nil })
	}
	r := run(t, few, env...)
	wantSame(t, r.Digests, computed)
	wantHits(t, r, len(files))
	// What is not there is compiled, each time, and the counts say so.
	for range 2 {
		r = run(t, few, append(env, "NPROC=1")...)
		wantSame(t, r.Digests, computed)
		if r.Stats.Misses != len(files) || r.Stats.Unstored != len(files) || !strings.Contains(r.Stats.Problem, "permission denied") {
			t.Errorf("new programs into a read-only cache: %+v", r.Stats)
		}
	}
	// A cache whose place cannot even be made is off, with the reason.
	r = run(t, few, append(env, cachedir.Variable+"="+filepath.Join(dir, "below"))...)
	wantSame(t, r.Digests, computed)
	if r.Info.CacheDir != "" || r.Info.CacheOff == "" {
		t.Errorf("a cache that cannot be made: %s", r.Info)
	}
}
