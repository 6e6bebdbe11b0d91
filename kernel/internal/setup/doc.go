// Package setup prepares everything that a kernel, the demo and the tests need, once:
//
//	python      a virtual environment from a lock file with hashes (JupyterLab, nbclient, …)
//	plugin      the XLA CPU plugin, out of its wheel
//	tools       GoNB, goimports and gopls, from the module kernel/tools
//	program     this program, for the kernelspecs
//	workspace   the module that pins advlab and its dependencies for cells
//	warm-up     the packages cells import, compiled with a cell's flags
//	kernelspecs advlab and advlab-ci
//
// Each step leaves a stamp (package stamp); a second run only compares. The steps run in two lanes, Python and Go,
// since one waits for the network while the other compiles. A file lock keeps two set-ups apart. Only the plugin may
// fail: without it cells use the pure Go backend.
package setup
