package setup

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"advlab/kernel/internal/kernelspec"
	"advlab/kernel/internal/stamp"
)

// kernelspecStep writes the kernelspecs and JupyterLab's extension into the workspace, where our own commands find them
// through JUPYTER_PATH. The user's Jupyter learns of them by `advlab install` only.
func (m *machine) kernelspecStep() step {
	return step{
		name:  "kernelspecs",
		doing: "describing the kernels to Jupyter",
		stamp: "kernelspecs-" + m.place.Key(),
		inputs: func() (string, error) {
			var parts []string
			for _, name := range kernelspec.Names {
				spec, err := kernelspec.For(m.place, name)
				if err != nil {
					return "", err
				}
				text, err := json.Marshal(spec)
				if err != nil {
					return "", err
				}
				parts = append(parts, string(text))
			}
			for _, text := range kernelspec.Extension() {
				parts = append(parts, string(text))
			}
			slices.Sort(parts) // a map has no order
			return stamp.Hash(parts...), nil
		},
		make: func(context.Context, *work) (made, error) {
			files, err := kernelspec.Write(m.place, m.place.Kernels())
			return made{files, strings.Join(kernelspec.Names, ", ")}, err
		},
	}
}
