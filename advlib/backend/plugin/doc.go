// Package plugin finds the PJRT plugin, the shared library that holds XLA, for the CPU and for CUDA.
//
//	found, err := plugin.Find(plugin.CPU)
//	fmt.Println(found.Path, found.Origin)
//
// It opens nothing: it needs no cgo and imports the standard library and cachedir only, so that the kernel, the
// tests and the commands find the same file as package backend, which loads it.
package plugin
