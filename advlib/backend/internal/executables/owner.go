//go:build unix

package executables

import (
	"io/fs"
	"os"
	"syscall"
)

// openNoFollow opens path for reading unless it is a link. A pipe or a device in its place must not block.
func openNoFollow(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// trustedOwner reports whether the file belongs to the user of this process or to root.
func trustedOwner(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
}

// inode returns what tells a file from one that took its place: device and inode.
func inode(info fs.FileInfo) (device, number uint64) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return uint64(stat.Dev), uint64(stat.Ino) // the fields' types differ between systems
}
