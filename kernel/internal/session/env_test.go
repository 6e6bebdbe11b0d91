package session_test

import (
	"slices"
	"strings"
	"testing"

	"advlab/kernel/internal/place"
	"advlab/kernel/internal/session"
)

func TestEnv(t *testing.T) {
	p := place.Of("/cache", "/src")
	facts := session.Facts{GoRoot: "/go", CGO: true, Plugin: "/cache/pjrt"}
	for _, test := range []struct {
		name  string
		facts session.Facts
		base  []string
		want  map[string]string // a value of "-" means: not set
	}{
		{"plain", facts, []string{"PATH=/usr/bin", "HOME=/home/a"}, map[string]string{
			"PATH": "/cache/tools:/go/bin:/usr/bin", "HOME": "/home/a", "GOFLAGS": "-ldflags=-s", "GOTOOLCHAIN": "local",
			"GOMLX_NO_AUTO_INSTALL": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "PJRT_PLUGIN_LIBRARY_PATH": "/cache/pjrt",
			"GOPROXY": "off", "CGO_ENABLED": "-"}},
		{"settings that break a workspace", facts, []string{"GOWORK=/x/go.work", "GO111MODULE=off", "GOROOT=/old", "GOFLAGS=-mod=mod"},
			map[string]string{"GOWORK": "-", "GO111MODULE": "-", "GOROOT": "-", "GOFLAGS": "-ldflags=-s"}},
		{"the user's plugin stays", facts, []string{"PJRT_PLUGIN_LIBRARY_PATH=/mine", "TF_CPP_MIN_LOG_LEVEL=0"},
			map[string]string{"PJRT_PLUGIN_LIBRARY_PATH": "/mine", "TF_CPP_MIN_LOG_LEVEL": "0"}},
		{"no plugin, no C compiler", session.Facts{GoRoot: "/go"}, nil,
			map[string]string{"PJRT_PLUGIN_LIBRARY_PATH": "-", "CGO_ENABLED": "0"}},
		{"the user wants no cgo", facts, []string{"CGO_ENABLED=0"}, map[string]string{"CGO_ENABLED": "0"}},
		{"cells never choose versions", facts, []string{"GOPROXY=direct"}, map[string]string{"GOPROXY": "off"}},
		{"the last of two entries counts", facts, []string{"HOME=/a", "HOME=/b"}, map[string]string{"HOME": "/b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := session.Env(p, test.facts, test.base)
			for name, want := range test.want {
				got := "-"
				count := 0
				for _, entry := range env {
					if value, ok := strings.CutPrefix(entry, name+"="); ok {
						got, count = value, count+1
					}
				}
				if got != want || count > 1 {
					t.Errorf("%s = %q (%d entries), want %q", name, got, count, want)
				}
			}
			if slices.ContainsFunc(env, func(entry string) bool { return !strings.Contains(entry, "=") }) {
				t.Errorf("an entry without =: %q", env)
			}
		})
	}
}
