package relay

import (
	"regexp"
	"strings"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/magic"
)

// refused are commands of a shell that would not do what their author wants, or would change what advlab pins for all
// notebooks, with what to do instead.
var refused = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`(?m)(?:^|[;&|(]|\bsudo)\s*(?:python[0-9.]*\s+-m\s+|uv\s+)?pip[0-9.]*\s+(?:-\S+\s+)*` +
		`(?:install|uninstall)\b`),
		magic.PythonIsPinned},
	{regexp.MustCompile(`(?m)(?:^|[;&|(])\s*go\s+get\b`),
		"go get in a notebook's folder changes the module of that folder, if it is one, and not that of the cells. For cells: " + getInstead},
}

// getInstead is how cells get another module.
const getInstead = "%env GOPROXY=https://proxy.golang.org, and then !*go get MODULE@VERSION. It holds until this kernel ends"

// refuse says what to do in place of a cell's shell commands, if one is refused; empty: none is.
func refuse(c cell.Cell) string {
	commands := c.Shell
	if c.Special && len(c.Shell) > 0 {
		commands = []string{strings.Join(c.Lines[1:], "\n")}
	}
	for _, command := range commands {
		if strings.HasPrefix(command, "!*") {
			continue // there, go get is right, and pip is nobody's mistake
		}
		command = strings.TrimPrefix(command, "!")
		for _, r := range refused {
			if r.pattern.MatchString(command) {
				return r.text
			}
		}
	}
	return ""
}

var leave = regexp.MustCompile(`^\s*(exit|quit)\s*(\(\s*\))?\s*;?\s*$`)

// leaves tells whether a cell wants to end the session, as in Python; not where the notebook declares such a function.
func (x *execution) leaves() bool {
	m := leave.FindStringSubmatch(x.query.Code)
	if m == nil {
		return false
	}
	x.relay.mu.Lock()
	defer x.relay.mu.Unlock()
	for _, name := range x.relay.declared.Names() {
		if name == m[1] {
			return false
		}
	}
	return true
}

// leaving is what a front-end is told that is to end the session: consoles do. Notebooks know no such thing, so there
// the sentence counts.
const leaving = "A console ends with this. In a notebook, the menu Kernel shuts the kernel down, or restarts it; os.Exit ends a " +
	"cell's program.\n"
