//go:build !linux

package main

import "syscall"

func raiseLoopback() {}

// withoutNetwork returns nil: only Linux has network namespaces.
func withoutNetwork() *syscall.SysProcAttr { return nil }
