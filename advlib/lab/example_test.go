package lab_test

import (
	"context"
	"fmt"
	"os"

	"advlab/advlib/lab"
)

func ExampleKeep() {
	defer temporaryStore()()
	squares := func() ([]int, error) {
		return lab.Keep(context.Background(), lab.Values[[]int]("squares"), lab.Recipe{
			Name:  "the first squares",
			Parts: map[string]string{"how many": "4"},
		}, func(context.Context) ([]int, error) {
			fmt.Println("computing")
			return []int{0, 1, 4, 9}, nil
		})
	}
	fmt.Println(squares())
	fmt.Println(squares())
	// Output:
	// computing
	// [0 1 4 9] <nil>
	// [0 1 4 9] <nil>
}

// temporaryStore makes an example start with an empty store; in a notebook the store is what was kept before.
func temporaryStore() (remove func()) {
	dir, err := os.MkdirTemp("", "lab-example-")
	if err != nil {
		panic(err)
	}
	before := os.Getenv("ADVLAB_CACHE")
	_ = os.Setenv("ADVLAB_CACHE", dir)
	return func() {
		_ = os.Setenv("ADVLAB_CACHE", before)
		_ = os.RemoveAll(dir)
	}
}
