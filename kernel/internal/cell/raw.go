package cell

import "strings"

// rawLines tells which lines begin inside of a raw string or a comment.
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
		raw[i] = state != code
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
