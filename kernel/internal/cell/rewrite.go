package cell

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

// ForGoNB returns the cell's text as GoNB is to get it: what GoNB would misread, and only that, is written in another
// way with the same meaning. No line changes its number.
func ForGoNB(code string) string { return WithMain(withoutTraps(code)) }

// withoutTraps returns the cell's text, with the same number of lines, so that GoNB takes nothing for a command that is
// none.
//
//   - A line of a raw string that begins with % or ! would be run as a command. It is cut out of the string and added:
//     the line then begins with a backquote.
//   - A line of % or ! and blanks alone ends GoNB (specialcmd.go, Parse). It means nothing, and is emptied.
func withoutTraps(code string) string {
	if !strings.ContainsAny(code, "%!") || Parse(code).Special {
		return code
	}
	lines := strings.Split(code, "\n")
	raw := rawLines(lines)
	changed, cut := false, false
	result := append([]string{}, lines...)
	for i, line := range lines {
		switch {
		case raw[i] && len(line) > 1 && (line[0] == '%' || line[0] == '!'):
			result[i] = "`+\"" + line[:1] + "\"+`" + line[1:]
			changed, cut = true, true
		case !raw[i] && len(line) > 1 && (line[0] == '%' || line[0] == '!') && strings.Trim(line[1:], " \t") == "":
			result[i] = ""
			changed = true
		}
	}
	if !changed {
		return code
	}
	if cut && !sumsOnly(lines, raw) {
		return code
	}
	return strings.Join(result, "\n")
}

// rawLines tells which lines begin inside of a raw string.
func rawLines(lines []string) []bool {
	raw := make([]bool, len(lines))
	const (
		code = iota
		rawString
		comment
	)
	state := code
	continued := false // a command goes on
	for i, line := range lines {
		raw[i] = state == rawString
		if state == code {
			command := strings.TrimPrefix(line, CommentPrefix)
			if continued || len(command) > 1 && (command[0] == '%' || command[0] == '!') {
				continued = strings.HasSuffix(line, `\`)
				continue
			}
		}
		for j := 0; j < len(line); j++ {
			switch rest := line[j:]; {
			case state == rawString:
				if rest[0] == '`' {
					state = code
				}
			case state == comment:
				if strings.HasPrefix(rest, "*/") {
					state = code
					j++
				}
			case rest[0] == '`':
				state = rawString
			case strings.HasPrefix(rest, "/*"):
				state = comment
				j++
			case strings.HasPrefix(rest, "//"):
				j = len(line)
			case rest[0] == '"' || rest[0] == '\'':
				for j++; j < len(line) && line[j] != rest[0]; j++ {
					if line[j] == '\\' {
						j++
					}
				}
			}
		}
	}
	return raw
}

// sumsOnly reports whether every raw string with a line that begins with % or ! stands where a sum of strings may
// stand in its place: as a value of its own, not below an operator that binds closer, and not as a tag.
func sumsOnly(lines []string, raw []bool) bool {
	c := Parse(strings.Join(lines, "\n"))
	for i := range lines {
		if raw[i] {
			c.Command[i] = false
			if i == c.MainLine {
				c.MainLine = -1
			}
		}
	}
	if c.MainLine < 0 { // the one found was in a string
		for i, line := range lines {
			if first, _, _ := strings.Cut(strings.TrimPrefix(line, CommentPrefix), " "); !raw[i] && (first == "%%" || first == "%main") {
				c.MainLine, c.Command[i] = i, true
				break
			}
		}
	}
	source, _ := c.GoSource()
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		return false
	}
	fits := true
	var parents []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			parents = parents[:len(parents)-1]
			return true
		}
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING &&
			(strings.Contains(literal.Value, "\n%") || strings.Contains(literal.Value, "\n!")) {
			switch parent := parents[len(parents)-1].(type) {
			case *ast.CallExpr, *ast.AssignStmt, *ast.ValueSpec, *ast.ReturnStmt, *ast.KeyValueExpr, *ast.CompositeLit, *ast.ParenExpr,
				*ast.SendStmt:
			case *ast.BinaryExpr:
				fits = fits && parent.Op == token.ADD
			default:
				fits = false
			}
		}
		parents = append(parents, n)
		return true
	})
	return fits
}
