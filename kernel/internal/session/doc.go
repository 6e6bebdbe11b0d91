// Package session starts GoNB for one notebook: in the pinned workspace, with the pinned tools, in a temporary
// directory of its own, and with the environment that the warm-up of the set-up used too.
//
// This is the seam for a relay between Jupyter and GoNB: Run is given Jupyter's connection file and is the process
// that Jupyter started and signals. Today it hands the file on to GoNB; a relay would write another one and stand
// between the two.
package session
