//go:build unix

package executables

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const hashSuffix = ".sha256"

// HashFile returns the SHA-256 of a file in hexadecimal. A plugin has 250 MB, which take most of a second to hash, so
// the sum is remembered in the store's directory under the file's path, size, time of modification, device and inode.
func (s *Store) HashFile(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("executables: %w", err)
	}
	f, err := os.Open(real)
	if err != nil {
		return "", fmt.Errorf("executables: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("executables: %w", err)
	}
	device, number := inode(info)
	identity := fmt.Sprintf("%s\n%d bytes\n%s\ndevice %d inode %d", real, info.Size(),
		info.ModTime().UTC().Format(time.RFC3339Nano), device, number)
	note := filepath.Join(s.dir, NewKey([]byte(identity)).String()+hashSuffix)
	if text, err := readOwned(note, 1<<16); err == nil {
		if sum, ok := parseNote(string(text), identity); ok {
			now := time.Now()
			_ = os.Chtimes(note, now, now)
			return sum, nil
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("executables: %w", err)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	// In a directory that cannot be written the file is hashed each time.
	_ = writeAtomic(note, []byte(sum+"\n"+identity+"\n"))
	return sum, nil
}

// parseNote returns the sum of a note about identity.
func parseNote(text, identity string) (sum string, ok bool) {
	sum, rest, _ := strings.Cut(text, "\n")
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
		return "", false
	}
	return sum, rest == identity+"\n"
}
