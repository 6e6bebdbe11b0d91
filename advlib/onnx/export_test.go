package onnx

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/onnx-gomlx/onnx"
)

// Defined tells whether definitions.go has an operator.
func Defined(op string) bool { return len(definitions[op]) > 0 }

// ReadSingle reads a model as one of a single example, mapped over the rows, whether it has to be or not.
func ReadSingle(file []byte, o Options) (n *Network, err error) {
	defer recovered(&err)
	f, err := parseFile(file, o.Output, nil)
	if err != nil {
		return nil, err
	}
	n = &Network{name: "single", double: f.double, parsed: map[dtypes.DType]onnx.Model{}}
	n.lowering, n.outputs, err = inLayout(f, o, true)
	return n, err
}

// IsSingle tells whether a model is one of a single example that is mapped over the rows.
func IsSingle(n *Network) bool { return n.lowering.single }
