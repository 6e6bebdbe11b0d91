package magic

import (
	"slices"
	"strings"
	"testing"
)

// Every command is completed, and known to %help, wherever it is run: by this package, by package relay, by GoNB.
func TestList(t *testing.T) {
	l := All(Setup{})
	help, names := l.Help(), l.names()
	for _, name := range []string{"%backend", "%doctor", "%pin", "%check", "%time", "%help", "%env", "%goflags", "%%bash", "%%"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not completed", name)
		}
		if !strings.Contains(help, "`"+name) {
			t.Errorf("%%help does not know %s:\n%s", name, help)
		}
	}
	for name, magic := range l {
		if magic.Help == "" || magic.Run == nil {
			t.Errorf("%%%s: %+v", name, magic)
		}
	}
	for name, want := range map[string]string{
		"nonsense": "there is no command %nonsense: %help lists them",
		"%time":    "there is no command %%time, but %time",
		"%pin":     "there is no command %%pin, but %pin",
		"%bash":    "%%bash takes the whole cell, so it has to be its first line",
	} {
		if got := l.Unknown(name).Error(); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
