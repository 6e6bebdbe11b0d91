package relay

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"advlab/kernel/internal/gonb"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environment runs %env with what stands behind it: it shows all variables, or one, or sets one. line is what GoNB gets
// in its place.
func (x *execution) environment(e *gonb.Engine, text string) (line string, err error) {
	now := map[string]string{}
	for _, entry := range e.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		now[name] = value
	}
	maps.Copy(now, x.relay.environ)
	text = strings.TrimSpace(text)
	if text == "" {
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(now)) {
			value := now[name]
			if secretName.MatchString(name) {
				value = "<hidden>"
			}
			fmt.Fprintf(&b, "%s=%s\n", name, value)
		}
		x.show(map[string]any{"text/plain": b.String()})
		return "", nil
	}
	name, value, set := strings.Cut(text, "=")
	if name = strings.TrimSpace(name); strings.ContainsAny(name, " \t") || !set {
		at := strings.IndexAny(text, " \t") // NAME VALUE
		if set = at > 0; set {
			name, value = text[:at], text[at+1:]
		}
	}
	if !variableName.MatchString(name) {
		return "", fmt.Errorf("%q is no name of a variable: write %%env NAME=VALUE", name)
	}
	if !set {
		value, ok := now[name]
		if !ok {
			return "", fmt.Errorf("there is no variable %s; %%env %s=VALUE sets it, %%env lists all", name, name)
		}
		x.show(map[string]any{"text/plain": value})
		return "", nil
	}
	if value = strings.TrimSpace(value); len(value) > 1 && value[0] == '\'' && value[len(value)-1] == '\'' {
		value = value[1 : len(value)-1] // as it is
	} else {
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		value = os.Expand(value, func(name string) string {
			if old, ok := now[name]; ok {
				return old
			}
			return "$" + name // a password may have one
		})
	}
	if x.relay.environ == nil {
		x.relay.environ = map[string]string{}
	}
	x.relay.environ[name] = value
	return setting(name, value), nil
}

// secretName is a name whose value a list does not show: notebooks are passed on.
var secretName = regexp.MustCompile(`(?i)key|token|secret|password|passwd|credential`)

// setting is the line by which GoNB sets a variable.
func setting(name, value string) string {
	return "%env " + name + ` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
