package style

import (
	"flag"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

var wrap = flag.String("wrap", "", "a folder, such as advlib/attack, whose comments and Markdown are wrapped")

// TestWrap wraps the paragraphs of a folder that are too wide. Code it leaves alone, as the comments behind code.
func TestWrap(t *testing.T) {
	if *wrap == "" {
		t.Skip("no folder is given with -wrap")
	}
	for _, name := range tracked(t) {
		if path.Dir(name) != path.Clean(*wrap) {
			continue
		}
		file := filepath.Join(root, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if wrapped := wrapped(name, string(text)); wrapped != string(text) {
			if err := os.WriteFile(file, []byte(wrapped), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

var (
	// A line of a comment or of Markdown: what stands in front of it, the mark of an item of a list, and its text.
	goLine = regexp.MustCompile(`^(\t*// )((?:  )? *(?:[-*]|\d+\.) +)?(\S.*)$`)
	mdLine = regexp.MustCompile(`^()( *(?:[-*]|\d+\.) +)?(\S.*)$`)
	item   = regexp.MustCompile(`^(?:[-*]|\d+\.) `)
	// Lines that are no prose: headings, directives, tables.
	fixed = regexp.MustCompile("^(#|\\||//|```)|\\S  +\\S")
	// A word that would begin a list, a heading or a table at the start of a line.
	begins = regexp.MustCompile(`^([-+*>#|].*|\d+[.)])$`)
)

// wrapped returns a file's text with its wide paragraphs filled anew.
func wrapped(file, text string) string {
	wide := map[int]bool{}
	for _, f := range tooLong(file, text) {
		if f.what == "prose" {
			wide[f.line-1] = true
		}
	}
	pattern := goLine
	if strings.HasSuffix(file, ".md") {
		pattern = mdLine
	}
	lines := strings.Split(text, "\n")
	var out []string
	for i := 0; i < len(lines); {
		end, prefix, mark, words, again := paragraph(pattern, lines, i)
		any := false
		for l := i; l < end; l++ {
			any = any || wide[l]
		}
		if !any || !again {
			out = append(out, lines[i:end]...)
		} else {
			out = append(out, fill(prefix, mark, words)...)
		}
		i = end
	}
	return strings.Join(out, "\n")
}

// paragraph returns where the paragraph at a line ends, its parts, and whether it may be filled anew.
func paragraph(pattern *regexp.Regexp, lines []string, first int) (end int, prefix, mark string, words []string, ok bool) {
	m := pattern.FindStringSubmatch(lines[first])
	if m == nil || fixed.MatchString(m[3]) {
		return first + 1, "", "", nil, false
	}
	prefix, mark = m[1], m[2]
	words = strings.Fields(m[3])
	indent := strings.Repeat(" ", utf8.RuneCountInString(mark))
	for end = first + 1; end < len(lines); end++ {
		rest, ok := strings.CutPrefix(lines[end], prefix+indent)
		if !ok || strings.TrimLeft(rest, " \t") != rest || rest == "" || fixed.MatchString(rest) || item.MatchString(rest) {
			break
		}
		words = append(words, strings.Fields(rest)...)
	}
	return end, prefix, mark, words, true
}

// fill puts as many words on each line as have room, and keeps what stands in `…` together where it is short.
func fill(prefix, mark string, words []string) (lines []string) {
	const together = 50
	var glued []string
	for i := 0; i < len(words); i++ {
		word := words[i]
		for n := 1; strings.Count(word, "`")%2 == 1 && i+n < len(words); n++ {
			longer := strings.Join(words[i:i+n+1], " ")
			if utf8.RuneCountInString(longer) > together {
				break
			}
			if strings.Count(longer, "`")%2 == 0 {
				word, i = longer, i+n
				break
			}
		}
		if len(glued) > 0 && begins.MatchString(word) {
			glued[len(glued)-1] += " " + word
		} else {
			glued = append(glued, word)
		}
	}
	line := prefix + mark
	indent := prefix + strings.Repeat(" ", utf8.RuneCountInString(mark))
	for i, word := range glued {
		switch {
		case i == 0:
			line += word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > proseWidth:
			lines = append(lines, line)
			line = indent + word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

func TestWrapped(t *testing.T) {
	eleven := strings.TrimSpace(strings.Repeat("ten letter ", 11)) // 120 characters
	for _, c := range []struct{ name, file, text, want string }{
		{"narrow", "a.go", "// a\n// b\n\tx()\n", "// a\n// b\n\tx()\n"},
		{"comment", "a.go", "package a\n\n// " + eleven + " b\n// c\n//\n// d\n// e\n",
			"package a\n\n// " + eleven[:len(eleven)-7] + "\n// letter b c\n//\n// d\n// e\n"},
		{"item", "a.md", "- " + eleven + "\n  b\n- c\n", "- " + eleven[:len(eleven)-7] + "\n  letter b\n- c\n"},
		{"no item by accident", "a.md", eleven + " - b\n", eleven[:len(eleven)-7] + "\nletter - b\n"},
		{"code in a line", "a.md", eleven[:113] + " `go test`\n", eleven[:113] + "\n`go test`\n"},
		{"table", "a.md", "| " + eleven + " |\n", "| " + eleven + " |\n"},
		{"heading", "a.md", "# " + eleven + "\n", "# " + eleven + "\n"},
		{"indented", "a.go", "package a\n\n//\t" + eleven + "\n", "package a\n\n//\t" + eleven + "\n"},
	} {
		if got := wrapped(c.file, c.text); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}
