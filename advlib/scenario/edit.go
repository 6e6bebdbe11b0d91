package scenario

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Edit is a change that the owner of a link can make.
type Edit struct {
	// Name says what is changed, such as "a longer path".
	Name string
	// Link is what it becomes.
	Link Link
}

// Edits returns what the owner of a link can change of it, one change each: of its scheme, of his host's subdomains, of
// path and query, which his server reads as he likes, and, with another name to register, of its hyphens and digits.
// What follows the change is a link that works if he says so; the registered name and its suffix stay, but for hyphens
// and digits.
func (l Link) Edits() []Edit {
	scheme, host, authority, end := l.parts()
	var edits []Edit
	add := func(name, raw string) {
		if e, err := ParseLink(raw); err == nil && e.raw != l.raw {
			edits = append(edits, Edit{name, e})
		}
	}
	rest := l.raw[end:]
	with := func(scheme, authority, rest string) string { return scheme + "://" + authority + rest }
	if scheme == "http" {
		add("encrypted", with("https", authority, rest))
	} else {
		add("not encrypted", with("http", authority, rest))
	}
	// Before the host there may be a user, behind it a port.
	before, behind, ok := strings.Cut(authority, host)
	if subdomain, domain, suffix := l.names(); ok && suffix != "" && domain != "" {
		rehost := func(name, host string) { add(name, with(scheme, before+host+behind, rest)) }
		base := domain + "." + suffix
		if subdomain != "" {
			rehost("no subdomain", base)
			if _, less, ok := strings.Cut(subdomain, "."); ok {
				rehost("a subdomain less", less+"."+base)
			}
			if without := strings.ReplaceAll(subdomain, "-", ""); without != "" {
				rehost("no hyphen in the subdomain", without+"."+base)
			}
		}
		if !strings.HasPrefix(host, "www.") {
			rehost("www", "www."+host)
		}
		for _, n := range []int{1, 4, 12} {
			rehost(fmt.Sprintf("a subdomain of %d letters", n), letters(n)+"."+host)
		}
		if without := strings.Trim(strings.ReplaceAll(domain, "-", ""), "-"); without != "" {
			rehost(otherName+", without hyphens", strings.TrimPrefix(subdomain+"."+without+"."+suffix, "."))
		}
		if without := strings.Map(noDigit, domain); without != "" {
			rehost(otherName+", without digits", strings.TrimPrefix(subdomain+"."+without+"."+suffix, "."))
		}
	}
	edits = append(edits, l.pathEdits()...)
	return edits
}

// otherName begins the names of edits after which another name must be registered.
const otherName = "another name"

// pathEdits are the edits behind the host.
func (l Link) pathEdits() []Edit {
	_, _, _, end := l.parts()
	head, rest := l.raw[:end], l.raw[end:]
	var edits []Edit
	add := func(name, rest string) {
		if e, err := ParseLink(head + rest); err == nil && e.raw != l.raw {
			edits = append(edits, Edit{name, e})
		}
	}
	path, query := rest, ""
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		path, query = rest[:i], rest[i:]
	}
	for _, n := range []int{1, 3, 8, 20} {
		add(fmt.Sprintf("a path longer by a word of %d letters", n), strings.TrimSuffix(path, "/")+"/"+letters(n)+query)
		if path != "" && !strings.HasSuffix(path, "/") {
			add(fmt.Sprintf("a last word longer by %d letters", n), path+letters(n)+query)
			add(fmt.Sprintf("a hyphen and %d letters", n), path+"-"+letters(n)+query)
		}
	}
	add("no path", query)
	add("only the path's beginning", path[:strings.LastIndexByte("/"+path, '/')]+query)
	add("a slash at the end", path+"/"+query)
	add("no slash at the end", strings.TrimSuffix(path, "/")+query)
	add("no query", path)
	if query == "" {
		add("a query", path+"?"+letters(1)+"="+letters(3))
	} else {
		add("a query longer by a value", path+query+"&"+letters(1)+"="+letters(3))
	}
	for name, change := range replacements {
		add(name, change(rest))
	}
	slices.SortFunc(edits, func(a, b Edit) int { return strings.Compare(a.Name, b.Name) })
	return edits
}

// replacements are changes of the text behind the host.
var replacements = map[string]func(rest string) string{
	"no hyphens in the path":          func(s string) string { return strings.ReplaceAll(s, "-", "") },
	"slashes for hyphens in the path": func(s string) string { return strings.ReplaceAll(s, "-", "/") },
	"hyphens for underscores":         func(s string) string { return strings.ReplaceAll(s, "_", "-") },
	"no points in the path":           func(s string) string { return strings.ReplaceAll(s, ".", "") },
	"no digits in the path":           func(s string) string { return strings.Map(noDigit, s) },
	"letters for digits in the path":  func(s string) string { return strings.Map(letterForDigit, s) },
}

func noDigit(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}

func letterForDigit(r rune) rune {
	if r >= '0' && r <= '9' {
		return rune("ozieasgtbq"[r-'0'])
	}
	return r
}

// letters is a word of n letters that is no hint, no brand, and has no letter twice in a row.
func letters(n int) string {
	const some = "uvoymuroleyanumiroke"
	return strings.Repeat(some, n/len(some)+1)[:n]
}

// Realised is a link that has the features of an adversarial record.
type Realised struct {
	// Link is it, and Edits are the names of the changes that lead to it, in their order.
	Link  Link
	Edits []string
}

// Realise looks for edits of a link after which the given features, of those of [LinkColumns], have the given values:
// those of an adversarial record, whose link an attacker must be able to write. It tries sequences of at most depth
// edits, the most promising first, and at most 4000 links; false if none is found, which does not prove that there is
// none.
func (l Link) Realise(want map[string]float64, depth int) (Realised, bool, error) {
	for name := range want {
		if !slices.Contains(LinkColumns, name) {
			return Realised{}, false, fmt.Errorf("scenario: no link determines the feature %q: there are %q", name, LinkColumns)
		}
	}
	const width, most = 60, 4000
	type state struct {
		Realised
		miss float64
	}
	beam := []state{{Realised{Link: l}, miss(l.Features(), want)}}
	seen := map[string]bool{l.raw: true}
	for step := 0; ; step++ {
		if beam[0].miss == 0 {
			return beam[0].Realised, true, nil
		}
		if step == depth || len(seen) >= most {
			return Realised{}, false, nil
		}
		var next []state
		for _, s := range beam {
			for _, e := range s.Link.Edits() {
				if seen[e.Link.raw] || len(seen) >= most {
					continue
				}
				seen[e.Link.raw] = true
				names := append(slices.Clone(s.Edits), e.Name)
				next = append(next, state{Realised{e.Link, names}, miss(e.Link.Features(), want)})
			}
		}
		if len(next) == 0 {
			return Realised{}, false, nil
		}
		slices.SortStableFunc(next, func(a, b state) int {
			switch {
			case a.miss < b.miss:
				return -1
			case a.miss > b.miss:
				return 1
			}
			return len(a.Link.raw) - len(b.Link.raw)
		})
		beam = next[:min(width, len(next))]
	}
}

// miss is how far features are from what is wanted, each relative to it. Float32, in which records are, counts as
// equal.
func miss(have, want map[string]float64) (sum float64) {
	for name, w := range want {
		if v := have[name]; float32(v) != float32(w) {
			sum += math.Abs(v-w)/(1+math.Abs(w)) + 0.01
		}
	}
	return sum
}
