package relay

import (
	"strings"
	"syscall"
	"testing"
)

// Every blank import counts, not only the last; also in a GoNB that was started again, and in tests.
func TestBlankImports(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	// image.Decode knows the formats of which a package was imported.
	const decode = "%%\nfor _, head := range []string{\"\\x89PNG\\r\\n\\x1a\\n\", \"GIF89a\", \"\\xff\\xd8\"} {\n" +
		"\t_, _, err := image.DecodeConfig(strings.NewReader(head))\n\tfmt.Println(err == image.ErrFormat)\n}"
	known := func(n int) string {
		return strings.Repeat("false\n", n) + strings.Repeat("true\n", 3-n)
	}
	for _, test := range []struct{ code, stdout string }{
		{decode, known(0)},
		{"import _ \"image/png\"\n" + decode, known(1)}, // GoNB's
		{"import _ \"image/gif\"\n" + decode, known(2)},
		{decode, known(2)},
		{"import (\n\t_ \"image/jpeg\"\n\t_ \"image/png\"\n)\n" + decode, known(3)},
		{"var later = 1", ""},
		{decode, known(3)},
		{"%test\nfunc TestFormats(t *testing.T) {\n\tif _, _, err := image.DecodeConfig(strings.NewReader(\"GIF89a\")); err == image.ErrFormat {\n\t\tt.Fatal(err)\n\t}\n}", ""},
	} {
		if r := f.run(test.code); r.Status != "ok" || test.stdout != "" && r.stdout != test.stdout {
			t.Errorf("%s\n%s: stdout %q, want %q; %s", test.code, r.Status, r.stdout, test.stdout, r.Text)
		}
	}
	// One that is refused is named by its line, is not kept, and does not harm the others.
	r := f.run("%noautoget\nimport (\n\t_ \"image/gif\"\n\t_ \"cmd/internal/obj\"\n\t_ \"image/png\"\n)")
	if r.Class != "CompileError" || !strings.Contains(r.Text, "cell 9, line 4: use of internal package cmd/internal/obj not allowed") {
		t.Errorf("%s %q\n%s", r.Class, r.Text, strings.Join(r.Traceback, "\n"))
	}
	r = f.run("%autoget\nimport (\n\t_ \"image/nope\"\n\t_ \"image/png\"\n)")
	if r.Class != "CompileError" || !strings.Contains(r.Text, "image/nope") {
		t.Errorf("%s %q\n%s", r.Class, r.Text, strings.Join(r.Traceback, "\n"))
	}
	if trace := strings.Join(r.Traceback, "\n"); strings.Contains(trace, "cell_0") {
		t.Errorf("the file shows:\n%s", trace)
	}
	if r := f.run(decode); r.stdout != known(3) {
		t.Errorf("after refused imports: %+v", r)
	}
	// A GoNB that is started again.
	_ = syscall.Kill(f.k.pid("gonb"), syscall.SIGKILL)
	eventually(t, "GoNB is back", cellTime, func() bool { return f.run(decode).stdout == known(3) })
	if r := f.run("%reset\n" + decode); !strings.HasSuffix(r.stdout, "\n"+known(0)) {
		t.Errorf("after %%reset: %+v", r)
	}
}
