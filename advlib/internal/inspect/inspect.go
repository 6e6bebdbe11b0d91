// Package inspect reads what GoMLX v0.28 keeps in unexported fields of a graph's nodes.
//
//	axis := inspect.Parameter(n, "axes.InputBatch").Int() // of a convolution
package inspect

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/gomlx/gomlx/core/graph"
)

// Parameter returns a parameter of a node's operation, by the name of its field, or of a field of that:
// "axes.InputBatch". It panics if there is none.
func Parameter(n *graph.Node, name string) reflect.Value {
	v := reflect.ValueOf(n).Elem().FieldByName("inputs").Elem().Elem()
	for part := range strings.SplitSeq(name, ".") {
		v = v.FieldByName(part)
	}
	if !v.IsValid() {
		panic(fmt.Errorf("GoMLX's %s has no parameter %q: another version than this package was written for", n.Type(), name))
	}
	return v
}

// Integers returns a parameter that is a list of numbers.
func Integers(n *graph.Node, name string) []int {
	v := Parameter(n, name)
	s := make([]int, v.Len())
	for i := range s {
		s[i] = int(v.Index(i).Int())
	}
	return s
}
