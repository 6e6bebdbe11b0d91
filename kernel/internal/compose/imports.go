package compose

import (
	"context"
	"crypto/sha256"
	"go/ast"
	"go/types"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Finder answers what the text of a notebook does not say. Its answers are remembered.
type Finder interface {
	// Find looks for the packages of selectors, as goimports does: what x is in x.Name, for names of each x. Those it does
	// not find are left out of the answer.
	Find(ctx context.Context, selectors map[string][]string) (map[string]Import, error)
	// Package tells the name of a package and what it exports; ok is false where that is not known.
	Package(ctx context.Context, path string) (name string, exports []string, ok bool)
	// Function is the type of a package's function, for its results; nil where it is not known.
	Function(ctx context.Context, path, name string) *ast.FuncType
}

// Import is an import of a file.
type Import struct {
	Name string // as the file writes it; empty: the package's own
	Path string
}

// memory is what a Finder has said.
type memory struct {
	finds     map[string]Import
	packages  map[string]knownPackage
	valueless map[[sha256.Size]byte]bool // programs whose last expression has no value
	callees   map[string]bool            // packages' functions, as path.Name, that have none
}

type knownPackage struct {
	name    string
	exports map[string]bool
	ok      bool
}

func (n *Notebook) knownPackage(ctx context.Context, f Finder, path string) knownPackage {
	if k, ok := n.memory.packages[path]; ok {
		return k
	}
	var k knownPackage
	if f != nil {
		var exports []string
		k.name, exports, k.ok = f.Package(ctx, path)
		k.exports = map[string]bool{}
		for _, e := range exports {
			k.exports[e] = true
		}
	}
	if n.memory.packages == nil {
		n.memory.packages = map[string]knownPackage{}
	}
	if ctx.Err() == nil {
		n.memory.packages[path] = k
	}
	return k
}

var version = regexp.MustCompile(`^v[0-9]+$`)

// importName is the name by which a file knows an import.
func (u *unit) importName() string {
	if u.names[0].text != "" {
		return u.names[0].text
	}
	return AssumedName(u.path)
}

// AssumedName guesses a package's name from its path, as goimports does.
func AssumedName(p string) string {
	base := path.Base(p)
	if version.MatchString(base) && path.Dir(p) != "." {
		base = path.Base(path.Dir(p))
	}
	base = strings.TrimPrefix(base, "go-")
	if i := strings.IndexFunc(base, func(r rune) bool {
		return !(r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r > 127)
	}); i >= 0 {
		base = base[:i]
	}
	return base
}

// imports are those that one file of a program needs.
type imports struct {
	wanted map[string]map[string]bool // x in x.Name, with the names
	plain  map[string]bool            // names that nothing in the notebook declares
	units  []*unit                    // import declarations of cells
	added  []Import                   // found by a Finder
}

// resolve says where the packages come from that a cell's file needs: from an import of the cell, else from the latest
// before it, else from what a Finder finds.
func (n *Notebook) resolve(ctx context.Context, f Finder, s *Source, o owners, need *imports) error {
	before := n.importsBefore(s, o)
	missing := map[string][]string{}
	for x, names := range need.wanted {
		if u := before.named(x, assumedNameOf); u != nil {
			need.units = append(need.units, u)
		} else {
			missing[x] = slices.Sorted(maps.Keys(names))
		}
	}
	for _, x := range slices.Sorted(maps.Keys(missing)) { // a package whose name is not that of its path
		u := before.named(x, func(u *unit) string {
			if std(u.path) || u.names[0].text != "" {
				return ""
			}
			return n.knownPackage(ctx, f, u.path).name
		})
		if u != nil {
			need.units = append(need.units, u)
			delete(missing, x)
		}
	}
	for _, x := range slices.Sorted(maps.Keys(missing)) {
		if i, ok := n.memory.finds[findKey(x, missing[x])]; ok {
			need.added = append(need.added, i)
			delete(missing, x)
		}
	}
	if len(missing) > 0 && f != nil {
		found, err := f.Find(ctx, missing)
		if err != nil {
			return err
		}
		for x, i := range found {
			need.added = append(need.added, i)
			if n.memory.finds == nil {
				n.memory.finds = map[string]Import{}
			}
			n.memory.finds[findKey(x, missing[x])] = i
		}
	}
	n.resolveDots(ctx, f, before, need)
	slices.SortFunc(need.units, func(a, b *unit) int { return a.cell.order*1_000_000 + a.start - b.cell.order*1_000_000 - b.start })
	slices.SortFunc(need.added, func(a, b Import) int { return strings.Compare(a.Path+" "+a.Name, b.Path+" "+b.Name) })
	return nil
}

// resolveDots takes those dot imports that have one of the names that nobody declares.
func (n *Notebook) resolveDots(ctx context.Context, f Finder, before importList, need *imports) {
	var open []string
	for x := range need.plain {
		if types.Universe.Lookup(x) == nil && x != "_" {
			open = append(open, x)
		}
	}
	if len(open) == 0 {
		return
	}
	taken := map[string]bool{}
	for _, u := range slices.Backward(before) {
		if u.kind != dotKind || taken[u.path] {
			continue
		}
		taken[u.path] = true
		k := n.knownPackage(ctx, f, u.path)
		if !k.ok || slices.ContainsFunc(open, func(x string) bool { return k.exports[x] }) {
			need.units = append(need.units, u)
		}
	}
}

// importList are imports in the order in which their cells ran.
type importList []*unit

// importsBefore are the imports that hold in a cell: its own have the last word, then those of the cells before it,
// then those that came later.
func (n *Notebook) importsBefore(s *Source, o owners) (list importList) {
	at := slices.Index(n.sources, s)
	if at < 0 {
		at = len(n.sources)
	}
	all := slices.Concat(n.sources[min(at+1, len(n.sources)):], n.sources[:at], []*Source{s})
	if s.Locked {
		all = lockedLast(all)
	}
	for _, source := range all {
		for _, u := range source.units {
			if (u.kind == importKind || u.kind == dotKind) && s.trusts(u) && (source == s ||
				slices.ContainsFunc(u.keys(), func(k string) bool { return o[k] != nil && !source.gone[k] })) {
				list = append(list, u)
			}
		}
	}
	return list
}

// named is the last import with a name.
func (l importList) named(x string, nameOf func(*unit) string) *unit {
	for _, u := range slices.Backward(l) {
		if u.kind == importKind && nameOf(u) == x {
			return u
		}
	}
	return nil
}

func assumedNameOf(u *unit) string { return u.importName() }

// std tells a path of the standard library: its first part has no dot, and it is not ours.
func std(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".") && first != "advlab"
}

func findKey(x string, names []string) string { return x + "." + strings.Join(names, ",") }
