// Package session runs the kernel of one notebook: the relay that Jupyter talks to, and behind it GoNB in the pinned
// workspace, with the pinned tools, in a temporary directory of its own, and with the environment that the warm-up of
// the set-up used too. It also holds the commands of cells (%backend, %doctor, %pin) that know the workspace.
package session
