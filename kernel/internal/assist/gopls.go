package assist

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"advlab/kernel/internal/guard"

	"github.com/google/renameio/v2"
)

// gopls answers completions and inspections. GoNB would, too, but rewrites and compiles its program for each, in the
// queue of the cells. This one is the relay's own: it is started at the first question, knows the notebook's
// declarations and the cell that is being written from texts in memory, and works while a cell runs.
type gopls struct {
	config Config

	busy   chan struct{} // holds one while a question is answered
	texts  map[string]string
	module string // what go.mod and its like hold
	faults int    // of starting it, one after the other

	mu     sync.Mutex
	server *server
	ready  bool // it has answered
	closed bool
}

func newGopls(c Config) *gopls { return &gopls{config: c, busy: make(chan struct{}, 1)} }

const (
	goplsStartLimit = 60 * time.Second
	goplsAskLimit   = 20 * time.Second // it is loading packages
	goplsFaults     = 3                // then it is not started again
	goplsEndLimit   = 2 * time.Second
)

var errNoGopls = errors.New("gopls is not there")

// running returns the server, if there is one, and whether it has answered already.
func (g *gopls) running() (s *server, ready bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.server != nil && g.server.ended() {
		g.server, g.ready = nil, false
		if !g.closed {
			g.config.Log("gopls has ended: it is started again at the next question")
		}
	}
	return g.server, g.ready
}

// ask puts a question about a place of the notebook, whose modules are those of a directory, and returns gopls's
// answer, which may take longer than a front-end is to wait.
func (g *gopls) ask(o overlay, module, method string) (json.RawMessage, error) {
	if g.config.Gopls == "" || module == "" {
		return nil, errNoGopls
	}
	select {
	case g.busy <- struct{}{}:
		defer func() { <-g.busy }()
	case <-time.After(AnswerLimit):
		return nil, errors.New("gopls is busy")
	}
	s, _ := g.running()
	if s == nil {
		if g.faults >= goplsFaults {
			return nil, errNoGopls
		}
		g.faults++
		var err error
		if s, err = g.start(module); err != nil {
			g.config.Log("gopls: %v", err)
			return nil, err
		}
	}
	if err := g.update(s, o, module); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), goplsAskLimit)
	defer cancel()
	answer, err := s.call(ctx, method, map[string]any{
		"textDocument": map[string]any{"uri": fileURI(filepath.Join(g.config.Dir, cellFile))},
		"position":     map[string]int{"line": o.line, "character": o.column}})
	if errors.Is(err, context.DeadlineExceeded) {
		s.kill()
	}
	if err == nil {
		g.faults = 0
		g.mu.Lock()
		g.ready = true
		g.mu.Unlock()
	}
	return answer, err
}

// start starts gopls in a module like GoNB's.
func (g *gopls) start(module string) (*server, error) {
	temp := filepath.Join(g.config.Dir, "t")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, err
	}
	g.texts, g.module = map[string]string{}, ""
	for _, name := range []string{cellFile, earlierFile} {
		if err := os.WriteFile(filepath.Join(g.config.Dir, name), []byte("package main\n"), 0o600); err != nil {
			return nil, err
		}
	}
	if _, err := g.copyModule(module); err != nil {
		return nil, err
	}
	cmd := exec.Command(g.config.Gopls, "serve")
	cmd.Env = g.config.Environ(temp)
	cmd.Dir = g.config.Dir
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil, errNoGopls
	}
	s, err := startServer(g.config, cmd, g.config.Dir, temp)
	g.server = s
	g.mu.Unlock()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), goplsStartLimit)
	defer cancel()
	_, err = s.call(ctx, "initialize", map[string]any{
		"processId": os.Getpid(), "rootUri": fileURI(g.config.Dir),
		"capabilities": map[string]any{"textDocument": map[string]any{"hover": map[string]any{"contentFormat": []string{"markdown"}}},
			"general": map[string]any{"positionEncodings": []string{"utf-16"}}},
		"initializationOptions": map[string]any{"matcher": "CaseSensitive", "completionBudget": "400ms", "hoverKind": "FullDocumentation",
			"linksInHover": false, "vulncheck": "Off", "diagnosticsTrigger": "Save", "staticcheck": false, "semanticTokens": false},
	})
	if err == nil {
		err = s.notify("initialized", map[string]any{})
	}
	if err != nil {
		s.kill()
		return nil, fmt.Errorf("its start: %w", err)
	}
	return s, nil
}

