package assist

import (
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"advlab/kernel/internal/cell"
)

// Kind says what a command takes, for completions.
type Kind int

const (
	Nothing   Kind = iota // or what cannot be known
	Files                 // paths of files and folders
	Folders               // paths of folders
	Names                 // what the notebook declares
	Functions             // functions that the notebook declares
	Variables             // NAME=VALUE of the environment
)

// Command is a command of cells, and what it takes.
type Command struct {
	Name  string // with its %
	Help  string
	Words []string // that may stand behind it
	Kind  Kind     // what else may
}

// most is the number of matches of a kind that can be long, such as files.
const most = 300

// help is the help of the command whose line the cursor is in.
func (a *Assistant) help(q Question) (text string, ok bool) {
	lines := strings.Split(q.Code, "\n")
	number := strings.Count(string([]rune(q.Code)[:q.Cursor]), "\n")
	line := strings.TrimPrefix(lines[number], cell.CommentPrefix)
	parsed := cell.Parse(q.Code)
	if line == "" || !parsed.Command[number] && !(parsed.Special && number == 0) && line != "%" {
		return "", false
	}
	name, _, _ := strings.Cut(line, " ")
	switch {
	case strings.HasPrefix(line, "!*"):
		name = "!*"
	case line[0] == '!':
		name = "!"
	}
	for _, c := range a.config.Commands {
		if c.Name == name {
			return strings.TrimSuffix("`"+name+"`: "+c.Help, ": "), true
		}
	}
	return "", false
}

// command completes in a line of % or !; ok is false where the cursor is in no such line.
func (a *Assistant) command(q Question) (c Completions, ok bool) {
	runes := []rune(q.Code)
	before := string(runes[:q.Cursor])
	number := strings.Count(before, "\n")
	line := before[strings.LastIndexByte(before, '\n')+1:]
	parsed := cell.Parse(q.Code)
	hidden := strings.TrimPrefix(line, cell.CommentPrefix)
	if hidden == "" || hidden[0] != '%' && hidden[0] != '!' || !parsed.Command[number] && !(parsed.Special && number == 0) && hidden != "%" &&
		hidden != "!" {
		return Completions{}, false
	}
	answer := func(word string, matches []string) (Completions, bool) {
		list := []string{}
		for _, m := range matches {
			if strings.HasPrefix(m, word) && len(list) < most {
				list = append(list, m)
			}
		}
		return Completions{Matches: list, Start: q.Cursor - len([]rune(word))}, true
	}
	word := hidden[strings.LastIndexAny(hidden, " \t")+1:]
	if hidden[0] == '!' {
		if word == hidden { // the first word, with its ! or !*
			bare := strings.TrimLeft(word, "!*")
			return answer(bare, append(programs(bare), paths(q.Dir, bare, false)...))
		}
		return answer(word, paths(q.Dir, word, false))
	}
	if word == hidden {
		var names []string
		for _, c := range a.config.Commands {
			names = append(names, c.Name)
		}
		return answer(word, names)
	}
	name, _, _ := strings.Cut(hidden, " ")
	at := slices.IndexFunc(a.config.Commands, func(c Command) bool { return c.Name == name })
	if at < 0 {
		return answer(word, nil)
	}
	matches := slices.Clone(a.config.Commands[at].Words)
	switch kind := a.config.Commands[at].Kind; kind {
	case Files, Folders:
		matches = append(matches, paths(q.Dir, word, kind == Folders)...)
	case Names:
		matches = append(matches, q.Earlier.Names()...)
	case Functions:
		matches = append(matches, q.Earlier.Functions()...)
	case Variables:
		if len(strings.Fields(hidden)) <= 2 && !strings.Contains(word, "=") {
			matches = append(matches, environment(q.Earlier)...)
		}
	}
	return answer(word, matches)
}

// environment lists the names of the environment's variables, and those that earlier cells have set.
func environment(earlier *cell.Declarations) (names []string) {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	names = append(names, earlier.Variables()...)
	slices.Sort(names)
	return slices.Compact(names)
}

// paths lists the files whose path begins with a text; those of folders end with a /. Hidden ones are for who asks.
func paths(dir, text string, folders bool) (list []string) {
	at := strings.LastIndexByte(text, '/') + 1
	parent := text[:at]
	look := parent
	if rest, ok := strings.CutPrefix(parent, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		look = filepath.Join(home, rest)
	} else if !filepath.IsAbs(parent) {
		look = filepath.Join(dir, parent)
	}
	if look == "" {
		look = "."
	}
	entries, err := os.ReadDir(look)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, text[at:]) || strings.HasPrefix(name, ".") && !strings.HasPrefix(text[at:], ".") || len(list) >= most {
			continue
		}
		info, err := os.Stat(filepath.Join(look, name)) // also behind a link
		isDir := err == nil && info.IsDir()
		if isDir {
			name += "/"
		}
		if isDir || !folders {
			list = append(list, parent+name)
		}
	}
	return list
}

// programs lists the commands of PATH that begin with a text, which is not empty.
func programs(text string) (list []string) {
	if text == "" || strings.Contains(text, "/") {
		return nil
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), text) {
				list = append(list, entry.Name())
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// quoted tells whether the cursor is in a string or a comment, and what the string holds up to the cursor.
func quoted(code string, cursor int) (text string, inString, inComment bool) {
	left := string([]rune(code)[:cursor])
	source, end := cell.Parse(left).GoSource()
	source = source[:end]
	fset := token.NewFileSet()
	file := fset.AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, []byte(source), func(token.Position, string) {}, scanner.ScanComments)
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return "", false, false
		}
		if file.Offset(pos)+len(lit) < end {
			continue
		}
		switch {
		case tok == token.COMMENT:
			return "", false, strings.HasPrefix(lit, "//") || len(lit) < 4 || !strings.HasSuffix(lit, "*/")
		case tok == token.STRING && (lit == `"` || lit == "`" || lit[len(lit)-1] != lit[0]):
			return lit[1:], true, false
		case tok == token.STRING && lit[0] == '"' && strings.HasSuffix(lit, `\"`) && !strings.HasSuffix(lit, `\\"`):
			return lit[1:], true, false
		case tok == token.CHAR:
			return "", false, len(lit) < 2 || lit[len(lit)-1] != '\''
		}
	}
}

var (
	importLine = regexp.MustCompile("^\\s*(?:import\\s+)?(?:[\\pL_.][\\pL\\pN_]*\\s+)?[\"`][^\"`]*$")
	importOpen = regexp.MustCompile(`(?m)^\s*import\s*\(`)
)

// importAt is the path of the import that the cursor is in; empty: it is in none.
func importAt(code string, cursor int) string {
	rest, _, _ := strings.Cut(string([]rune(code)[cursor:]), "\n")
	text, inString, _ := quoted(code, cursor)
	end := strings.IndexAny(rest, "\"`")
	if !inString || end < 0 || !inImport(code, cursor) {
		return ""
	}
	return text + rest[:end]
}

// inImport tells whether the cursor, which is in a string, is in the path of an import.
func inImport(code string, cursor int) bool {
	left := string([]rune(code)[:cursor])
	line := left[strings.LastIndexByte(left, '\n')+1:]
	if open := importOpen.FindAllStringIndex(left, -1); open != nil && !strings.Contains(left[open[len(open)-1][1]:], ")") {
		line = line[strings.LastIndexAny(line, "(;")+1:]
		return importLine.MatchString(line)
	}
	line = line[strings.LastIndexByte(line, ';')+1:]
	return strings.HasPrefix(strings.TrimSpace(line), "import") && importLine.MatchString(line)
}
