package relay

import (
	"regexp"
	"strconv"
	"strings"

	"advlab/kernel/internal/gonb"
)

var blankPosition = regexp.MustCompile(`^(?:\S*/)?` + regexp.QuoteMeta(gonb.BlankFile) + `:(\d+)(?::\d+)?: (.*)$`)

// locateBlank finds the cell's line of a blank import that the compiler refuses; line 0: unknown.
func (e evidence) locateBlank(fileLine int) (gonbCell, line int) {
	i := fileLine - gonb.BlankFirst
	if i < 0 || i >= len(e.blanks) {
		return 0, 0
	}
	path, err := strconv.Unquote(e.blanks[i])
	if err != nil {
		return 0, 0
	}
	wanted := regexp.MustCompile("(?:^|[\\s(;])_\\s*[\"`]" + regexp.QuoteMeta(path) + "[\"`]")
	for id := e.latest; id > 0; id-- {
		for i, text := range strings.Split(e.where(id).code, "\n") {
			if wanted.MatchString(text) {
				return id, i + 1
			}
		}
	}
	return 0, 0
}
