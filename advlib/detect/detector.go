package detect

import (
	"fmt"

	"advlab/advlib"
)

// Detector says of each query whether it is too like an earlier one.
type Detector interface {
	fmt.Stringer
	// Start returns an empty memory for the inputs of a victim. It is an error if the detector does not fit them.
	Start(s advlib.Signature) (Memory, error)
}

// Memory is what a detector knows of the queries so far. It is bounded: the oldest query is forgotten for a new one.
type Memory interface {
	// See compares a flat input with the earlier queries of the same client, remembers it, and tells whether it belongs
	// to an attack. Clients are numbers from 0 on. It is not called concurrently, and does not keep x.
	See(client int32, x []float32) bool
}

// remember is how many queries a memory holds if nothing else is said.
const remember = 10000

// sizeOf returns the number of values of an input.
func sizeOf(s advlib.Signature) int {
	size := 1
	for _, d := range s.Input {
		size *= d
	}
	return size
}
