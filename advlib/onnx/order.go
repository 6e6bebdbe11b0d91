package onnx

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute-onnx/support/protos"
)

// inOrder sorts a graph's operators so that each comes after those whose results it reads, and otherwise as in the
// file: a file in order stays as it is. It returns them with the place, in the file, of what writes each name. What
// nothing writes, and is not given, and operators that wait for each other in a circle, are errors that name them.
func inOrder(nodes []*protos.NodeProto, given map[string]bool) (sorted []*protos.NodeProto, writer map[string]int, err error) {
	writer = map[string]int{}
	for i, n := range nodes {
		for _, out := range n.GetOutput() {
			if out == "" {
				continue
			}
			if _, twice := writer[out]; twice || given[out] {
				return nil, nil, fmt.Errorf("%s writes %q, which is there already", describe(n), out)
			}
			writer[out] = i
		}
	}
	readers, waits := make([][]int, len(nodes)), make([]int, len(nodes))
	for i, n := range nodes {
		for _, in := range n.GetInput() {
			if in == "" || given[in] {
				continue
			}
			w, written := writer[in]
			if !written {
				return nil, nil, fmt.Errorf("%s reads %q, which is no input, no weight, and written by no operator: the file is "+
					"damaged", describe(n), in)
			}
			readers[w] = append(readers[w], i)
			waits[i]++
		}
	}
	ready := &places{}
	for i, w := range waits {
		if w == 0 {
			heap.Push(ready, i)
		}
	}
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		sorted = append(sorted, nodes[i])
		for _, r := range readers[i] {
			if waits[r]--; waits[r] == 0 {
				heap.Push(ready, r)
			}
		}
	}
	if len(sorted) < len(nodes) {
		return nil, nil, circleOf(nodes, writer, waits)
	}
	return sorted, writer, nil
}

// circleOf describes a circle among the operators that still wait: each of them reads from another one that does.
func circleOf(nodes []*protos.NodeProto, writer map[string]int, waits []int) error {
	at := slices.IndexFunc(waits, func(w int) bool { return w > 0 })
	var way []int
	for !slices.Contains(way, at) {
		way = append(way, at)
		for _, in := range nodes[at].GetInput() {
			if w, written := writer[in]; written && waits[w] > 0 {
				at = w
				break
			}
		}
	}
	circle := way[slices.Index(way, at):]
	slices.Reverse(circle) // as values flow
	if first := slices.Index(circle, slices.Min(circle)); first > 0 {
		circle = slices.Concat(circle[first:], circle[:first])
	}
	const shown = 6
	var names []string
	for _, i := range circle[:min(len(circle), shown)] {
		names = append(names, describe(nodes[i]))
	}
	if len(circle) > shown {
		names = append(names, fmt.Sprintf("%d more", len(circle)-shown))
	}
	return fmt.Errorf("its operators wait for each other in a circle: %s, and back to the first: the file is damaged",
		strings.Join(names, ", then "))
}

// places are places in the file, the first one on top.
type places []int

func (p places) Len() int           { return len(p) }
func (p places) Less(i, j int) bool { return p[i] < p[j] }
func (p places) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *places) Push(x any)        { *p = append(*p, x.(int)) }
func (p *places) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}
