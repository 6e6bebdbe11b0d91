package relay

import (
	"context"
	"go/ast"
	"slices"
	"strings"

	"advlab/kernel/internal/assist"
	"advlab/kernel/internal/compose"
	"advlab/kernel/internal/gonb"
)

// finder asks goimports for packages; of one that has no such name, it knows what was meant: so the compiler says
// "undefined: fmt.Printn", and not "undefined: fmt".
type finder struct {
	tools     gonb.Finder
	assistant *assist.Assistant
}

var _ compose.Finder = finder{}

func (f finder) Find(ctx context.Context, selectors map[string][]string) (map[string]compose.Import, error) {
	found, err := f.tools.Find(ctx, selectors)
	if err != nil {
		return found, err
	}
	for x, names := range selectors {
		if _, ok := found[x]; ok {
			continue
		}
		path, exports := f.assistant.Package(x)
		if path != "" && slices.ContainsFunc(names, func(name string) bool {
			return slices.Contains(exports, name) ||
				len(nearest(name, exports)) > 0
		}) {
			found[x] = compose.Import{Path: path}
		}
	}
	return found, nil
}

func (f finder) Package(ctx context.Context, path string) (name string, exports []string, ok bool) {
	if name, exports, ok := f.assistant.Exports(path); ok {
		return name, exports, ok
	}
	return f.tools.Package(ctx, path)
}

func (f finder) Function(_ context.Context, path, name string) *ast.FuncType {
	return f.assistant.Function(path, name)
}

// nearest are the names that a mistyped one may mean, the nearest first, three at most: those that differ in few
// letters, and those that share a word with it.
func nearest(name string, among []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var all []candidate
	for _, other := range among {
		d := distance(strings.ToLower(name), strings.ToLower(other))
		if d <= max(1, len(name)/3) || d < len(other) && shareWord(name, other) {
			all = append(all, candidate{other, d})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	var names []string
	for _, c := range all[:min(3, len(all))] {
		names = append(names, c.name)
	}
	return names
}

// shareWord tells whether two names in CamelCase have a word of three letters or more in common.
func shareWord(a, b string) bool {
	for _, word := range words(a) {
		if len(word) > 2 && slices.Contains(words(b), word) {
			return true
		}
	}
	return false
}

func words(name string) (all []string) {
	start := 0
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			all = append(all, strings.ToLower(name[start:i]))
			start = i
		}
	}
	return append(all, strings.ToLower(name[start:]))
}

// distance is the number of letters to insert, delete or replace, or of neighbours to swap.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		twice := before
		before, row = row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], twice[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
