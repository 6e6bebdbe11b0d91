package certify

import (
	"strings"
	"testing"

	"github.com/gomlx/compute"

	"advlab/advlib/backend"
)

// onCUDA is a backend in name only.
type onCUDA struct{ compute.Backend }

func (onCUDA) Name() string { return backend.XLACUDA }

// On CUDA convolutions have no bound, and dot products none in float32.
func TestArithmeticOfCUDA(t *testing.T) {
	for _, test := range []struct {
		operation string
		rounding  Rounding
		want      string
	}{
		{"ConvGeneral", Float32AnyOrder, "certify.RealArithmetic"},
		{"ConvGeneral", TF32AnyOrder, "certify.RealArithmetic"},
		{"ConvGeneral", RealArithmetic, ""},
		{"DotGeneral", Float32AnyOrder, "certify.TF32AnyOrder"},
		{"DotGeneral", TF32AnyOrder, ""},
		{"Max", Float32AnyOrder, ""},
	} {
		err := (&Network{deployed: onCUDA{}, operations: []string{test.operation}}).checkArithmetic(test.rounding)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s in %v: %v, want %q", test.operation, test.rounding, err, test.want)
		}
	}
}
