// Package session runs the kernel of one notebook: the relay that Jupyter talks to, and behind it GoNB in the pinned
// workspace, with the pinned tools, in a temporary directory of its own, and with the environment that the warm-up of
// the set-up used too.
//
//	err := session.Run(ctx, p, "kernel-1.json", session.Options{Program: program})
package session
