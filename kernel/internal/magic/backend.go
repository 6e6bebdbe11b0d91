package magic

import (
	"fmt"

	"advlab/advlib/backend/plugin"
)

// backendVariable names the backend for cells; advlab/advlib/backend reads it.
const backendVariable = "ADVLAB_BACKEND"

// backend is %backend: the line is GoNB's %env for the following cells.
func backend(s Setup) Magic {
	return Magic{
		Help:  "show the backend; `%backend go`, `xla:cpu`, `xla:cuda` or `auto` sets it for this and the following cells",
		Words: []string{"auto", "go", "xla:cpu", "xla:cuda"},
		Run: func(arguments []string) (map[string]any, error) {
			return nil, checkBackend(s, arguments)
		},
		Instead: func(arguments []string) string {
			if len(arguments) == 0 {
				return `!echo "backend ${` + backendVariable + `:-auto}"` // only GoNB knows what %env has set
			}
			return "%env " + backendVariable + "=" + arguments[0]
		},
	}
}

func checkBackend(s Setup, arguments []string) error {
	if len(arguments) == 0 {
		return nil
	}
	if len(arguments) > 1 {
		return fmt.Errorf("takes one backend, and got %q", arguments)
	}
	name := arguments[0]
	switch name {
	case "auto", "go":
		return nil
	case "xla:cpu", "xla:cuda":
	default:
		return fmt.Errorf("there is no backend %q: there are auto, go, xla:cpu and xla:cuda", name)
	}
	if !s.CGO {
		return fmt.Errorf("%s needs a C compiler, and the set-up found none: `go run ./kernel doctor` says what to type; until then %%backend go",
			name)
	}
	kind := plugin.CPU
	if name == "xla:cuda" {
		kind = plugin.CUDA
	} else if s.Plugin != "" {
		return nil
	}
	if _, err := plugin.Find(kind); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
