package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// raiseLoopback brings the loopback interface of a new network namespace up: Jupyter and its kernels talk through it.
func raiseLoopback() {
	err := func() error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		loopback, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		loopback.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "raising the loopback interface:", err)
		os.Exit(1)
	}
}

// withoutNetwork starts a process in a network namespace of its own, as the root of a user namespace, which it needs to
// raise the loopback interface.
func withoutNetwork() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}
