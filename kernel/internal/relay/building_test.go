package relay

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"advlab/kernel/internal/jupyter"
)

// A build that takes long is one line, which says in the end how long it took; one that does not, none.
func TestBuildingIsTold(t *testing.T) {
	k := startKernel(t, "-notice", "500ms")
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	slow := "#!/bin/sh\nif [ \"$1\" = build ] && [ -e " + bin + "/slow ]; then sleep 3; fi\nexec " + real + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(slow), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, entry := range k.cmd.Env {
		if path, ok := strings.CutPrefix(entry, "PATH="); ok {
			k.cmd.Env[i] = "PATH=" + bin + string(os.PathListSeparator) + path
		}
	}
	k.start()
	f := k.frontEnd()
	if err := os.WriteFile(filepath.Join(bin, "slow"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for code, end := range map[string]string{"fmt.Println(1)": `^\[built in \d+ s\]$`, "nope()": `^\[built in \d+ s\]$`} {
		id := f.start(code)
		f.finish(id)
		var first, last string
		ids := map[string]bool{}
		f.mu.Lock()
		for _, m := range f.messages {
			if m.Parent.ID != id || m.Header.Type != "display_data" && m.Header.Type != "update_display_data" {
				continue
			}
			text, display := shownText(t, m)
			if first == "" {
				first = text
			}
			last, ids[display] = text, true
		}
		f.mu.Unlock()
		begins := regexp.MustCompile(`^\[building for \d+ s: go build\]$`).MatchString(first)
		if !begins || !regexp.MustCompile(end).MatchString(last) || len(ids) != 1 {
			t.Errorf("%s: %q at first, %q in the end, as %d displays", code, first, last, len(ids))
		}
	}
}

func shownText(t *testing.T, m *jupyter.Message) (text, display string) {
	t.Helper()
	var content struct {
		Data      map[string]any
		Transient map[string]string
	}
	if err := m.Into(&content); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(content.Data["text/plain"]), content.Transient["display_id"]
}

// A full disk is named, whatever Go says of it.
func TestDiskIsFull(t *testing.T) {
	disk := filepath.Join(shortTemp(t), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small disk to fill needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	fill := func() {
		t.Helper()
		if err := os.WriteFile(filepath.Join(disk, "zeros"), make([]byte, 4<<20), 0o600); err == nil {
			t.Fatal("the disk holds more than it should")
		}
	}
	k := startKernel(t).start()
	f := k.frontEnd()
	f.run("%env GOCACHE=" + disk)
	fill()
	if r := f.run("fmt.Println(1)"); r.Class != "CompileError" || r.Text != "no space is left for Go's build cache, in "+disk ||
		!strings.Contains(strings.Join(r.Traceback, "\n"), "go clean -cache") || strings.Contains(r.Text, "std") {
		t.Errorf("the build cache: %+v", r)
	}
	f.run("!rm -rf " + disk + "/*\n%env GOCACHE=" + os.Getenv("GOCACHE"))
	if os.Getenv("GOCACHE") == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		f.run("%env GOCACHE=" + filepath.Join(home, "go-build"))
	}
	fill()
	f.run("%cd " + disk)
	r := f.run("if err := os.WriteFile(\"more\", make([]byte, 1<<20), 0o600); err != nil {\n\tpanic(err)\n}")
	if r.Class != "Panic" || !strings.Contains(r.Text, "no space left on device") ||
		!strings.Contains(strings.Join(r.Traceback, "\n"), "no space is left for the folder in which cells run, in "+disk) {
		t.Errorf("the cells' folder: %+v", r)
	}
	if r := f.run("!cp /proc/self/exe copy"); !strings.Contains(strings.Join(r.Traceback, "\n"), "the folder in which cells run") {
		t.Errorf("a shell's command: %+v", r)
	}
	if err := os.Remove(filepath.Join(disk, "zeros")); err != nil {
		t.Fatal(err)
	}
	if r := f.run("fmt.Println(2)"); r.stdout != "2\n" {
		t.Errorf("once there is space: %+v", r)
	}
}

// A kernel whose own temporary files find no space says so.
func TestTempIsFull(t *testing.T) {
	k := startKernel(t)
	if err := unix.Mount("tmpfs", k.temp, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("a small disk to fill needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(k.temp, unix.MNT_DETACH) })
	k.start()
	f := k.frontEnd()
	f.run("1")
	_ = os.WriteFile(filepath.Join(k.temp, "zeros"), make([]byte, 3<<20), 0o600)
	if r := f.run("fmt.Println(1)"); !strings.HasPrefix(r.Text, "no space is left for the kernel's temporary files, in "+k.temp) ||
		!strings.Contains(strings.Join(r.Traceback, "\n"), "TMPDIR") {
		t.Errorf("%+v", r)
	}
	if err := os.Truncate(filepath.Join(k.temp, "zeros"), 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	r := f.run("!echo 2")
	if r.stdout != "2\n" {
		t.Errorf("once there is space: %+v", r)
	}
}

// A kernel whose checkout has moved says it with the first cell, and where it matters.
func TestCheckoutIsGone(t *testing.T) {
	f := startKernel(t, "-checkout", "/does-not-exist/advlab").start().frontEnd()
	const want = "/does-not-exist/advlab, is not there any more: where it is now, run `go run ./kernel setup`"
	if r := f.run("fmt.Println(1)"); r.stdout != "1\n" || !strings.Contains(fmt.Sprint(r.contents["display_data"]), want) {
		t.Errorf("%+v", r)
	}
	if r := f.run("fmt.Println(nolib.Linf)"); !strings.Contains(strings.Join(r.Traceback, "\n"), "Hint: the advlab checkout that") {
		t.Errorf("%+v", r)
	}
}
