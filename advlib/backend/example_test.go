package backend_test

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/backend"
)

func Example() {
	// Without Use the best backend is taken, which this example cannot foresee.
	if err := backend.Use(backend.Go); err != nil {
		fmt.Println(err)
		return
	}
	b, err := backend.Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	e, err := NewExec(b, func(x *Node) *Node { return ReduceAllSum(Square(x)) })
	if err != nil {
		fmt.Println(err)
		return
	}
	y, err := e.Call([]float32{3, 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	info, err := backend.Describe()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(y[0], "on", info.Name)
	// Output: float32(25) on go
}
