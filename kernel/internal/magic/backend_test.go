package magic

import (
	"strings"
	"testing"
)

func TestBackendCommand(t *testing.T) {
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", t.TempDir()) // nothing there
	t.Setenv("ADVLAB_CACHE", t.TempDir())
	backend := All(Setup{CGO: true, Plugin: "/cache/pjrt"})["backend"]
	for _, test := range []struct {
		arguments []string
		setup     Setup
		wrong     string // part of the error
	}{
		{nil, Setup{}, ""},
		{[]string{"go"}, Setup{}, ""},
		{[]string{"auto"}, Setup{}, ""},
		{[]string{"xla:cpu"}, Setup{CGO: true, Plugin: "/cache/pjrt"}, ""},
		{[]string{"xla:cpu"}, Setup{}, "needs a C compiler"},
		{[]string{"xla:cpu"}, Setup{CGO: true}, "xla:cpu: "},
		{[]string{"tpu"}, Setup{CGO: true}, `there is no backend "tpu"`},
		{[]string{"go", "auto"}, Setup{}, "takes one backend"},
	} {
		err := checkBackend(test.setup, test.arguments)
		if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
			t.Errorf("%q with %+v: %v, want %q", test.arguments, test.setup, err, test.wrong)
		}
	}
	if got, want := backend.Instead([]string{"go"}), "%env ADVLAB_BACKEND=go"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
