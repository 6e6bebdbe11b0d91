package lab_test

import (
	"context"
	"testing"

	"advlab/advlib/cachedir"
	"advlab/advlib/lab"
)

func TestRead(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	kind := lab.Values[map[string]int]("numbers")
	keep := func(name string, n int) string {
		r := lab.Recipe{Name: name, Parts: map[string]string{"of": name}}
		if _, err := lab.Keep(t.Context(), kind, r, func(context.Context) (map[string]int, error) {
			return map[string]int{"n": n}, nil
		}); err != nil {
			t.Fatal(err)
		}
		return r.Key(kind.Name)
	}
	first, second := keep("first", 1), keep("second", 2)
	for i, key := range []string{first, second[:12]} {
		v, e, err := lab.Read(kind, key)
		if err != nil || v["n"] != i+1 || e.Name != []string{"first", "second"}[i] {
			t.Errorf("%s: %v, %s, %v", key, v, e.Name, err)
		}
	}
	for _, key := range []string{"", "nowhere", first + "0"} {
		if _, _, err := lab.Read(kind, key); err == nil {
			t.Errorf("no error for the key %q", key)
		}
	}
	if _, _, err := lab.Read(lab.Values[int]("others"), first); err == nil {
		t.Error("no error for another kind")
	}
}
