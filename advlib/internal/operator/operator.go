// Package operator tells from what part of a model, as its user knows it, the nodes of a graph were made.
//
//	operator.Mark(n, `Conv "conv1"`)
//	operator.Of(n) // Conv "conv1"
package operator

import (
	"fmt"
	"strings"

	"github.com/gomlx/gomlx/core/graph"
)

// prefix begins the aliases by which nodes are marked.
const prefix = "/operator/"

// Mark notes of which part of the model n was made, and all nodes that were built since the last one that was marked;
// by names that part; "" ends it without a name. Nodes have to be marked in the order in which they were built. One
// that has an alias keeps it.
func Mark(n *graph.Node, by string) {
	if n.GetAlias() == "" {
		n.WithAlias(fmt.Sprintf("%s%d/%s", prefix, n.Id(), by)) // aliases must differ
	}
}

// Of returns what n is made of, "" if nothing is known.
func Of(n *graph.Node) string {
	var first *graph.Node // the first one from n on that was marked
	for alias, m := range n.Graph().IterAliasedNodes() {
		if strings.HasPrefix(alias, prefix) && m.Id() >= n.Id() && (first == nil || m.Id() < first.Id()) {
			first = m
		}
	}
	if first == nil {
		return ""
	}
	_, by, _ := strings.Cut(strings.TrimPrefix(first.GetAlias(), prefix), "/")
	return by
}