// close ends gopls.
func (g *gopls) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.server != nil {
		g.server.kill()
	}
	g.closed = true
}

// copyModule copies what says which modules GoNB's program is built from, and reports whether it has changed.
func (g *gopls) copyModule(from string) (changed bool, err error) {
	var all strings.Builder
	texts := map[string][]byte{}
	for _, name := range []string{"go.mod", "go.sum", "go.work", "go.work.sum"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			continue // go.sum is there only where a cell has added modules
		}
		texts[name] = text
		fmt.Fprintf(&all, "%s\n%s\n", name, text)
	}
	if len(texts) == 0 || all.String() == g.module {
		return false, nil
	}
	for name, text := range texts {
		if err := renameio.WriteFile(filepath.Join(g.config.Dir, name), text, 0o600); err != nil {
			return false, err
		}
	}
	g.module = all.String()
	return true, nil
}

// update tells gopls what has changed since the last question.
func (g *gopls) update(s *server, o overlay, module string) error {
	changed, err := g.copyModule(module)
	if err != nil {
		return err
	}
	if changed {
		var events []map[string]any
		for _, name := range []string{"go.mod", "go.sum", "go.work"} {
			events = append(events, map[string]any{"uri": fileURI(filepath.Join(g.config.Dir, name)), "type": 2})
		}
		if err := s.notify("workspace/didChangeWatchedFiles", map[string]any{"changes": events}); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{earlierFile: o.earlier, cellFile: o.cell} {
		uri := fileURI(filepath.Join(g.config.Dir, name))
		old, open := g.texts[name]
		switch {
		case !open:
			err = s.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{
				"uri": uri, "languageId": "go", "version": 1, "text": text}})
		case old != text:
			s.version++
			err = s.notify("textDocument/didChange", map[string]any{"textDocument": map[string]any{"uri": uri, "version": s.version},
				"contentChanges": []map[string]any{{"text": text}}})
		}
		if err != nil {
			return err
		}
		g.texts[name] = text
	}
	return nil
}

