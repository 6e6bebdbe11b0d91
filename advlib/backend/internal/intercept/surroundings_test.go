package intercept

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCPUFeatures(t *testing.T) {
	const x86 = `processor	: 0
vendor_id	: GenuineIntel
model name	: Some CPU @ 2.60GHz
cpu MHz		: 2600.000
flags		: fpu avx2 avx512f
bugs		: spectre_v1

processor	: 1
vendor_id	: GenuineIntel
model name	: Some CPU @ 2.60GHz
cpu MHz		: 1200.000
flags		: fpu avx2 avx512f
`
	const want = "vendor_id:GenuineIntel\nmodel name:Some CPU @ 2.60GHz\nflags:fpu avx2 avx512f"
	features := func(text string) string {
		t.Helper()
		got, err := cpuFeatures(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := features(x86); got != want {
		t.Errorf("features %q, want %q", got, want)
	}
	if features(strings.Replace(x86, "cpu MHz		: 2600.000", "cpu MHz		: 800.000", 1)) != want {
		t.Error("the clock rate changes the features")
	}
	if features(strings.ReplaceAll(x86, " avx512f", "")) == want {
		t.Error("fewer instruction sets do not change the features")
	}
	if features(strings.Replace(x86, "fpu avx2 avx512f", "fpu avx2", 1)) == want {
		t.Error("a second kind of processor does not change the features")
	}
	const arm = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU part\t: 0xd0c\n"
	if got, want := features(arm), "Features:fp asimd\nCPU part:0xd0c"; got != want {
		t.Errorf("features %q, want %q", got, want)
	}
}

func TestXLAFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "flags")
	if err := os.WriteFile(file, []byte("--xla_from_file"), 0o600); err != nil {
		t.Fatal(err)
	}
	dump := filepath.Join(t.TempDir(), "dump")
	if err := os.WriteFile(dump, []byte("--xla_dump_to=/somewhere"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ value, want, wrong string }{
		{"", "", ""},
		{"--xla_cpu_enable_fast_math=true", "--xla_cpu_enable_fast_math=true", ""},
		{file, "--xla_from_file", ""},
		{file + ".missing", "", "names a file"},
		{"--xla_dump_to=/somewhere", "", "dumps"},
		{dump, "", "dumps"},
	} {
		got, err := xlaFlags(c.value)
		if c.wrong == "" && (err != nil || got != c.want) {
			t.Errorf("xlaFlags(%q) = %q, %v, want %q", c.value, got, err, c.want)
		}
		if c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("xlaFlags(%q): %v, want an error that says %q", c.value, err, c.wrong)
		}
	}
}

func TestSurroundingsFollowTheEnvironment(t *testing.T) {
	if _, err := os.Stat("/proc/cpuinfo"); err != nil {
		t.Skip("no /proc/cpuinfo: the cache is for Linux")
	}
	join := func() string {
		t.Helper()
		parts, err := surroundings()
		if err != nil {
			t.Fatal(err)
		}
		var s strings.Builder
		for _, p := range parts {
			s.Write(p)
			s.WriteByte(0)
		}
		return s.String()
	}
	t.Setenv("XLA_FLAGS", "")
	before := join()
	for _, variable := range []string{"XLA_FLAGS", "NPROC", "PJRT_NPROC"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "--1")
			if join() == before {
				t.Errorf("%s does not belong to the key", variable)
			}
		})
	}
}
