package attack

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"advlab/advlib"
)

// checkNorm refuses norms that an attack of minimal norm does not know.
func checkNorm(n advlib.Norm, known ...advlib.Norm) error {
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = k.String()
	}
	switch {
	case n == nil:
		return fmt.Errorf("the Norm is unset: say how the perturbation is measured, by %s", strings.Join(names, ", "))
	case !slices.Contains(known, n):
		return fmt.Errorf("the Norm %v is none that it minimises: use %s", n, strings.Join(names, ", "))
	}
	return nil
}

// checkShare refuses what is not in [0, 1).
func checkShare(what string, v float64) error {
	if math.IsNaN(v) || v < 0 || v >= 1 {
		return fmt.Errorf("%s = %g is not in [0, 1): leave it at 0 for the default, or give a share below 1", what, v)
	}
	return nil
}
