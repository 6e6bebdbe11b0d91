package notebook

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

//go:embed execute.py
var executeScript string

// Execution is how a notebook is executed.
type Execution struct {
	Python  string        // the interpreter of the prepared environment
	Env     []string      // of Jupyter and so of the kernel; JUPYTER_PATH in it names the kernelspecs
	Kernel  string        // name of the kernelspec
	Timeout time.Duration // for one cell; zero means none
	// Output and HTML are the files to write, both replaced atomically; empty: not written. They are written also when a
	// cell fails.
	Output, HTML string
	// Progress is told of each code cell: when it begins, with Seconds negative, and when it has ended. May be nil.
	Progress func(Event)
}

// Event is the beginning or the end of one code cell.
type Event struct {
	Cell    int     // index in the notebook
	Seconds float64 // negative: it begins
	Failed  bool
}

// CellError is a cell that failed.
type CellError struct {
	Cell   int    // index in the notebook
	Count  int    // its number in the kernel, which counts code cells only; 0: unknown
	Source string // the cell's text
	Text   string // what went wrong, with the stack if there is one
}

// excerptLines is how much of a failed cell is shown.
const excerptLines = 12

// Error shows what went wrong, below the cell with its lines numbered where the text does not show the line itself.
func (e *CellError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "cell %d failed", e.Cell+1)
	if e.Count > 0 && e.Count != e.Cell+1 {
		fmt.Fprintf(&s, ", the kernel's cell %d", e.Count)
	}
	s.WriteString(":\n")
	if !strings.Contains(e.Text, "\n> ") {
		lines := strings.Split(strings.TrimRight(e.Source, "\n"), "\n")
		for i, line := range lines {
			if i == excerptLines && len(lines) > excerptLines+1 {
				fmt.Fprintf(&s, "      … %d more lines\n", len(lines)-i)
				break
			}
			fmt.Fprintf(&s, "%4d  %s\n", i+1, line)
		}
	}
	s.WriteString(strings.TrimRight(e.Text, "\n"))
	return s.String()
}

// ErrKernel says that the kernel failed rather than a cell.
var ErrKernel = errors.New("the kernel failed")

// Run executes the notebook in the folder it was read from, from a fresh kernel, and returns it with its outputs. When
// a cell fails, the error is a *CellError and the notebook holds the outputs up to there.
func (e Execution) Run(ctx context.Context, n *Notebook) (*Notebook, error) {
	temp, err := os.MkdirTemp("", "advlab-run-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	folder, err := filepath.Abs(filepath.Dir(n.Path))
	if err != nil {
		return nil, err
	}
	output, html := filepath.Join(temp, "executed.ipynb"), ""
	if e.HTML != "" {
		html = filepath.Join(temp, "executed.html")
	}
	job, err := json.Marshal(map[string]any{
		"notebook": n.raw, "kernel": e.Kernel, "folder": folder, "timeout": int(e.Timeout.Seconds()), "output": output, "html": html,
		"title": strings.TrimSuffix(filepath.Base(n.Path), filepath.Ext(n.Path)),
	})
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, e.Python, "-c", executeScript)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = e.Env, bytes.NewReader(job), &log, &log
	cmd.ExtraFiles = []*os.File{write}
	// nbclient ends its kernel when it is interrupted.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		write.Close()
		return nil, fmt.Errorf("starting nbclient: %w", err)
	}
	write.Close()
	failure, readErr := e.follow(read)
	waitErr := cmd.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	text, err := os.ReadFile(output)
	if err != nil {
		return nil, fmt.Errorf("%w: nbclient: %w\n%s", ErrKernel, errors.Join(waitErr, readErr), strings.TrimSpace(log.String()))
	}
	executed, err := Parse(text)
	if err != nil {
		return nil, err
	}
	executed.Path = n.Path
	if e.Output != "" {
		if err := renameio.WriteFile(e.Output, text, 0o644); err != nil {
			return executed, err
		}
	}
	if page, err := os.ReadFile(html); err == nil {
		if err := renameio.WriteFile(e.HTML, page, 0o644); err != nil {
			return executed, err
		}
	}
	if cell := executed.failedCell(); cell != nil {
		return executed, cell
	}
	if failure != "" {
		return executed, fmt.Errorf("%w: %s\n%s", ErrKernel, failure, lastLines(log.String(), excerptLines))
	}
	if waitErr != nil {
		return executed, fmt.Errorf("nbclient: %w\n%s", waitErr, lastLines(log.String(), excerptLines))
	}
	return executed, readErr
}

// follow reads events until the script closes them.
func (e Execution) follow(events io.Reader) (failure string, err error) {
	lines := bufio.NewScanner(events)
	for lines.Scan() {
		var event struct {
			Cell    *int
			Seconds *float64
			Status  string
			Failure string
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return failure, fmt.Errorf("reading nbclient's progress: %w", err)
		}
		switch {
		case event.Failure != "":
			failure = event.Failure
		case event.Cell != nil && e.Progress != nil && event.Seconds == nil:
			e.Progress(Event{Cell: *event.Cell, Seconds: -1})
		case event.Cell != nil && e.Progress != nil:
			e.Progress(Event{Cell: *event.Cell, Seconds: *event.Seconds, Failed: event.Status != "ok"})
		}
	}
	return failure, lines.Err()
}

// failedCell returns the first cell with an error that was not expected.
func (n *Notebook) failedCell() *CellError {
	for i, c := range n.Cells {
		if c.HasTag("raises-exception") {
			continue
		}
		for _, o := range c.Outputs {
			if o.Type != "error" {
				continue
			}
			// What the program has written may say why it failed.
			text := lastLines(plain(c.Stderr()), excerptLines)
			trace := strings.Join(o.Traceback, "\n")
			if strings.TrimSpace(trace) == "" {
				trace = strings.TrimPrefix(o.Name+": "+o.Value, ": ")
			}
			text = strings.TrimSpace(text + "\n" + plain(trace))
			return &CellError{Cell: i, Count: c.Count, Source: c.Source, Text: text}
		}
	}
	return nil
}

// plain removes the escape sequences that colour a terminal.
func plain(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 0x1b {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '[' {
			for i += 2; i < len(s) && (s[i] < '@' || s[i] > '~'); i++ {
			}
		}
	}
	return b.String()
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
