package lab

import (
	"fmt"
	"strings"

	"advlab/advlib/internal/option"
)

// Read returns the kept value of a kind by its key, which may be shortened to what is unique among values of that kind,
// with its provenance. It is for programs that were given a key: a notebook has the recipe, and calls [Keep].
func Read[T any](kind Kind[T], key string) (T, Entry, error) {
	var none T
	entries, err := List()
	if err != nil {
		return none, Entry{}, err
	}
	var found []Entry
	for _, e := range entries {
		if key != "" && strings.HasPrefix(e.Key, key) && (e.Kind == kind.Name || e.Damaged != "") {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		return none, Entry{}, fmt.Errorf("lab: %d of the entries of kind %s have a key that begins with %q: give %v", len(found),
			kind.Name, key, option.Name("one key of lab.List"))
	}
	if found[0].Damaged != "" {
		return none, found[0], fmt.Errorf("lab: the entry %s is damaged: %s", found[0].Key, found[0].Damaged)
	}
	dir, err := place(found[0].Key)
	if err != nil {
		return none, found[0], err
	}
	v, err := kind.Read(dir)
	if err != nil {
		return none, found[0], fmt.Errorf("lab: reading %s: %w", found[0].Key, err)
	}
	return v, found[0], nil
}