func fileURI(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

// server is a running language server, which is spoken to on its standard input and output.
type server struct {
	cmd     *exec.Cmd
	pipe    *os.File // its closing ends the guard
	in      io.WriteCloser
	done    chan struct{} // closed when it has ended
	version int           // of texts

	mu      sync.Mutex
	next    int
	waiting map[int]chan rpc
}

// rpc is a JSON-RPC message.
type rpc struct {
	ID     json.RawMessage `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// startServer starts a language server with its TMPDIR, under a guard if there is one. Its directory is removed with
// it.
func startServer(c Config, cmd *exec.Cmd, dir, temp string) (*server, error) {
	s := &server{cmd: cmd, done: make(chan struct{}), version: 1, waiting: map[int]chan rpc{}}
	if len(c.Guard) > 0 {
		pipe, err := guard.Under(c.Guard, cmd, dir)
		if err != nil {
			return nil, err
		}
		defer cmd.ExtraFiles[0].Close()
		s.pipe = pipe
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.read(bufio.NewReader(out))
		_ = s.in.Close()
		_ = out.Close()
	}()
	go func() {
		_, _ = cmd.Process.Wait()
		// The guard has done this, unless it was killed itself.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		guard.KillOrphans("TMPDIR=" + temp)
		_ = os.RemoveAll(dir)
		close(s.done)
	}()
	return s, nil
}

func (s *server) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *server) kill() {
	if s.pipe != nil {
		_ = s.pipe.Close()
	} else {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
	select {
	case <-s.done:
	case <-time.After(goplsEndLimit):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// read handles what the server sends until it ends: replies, and its own requests, which get an empty reply.
func (s *server) read(from *bufio.Reader) {
	for {
		header, err := textproto.NewReader(from).ReadMIMEHeader()
		if err != nil {
			return
		}
		length, err := strconv.Atoi(header.Get("Content-Length"))
		if err != nil || length < 0 || length > 64<<20 {
			return
		}
		text := make([]byte, length)
		if _, err := io.ReadFull(from, text); err != nil {
			return
		}
		var m rpc
		if json.Unmarshal(text, &m) != nil {
			return
		}
		switch {
		case m.Method != "" && m.ID != nil:
			_ = s.send(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": nil})
		case m.Method == "":
			id, _ := strconv.Atoi(string(m.ID))
			s.mu.Lock()
			c := s.waiting[id]
			delete(s.waiting, id)
			s.mu.Unlock()
			if c != nil {
				c <- m
			}
		}
	}
}

func (s *server) send(m any) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = fmt.Fprintf(s.in, "Content-Length: %d\r\n\r\n%s", len(text), text)
	return err
}

func (s *server) notify(method string, params any) error {
	return s.send(map[string]any{"jsonrpc": "2.0", "method": method, "params": params})
}

func (s *server) call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	c := make(chan rpc, 1)
	s.mu.Lock()
	s.next++
	id := s.next
	s.waiting[id] = c
	s.mu.Unlock()
	if err := s.send(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params}); err != nil {
		return nil, err
	}
	select {
	case m := <-c:
		if m.Error != nil {
			return nil, errors.New(m.Error.Message)
		}
		return m.Result, nil
	case <-s.done:
		return nil, errors.New("it has ended")
	case <-ctx.Done():
		_ = s.notify("$/cancelRequest", map[string]any{"id": id})
		return nil, ctx.Err()
	}
}

// Suggestion is a completion as front-ends know it. Start and End are in characters of the cell.
type Suggestion struct {
	Start     int    `json:"start"`
	End       int    `json:"end"`
	Text      string `json:"text"`
	Type      string `json:"type"`
	Signature string `json:"signature,omitempty"`
}

// itemKinds are LSP's kinds of completions in the words of JupyterLab's icons.
var itemKinds = map[int]string{2: "method", 3: "function", 4: "function", 5: "field", 6: "variable", 7: "class",
	8: "interface", 9: "module", 13: "enum", 14: "keyword", 20: "enum", 21: "constant", 22: "class", 25: "type"}

// suggestions reads gopls's answer to a completion: the names that begin with prefix.
func suggestions(answer json.RawMessage, prefix string) (list []Suggestion) {
	var reply struct {
		Items []struct {
			Label  string `json:"label"`
			Kind   int    `json:"kind"`
			Detail string `json:"detail"`
			Sort   string `json:"sortText"`
		} `json:"items"`
	}
	if json.Unmarshal(answer, &reply) != nil {
		return nil
	}
	for _, item := range reply.Items {
		if !strings.HasPrefix(item.Label, prefix) || !isName.MatchString(item.Label) || item.Label == placeholder {
			continue
		}
		s := Suggestion{Text: item.Label, Type: itemKinds[item.Kind]}
		if strings.HasPrefix(item.Detail, "func(") {
			s.Signature = strings.TrimPrefix(item.Detail, "func")
		}
		if !slices.ContainsFunc(list, func(old Suggestion) bool { return old.Text == s.Text }) {
			list = append(list, s)
		}
	}
	return list
}

var emptyLines = regexp.MustCompile(`[ \t]+\n|\n{3,}`)

// hover reads gopls's answer to an inspection: Markdown, and the same as text.
func hover(answer json.RawMessage) (markdown, text string) {
	var reply struct {
		Contents struct {
			Value string `json:"value"`
		} `json:"contents"`
	}
	if json.Unmarshal(answer, &reply) != nil {
		return "", ""
	}
	markdown = strings.TrimSpace(reply.Contents.Value)
	var lines []string
	for _, line := range strings.Split(markdown, "\n") {
		if !strings.HasPrefix(line, "```") && line != "---" {
			lines = append(lines, line)
		}
	}
	return markdown, strings.TrimSpace(emptyLines.ReplaceAllString(strings.Join(lines, "\n"), "\n\n"))
}
