package onnx_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute-onnx/support/protos"

	"advlab/advlib/onnx"
)

// TestDamage changes models at random where bytes cannot reach: what comes out is either refused, in one line, or a
// model. (A panic would end the test; the fuzz target damages bytes.)
func TestDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	numbers := []int64{0, 1, -1, 2, 3, 7, 8, 100, 1 << 20, 1 << 31, -1 << 31, 1 << 40, math.MaxInt64, math.MinInt64}
	number := func() int64 { return numbers[r.IntN(len(numbers))] }
	operators := strings.Split(onnx.Operators(), ", ")
	read, refused := 0, 0
	last := ""
	for _, f := range fixtures(t) {
		op, _, _ := strings.Cut(f.name, "/")
		if op == last {
			continue
		}
		last = op
		for range 12 {
			var said []string
			file := changed(t, f.file, func(m *protos.ModelProto) {
				n := m.Graph.Node[r.IntN(len(m.Graph.Node))]
				for range 1 + r.IntN(2) {
					switch k := r.IntN(8); {
					case k == 0:
						n.OpType = operators[r.IntN(len(operators))]
					case k == 1 && len(n.Input) > 0:
						n.Input[r.IntN(len(n.Input))] = "x"
					case k == 2 && len(n.Input) > 0:
						n.Input = n.Input[:len(n.Input)-1]
					case k == 3:
						n.Input = append(n.Input, "x")
					case k <= 5 && len(n.Attribute) > 0:
						a := n.Attribute[r.IntN(len(n.Attribute))]
						a.I, a.F = number(), float32(number())
						if len(a.Ints) > 0 {
							a.Ints[r.IntN(len(a.Ints))] = number()
						}
					case k == 6 && len(m.Graph.Initializer) > 0:
						w := m.Graph.Initializer[r.IntN(len(m.Graph.Initializer))]
						if w.DataType == int32(protos.TensorProto_INT64) && len(w.RawData) >= 8 {
							v := uint64(number())
							for i := range 8 {
								w.RawData[i] = byte(v >> (8 * i))
							}
						} else if len(w.Dims) > 0 {
							w.Dims = append(w.Dims, 1)
						}
					case k == 7:
						d := m.Graph.Input[0].Type.GetTensorType().Shape.Dim
						d[r.IntN(len(d))].Value = &protos.TensorShapeProto_Dimension_DimValue{DimValue: number()}
					}
				}
				said = append(said, n.String())
			})
			net, err := onnx.ReadNetwork(bytes.NewReader(file), f.options())
			switch {
			case err == nil:
				read++
				if net.Outputs() < 1 {
					t.Errorf("%s, %s: %d outputs", f.name, said, net.Outputs())
				}
			case strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "onnx: "):
				t.Errorf("%s, %s: %q", f.name, said, err)
			default:
				refused++
			}
		}
	}
	if read < 100 || refused < 500 {
		t.Errorf("%d changed models were read, %d refused: too few to mean anything", read, refused)
	}
	t.Logf("%d changed models were read, %d refused", read, refused)
}
