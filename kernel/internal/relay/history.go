package relay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
)

const (
	historyKept = 10_000 // cells that are kept on disk when it is tidied up
	historyMost = 20_000 // from so many cells on, it is
)

// history remembers executed cells, over kernels. The file has one JSON entry per line; kernels that run at the same
// time append to it.
type history struct {
	mu      sync.Mutex
	file    string // empty: nothing is kept
	session int
	entries []entry
}

// entry is one executed cell.
type entry struct {
	Session int    `json:"session"` // counts the kernels
	Line    int    `json:"line"`    // the execution count
	Code    string `json:"code"`
}

// openHistory reads the history and begins a new session. A damaged line is skipped; the error, where the file cannot
// be read at all, leaves a history in memory.
func openHistory(file string) (*history, error) {
	h := &history{file: file, session: 1}
	if file == "" {
		return h, nil
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.file = ""
		return h, fmt.Errorf("history: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Session > 0 {
			h.entries = append(h.entries, e)
			h.session = max(h.session, e.Session+1)
		}
	}
	if len(h.entries) > historyMost {
		h.entries = h.entries[len(h.entries)-historyKept:]
		var b bytes.Buffer
		for _, e := range h.entries {
			line, _ := json.Marshal(e)
			b.Write(append(line, '\n'))
		}
		if err := renameio.WriteFile(file, b.Bytes(), 0o600); err != nil {
			return h, fmt.Errorf("history: %w", err)
		}
	}
	return h, nil
}

// add appends a cell, in one write, so that kernels do not mix their lines. After an error, which may be that the
// folder cannot be written, the history is in memory only.
func (h *history) add(line int, code string) (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() {
		if err != nil {
			h.file = ""
		}
	}()
	e := entry{h.session, line, code}
	h.entries = append(h.entries, e)
	if h.file == "" {
		return nil
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(h.file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(h.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Close())
}

// historyRequest is the content of a history_request.
type historyRequest struct {
	Output  bool   `json:"output"`
	Type    string `json:"hist_access_type"`
	Session int    `json:"session"`
	Start   int    `json:"start"`
	Stop    *int   `json:"stop"`
	N       *int   `json:"n"`
	Pattern string `json:"pattern"`
	Unique  bool   `json:"unique"`
}

// find answers a history_request with [session, line, code] triples, or [session, line, [code, output]]; outputs are
// not kept, so they are null.
func (h *history) find(q historyRequest) [][]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []entry
	switch q.Type {
	case "range":
		session := q.Session
		if session <= 0 { // 0 is this one, -1 the one before
			session += h.session
		}
		for _, e := range h.entries {
			if e.Session == session && e.Line >= q.Start && (q.Stop == nil || e.Line < *q.Stop) {
				found = append(found, e)
			}
		}
	case "search":
		seen := map[string]bool{}
		for i := len(h.entries) - 1; i >= 0; i-- {
			e := h.entries[i]
			if q.N != nil && len(found) >= *q.N {
				break
			}
			if !glob(q.Pattern, e.Code) || q.Unique && seen[e.Code] {
				continue
			}
			seen[e.Code] = true
			found = append([]entry{e}, found...)
		}
	default: // tail
		n := len(h.entries)
		if q.N != nil {
			n = max(0, min(n, *q.N))
		}
		found = h.entries[len(h.entries)-n:]
	}
	list := [][]any{}
	for _, e := range found {
		var code any = e.Code
		if q.Output {
			code = []any{e.Code, nil}
		}
		list = append(list, []any{e.Session, e.Line, code})
	}
	return list
}

// glob matches as SQLite's GLOB, which IPython uses: * any text, ? one character, [...] one of some; over lines, too.
// It takes time in proportion to the product of the lengths at most.
func glob(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	i, j := 0, 0
	star, mark := -1, 0
	for j < len(t) {
		if i < len(p) {
			if p[i] == '*' {
				star, mark = i, j
				i++
				continue
			}
			if n, ok := globOne(p[i:], t[j]); ok {
				i += n
				j++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		i, j = star+1, mark
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// globOne matches one character, and returns how much of the pattern that took.
func globOne(p []rune, c rune) (n int, ok bool) {
	switch p[0] {
	case '?':
		return 1, true
	case '[':
		end := strings.IndexRune(string(p[1:]), ']')
		if end < 1 {
			break
		}
		set := []rune(string([]byte(string(p[1:]))[:end]))
		n, negated := len(set)+2, false
		if set[0] == '^' && len(set) > 1 {
			set, negated = set[1:], true
		}
		in := false
		for k := 0; k < len(set); k++ {
			if k+2 < len(set) && set[k+1] == '-' {
				in = in || set[k] <= c && c <= set[k+2]
				k += 2
			} else {
				in = in || set[k] == c
			}
		}
		return n, in != negated
	}
	return 1, p[0] == c
}
