package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"advlab/kernel/internal/kernelspec"
	"advlab/kernel/internal/session"
)

// screenshots names the environment variable with a folder that takes pictures of what the browser shows.
const screenshots = "ADVLAB_SCREENSHOTS"

// chromium finds the browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("needs Chromium, to see JupyterLab as people do: sudo apt-get install chromium")
	return ""
}

// lab is a JupyterLab, with notebooks in a folder of its own.
type lab struct {
	url    string // with a / at its end
	token  string
	folder string
	temp   string // the TMPDIR of all that it starts is here
}

// startLab starts JupyterLab from the prepared environment, as `advlab lab` does. base is the path that it serves;
// secure: behind https.
func startLab(t *testing.T, base string, secure bool) *lab {
	t.Helper()
	p := prepared(t)
	home := t.TempDir()
	l := &lab{token: "test", folder: filepath.Join(home, "notebooks")}
	for _, dir := range []string{l.folder, filepath.Join(home, "config")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	args := []string{"-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
		fmt.Sprintf("--ServerApp.port=%d", port), "--ServerApp.port_retries=0", "--ServerApp.base_url=" + base,
		"--IdentityProvider.token=" + l.token, "--ServerApp.root_dir=" + l.folder,
		"--LabApp.expose_app_in_browser=True"} // only so can be seen when JupyterLab is ready for a click
	scheme := "http"
	if secure {
		scheme = "https"
		certificate := filepath.Join(home, "certificate.pem")
		writeCertificate(t, certificate)
		args = append(args, "--ServerApp.certfile="+certificate, "--ServerApp.keyfile="+certificate)
	}
	l.url = fmt.Sprintf("%s://127.0.0.1:%d%s", scheme, port, base)
	temp, err := os.MkdirTemp("", "lab") // a short path, for the names of sockets
	if err != nil {
		t.Fatal(err)
	}
	l.temp = temp
	cmd := exec.Command(p.PythonExe(), args...)
	cmd.Env = append(session.JupyterEnv(p, os.Environ()), "TMPDIR="+temp, "JUPYTER_RUNTIME_DIR="+filepath.Join(home, "run"),
		"JUPYTER_CONFIG_DIR="+filepath.Join(home, "config"), "JUPYTER_DATA_DIR="+filepath.Join(home, "data"), session.History+"=off")
	var log safeBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // ends the kernels, too
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("JupyterLab did not end at SIGTERM")
		}
		if t.Failed() {
			t.Logf("JupyterLab's log:\n%s", &log)
		}
		_ = os.RemoveAll(temp)
	})
	for deadline := time.Now().Add(patient); ; time.Sleep(100 * time.Millisecond) {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = c.Close()
			return l
		}
		select {
		case err := <-ended:
			t.Fatalf("JupyterLab ended: %v\n%s", err, &log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("JupyterLab does not listen\n%s", &log)
		}
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// writeCertificate writes a certificate that nobody has signed, and its key.
func writeCertificate(t *testing.T, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// write writes a notebook of code cells.
func (l *lab) write(t *testing.T, name string, cells ...string) {
	t.Helper()
	type cell struct {
		Type     string         `json:"cell_type"`
		ID       string         `json:"id"`
		Source   string         `json:"source"`
		Metadata map[string]any `json:"metadata"`
		Outputs  []any          `json:"outputs"`
		Count    *int           `json:"execution_count"`
	}
	var list []cell
	for i, source := range cells {
		list = append(list, cell{"code", fmt.Sprintf("cell-%d", i), source, map[string]any{}, []any{}, nil})
	}
	text, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "cells": list, "metadata": map[string]any{
		"kernelspec": map[string]string{"name": kernelspec.Name, "display_name": "Go (advlab)", "language": "go"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.folder, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// browser is a Chromium with one page.
type browser struct {
	ctx     context.Context
	console *safeBuffer // what the page writes to the console, and its errors
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := chromium(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("headless", "new"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1400, 1000),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.IgnoreCertErrors)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, closePage := chromedp.NewContext(allocator)
	b := &browser{ctx: ctx, console: &safeBuffer{}}
	t.Cleanup(func() {
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_ = chromedp.Cancel(limited) // waits for the browser's end
		closePage()
		if t.Failed() {
			t.Logf("the page's console:\n%s", b.console)
		}
	})
	messages := chromedp.Console(ctx)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	dialogs := chromedp.Events(ctx, page.JavascriptDialogOpening)
	go func() {
		for _, err := range dialogs { // whether to leave a notebook that is not saved
			if err != nil {
				return
			}
			_, _ = chromedp.Call(ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}
	}()
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			fmt.Fprintln(b.console, m)
		}
	}()
	return b
}

// do runs actions for at most a minute.
func (b *browser) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.picture(t, "failed")
		t.Fatal(err)
	}
}

// eval returns what a JavaScript expression is.
func eval[A any](t *testing.T, b *browser, expression string) A {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[A](expression))
	if err != nil {
		b.picture(t, "failed")
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// wait waits until a JavaScript expression is true.
func (b *browser) wait(t *testing.T, limit time.Duration, expression string) {
	t.Helper()
	for deadline := time.Now().Add(limit); !eval[bool](t, b, "Boolean("+expression+")"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.picture(t, "failed")
			t.Fatalf("not within %s: %s\nThe page says:\n%s", limit, expression, eval[string](t, b, "document.body.innerText"))
		}
	}
}

// picture keeps what the page looks like, if somebody wants it.
func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	folder := os.Getenv(screenshots)
	if folder == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, strings.ReplaceAll(t.Name(), "/", "-")+"-"+name+".png"), png, 0o600)
	}
	if err != nil {
		t.Logf("no picture: %v", err)
	}
}

const (
	panel   = `document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)')`
	idle    = panel + `?.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'`
	patient = 2 * time.Minute // for what takes seconds on a machine with nothing else to do
)

// open opens a notebook and waits for its kernel.
func (b *browser) open(t *testing.T, l *lab, name string) {
	t.Helper()
	b.do(t, chromedp.Navigate(fmt.Sprintf("%slab/tree/%s?reset&token=%s", l.url, name, l.token)))
	widget := fmt.Sprintf(`[...globalThis.jupyterapp?.shell?.widgets('main') ?? []].find(w => w.context?.path === %q)`, name)
	b.wait(t, patient, widget+"?.sessionContext?.isReady")
	b.wait(t, patient, idle)
	b.click(t, cell(0)+"?.querySelector('.jp-InputPrompt')") // the menus are for what has the focus
	b.wait(t, patient, "jupyterapp.shell.currentWidget === "+widget)
}

// cell is the JavaScript expression of a code cell's element.
func cell(i int) string { return fmt.Sprintf("%s?.querySelectorAll('.jp-CodeCell')[%d]", panel, i) }

// output is the expression of the text of a cell's outputs.
func output(i int) string { return cell(i) + "?.querySelector('.jp-OutputArea')?.innerText" }

// prompt is the expression of what stands before a cell, such as [1]:.
func prompt(i int) string { return cell(i) + "?.querySelector('.jp-InputPrompt')?.innerText" }

// button presses a button of the notebook's toolbar.
func (b *browser) button(t *testing.T, name string) {
	t.Helper()
	b.click(t, fmt.Sprintf(panel+`?.querySelector('[data-jp-item-name=%q] jp-button')`, name))
}

type point struct{ X, Y float64 }

// menu chooses an entry of the main menu.
func (b *browser) menu(t *testing.T, menu, entry string) {
	t.Helper()
	for _, text := range []string{menu, entry} {
		item := fmt.Sprintf(`[...document.querySelectorAll('.lm-MenuBar-itemLabel, .lm-Menu-itemLabel')].find(e => e.innerText.trim() === %q)`,
			text)
		b.click(t, item)
	}
}

// click clicks, with the mouse, into the middle of the element that a JavaScript expression gives, once it is there.
func (b *browser) click(t *testing.T, element string) {
	t.Helper()
	place := fmt.Sprintf(`(() => {
		const r = (%s)?.getBoundingClientRect()
		return r?.width ? {X: r.x + r.width / 2, Y: r.y + r.height / 2} : {X: 0, Y: 0}
	})()`, element)
	last := point{}
	for deadline := time.Now().Add(patient); ; time.Sleep(50 * time.Millisecond) {
		at := eval[point](t, b, place)
		if at != (point{}) && at == last { // it is there, and does not move
			b.do(t, chromedp.MouseEvent(chromedp.MouseMoved, at.X, at.Y), chromedp.MouseClickXY(at.X, at.Y))
			return
		}
		if last = at; time.Now().After(deadline) {
			b.picture(t, "failed")
			t.Fatalf("nothing to click at: %s", element)
		}
	}
}

// edit clicks into a cell's editor.
func (b *browser) edit(t *testing.T, i int) {
	t.Helper()
	eval[bool](t, b, cell(i)+".scrollIntoView({block: 'center'}) === undefined")
	b.click(t, cell(i)+".querySelector('.cm-line')")
	b.wait(t, patient, cell(i)+".querySelector('.cm-editor.cm-focused')")
}

// runCell runs one cell by Ctrl-Enter.
func (b *browser) runCell(t *testing.T, i int) {
	t.Helper()
	b.edit(t, i)
	b.do(t, chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(kb.ModifierCtrl)))
}

func TestJupyterLab(t *testing.T) {
	chromium(t)
	l := startLab(t, "/", false)
	b := startBrowser(t)

	t.Run("Run All stops at an error", func(t *testing.T) {
		l.write(t, "errors.ipynb", "import \"fmt\"\n\nfunc divide(a, b int) int {\n\treturn a / b\n}",
			"%%\nfmt.Println(\"before\", divide(6, 2))", "%%\nfmt.Println(\"here\")\nfmt.Println(divide(1, 0))", "%%\nfmt.Println(\"never\")")
		b.open(t, l, "errors.ipynb")
		b.menu(t, "Run", "Run All Cells")
		b.wait(t, patient, output(2)+"?.includes('Panic: ')")
		b.wait(t, patient, idle)
		b.picture(t, "panic")
		if got := eval[string](t, b, output(1)); strings.TrimSpace(got) != "before 3" {
			t.Errorf("the cell before the error shows %q", got)
		}
		got := eval[string](t, b, output(2))
		for _, want := range []string{"here\n", "Panic: cell 1, line 4: runtime error: integer divide by zero", ">   4 | \treturn a / b",
			"cell 3, line 3"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in the error:\n%s", want, got)
			}
		}
		if got := eval[string](t, b, prompt(3)+"+"+output(3)); got != "[ ]:" {
			t.Errorf("the cell behind the error shows %q", got)
		}
	})

	t.Run("the interrupt button stops the compiler", func(t *testing.T) {
		l.write(t, "compile.ipynb", slowToCompile, "%%\nfmt.Println(\"alive\")")
		b.open(t, l, "compile.ipynb")
		b.runCell(t, 0)
		b.wait(t, patient, prompt(0)+"?.startsWith('[*]')")
		compiles := func(line string) bool {
			return strings.Contains(line, "/compile ") && strings.Contains(line, " -p main ")
		}
		deadline := time.Now().Add(patient)
		for !slices.ContainsFunc(processesWith(t, "TMPDIR="+l.temp), compiles) {
			time.Sleep(100 * time.Millisecond)
			if time.Now().After(deadline) {
				t.Fatalf("no compiler is at work on the cell, only %q", processesWith(t, "TMPDIR="+l.temp))
			}
		}
		time.Sleep(2 * time.Second)
		if !slices.ContainsFunc(processesWith(t, "TMPDIR="+l.temp), compiles) {
			t.Fatal("the compiler is through with the cell")
		}
		if got := eval[string](t, b, prompt(0)+"+"+output(0)); got != "[*]:" {
			t.Fatalf("the cell that compiles shows %q", got)
		}
		began := time.Now()
		b.button(t, "interrupt")
		b.wait(t, patient, output(0)+"?.includes('Interrupted')")
		t.Logf("%.1f s from the click to the error", time.Since(began).Seconds())
		b.picture(t, "interrupted")
		b.runCell(t, 1)
		b.wait(t, patient, output(1)+"?.includes('alive')")
	})

	t.Run("Tab completes, Shift-Tab tells", func(t *testing.T) {
		l.write(t, "complete.ipynb", "fmt.Prin")
		b.open(t, l, "complete.ipynb")
		b.edit(t, 0)
		b.do(t, chromedp.KeyEvent(kb.End), chromedp.KeyEvent(kb.Tab))
		b.wait(t, patient, `[...document.querySelectorAll('.jp-Completer:not(.lm-mod-hidden) .jp-Completer-item')]
			.some(e => e.innerText.includes('Println'))`)
		b.picture(t, "list")
		b.do(t, chromedp.KeyEvent("tln"), chromedp.KeyEvent(kb.Enter))
		b.wait(t, patient, cell(0)+`.querySelector('.cm-line').innerText === 'fmt.Println'`)
		b.do(t, chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(kb.ModifierShift)))
		b.wait(t, patient, `document.querySelector('.jp-Tooltip')?.innerText.includes('func Println(')`)
		b.picture(t, "tooltip")
	})

	t.Run("the first Tab completes", func(t *testing.T) {
		shows := func(text string) string {
			return fmt.Sprintf(`[...document.querySelectorAll('.jp-Completer:not(.lm-mod-hidden) .jp-Completer-item')]
				.some(e => e.innerText.includes(%q))`, text)
		}
		cells := []struct {
			name, code string
			back       int // from the end to the cursor
			want       string
		}{
			{"import", "import \"advlab/adv\"", 1, shows("advlab/advlib/attack")},
			{"member", "b := advlib.Batch{}; b.", 0, shows("Target")},
			{"field", "a := attack.PGD{Step}", 1, shows("StepSize")},
			{"command", "%backend xla:", 0, shows("xla:cuda")},
			{"path", "é := \"😀\"; os.Open(\"./first\")", 2, shows("./first.ipynb")},
		}
		var codes []string
		for _, c := range cells {
			codes = append(codes, c.code)
		}
		l.write(t, "first.ipynb", codes...)
		b.open(t, l, "first.ipynb")
		// The kernel reads the types of advlib while nothing else is to be done: some tenths of a second, or many seconds on
		// a busy machine, of which JupyterLab waits one.
		b.wait(t, patient, `globalThis.typesAreRead || (globalThis.typesAsked ??= (jupyterapp.shell.currentWidget.sessionContext.session.kernel
			.requestComplete({code: 'attack.PGD{}.', cursor_pos: 13}).then(reply => {
				globalThis.typesAreRead = reply.content.matches.includes('StepSize')
				globalThis.typesAsked = undefined
			}), true), false)`)
		for i, c := range cells {
			b.edit(t, i)
			b.do(t, chromedp.KeyEvent(kb.End, chromedp.KeyModifiers(kb.ModifierCtrl)))
			for range c.back {
				b.do(t, chromedp.KeyEvent(kb.ArrowLeft))
			}
			// One press is enough, unless the machine is so busy that JupyterLab has stopped waiting for the answer.
			var began time.Time
			shown := false
			for press := 1; !shown && press <= 10; press++ {
				b.do(t, chromedp.KeyEvent(kb.Tab))
				began = time.Now()
				for !shown && time.Since(began) < 3*time.Second {
					shown = eval[bool](t, b, "Boolean("+c.want+")")
				}
				t.Logf("%s: shown %v, after press %d and %s", c.name, shown, press, time.Since(began).Round(time.Millisecond))
			}
			if !shown {
				b.picture(t, "failed")
				t.Fatalf("Tab shows no completion of %s %q", c.name, c.code)
			}
			b.picture(t, c.name)
			b.do(t, chromedp.KeyEvent(kb.Escape))
		}
	})

	t.Run("displays, and where they come from is saved", func(t *testing.T) {
		l.write(t, "displays.ipynb", "import (\n\t\"image\"\n\t\"advlab/advlib\"\n\t\"advlab/advlib/backend\"\n\t\"advlab/advlib/show\"\n)",
			"%%\nimg := image.NewGray(image.Rect(0, 0, 60, 40))\nfor i := range img.Pix {\n\timg.Pix[i] = byte(i)\n}\nshow.Display(img)",
			"%%\nupdate := show.Progress()\nfor i := range 11 {\n\tupdate(advlib.Progress{What: \"counting\", Done: i, Total: 10})\n"+
				"\ttime.Sleep(100 * time.Millisecond)\n}",
			"%%\nif _, err := backend.Open(); err != nil {\n\tpanic(err)\n}\nshow.Result(show.Provenance(advlib.Settings{Seed: 7}))",
			"%%\nfmt.Println(\"streams only\")")
		b.open(t, l, "displays.ipynb")
		b.menu(t, "Run", "Run All Cells")
		b.wait(t, patient, cell(1)+"?.querySelector('img')?.naturalWidth === 60")
		b.wait(t, patient, cell(2)+"?.querySelector('progress')?.position === 1")
		if n := eval[int](t, b, cell(2)+".querySelectorAll('.jp-OutputArea-child').length"); n != 1 {
			t.Errorf("the progress takes %d outputs, want 1", n)
		}
		b.wait(t, patient, output(4)+"?.includes('streams only')")
		b.wait(t, patient, idle)
		b.wait(t, patient, `getComputedStyle(`+cell(4)+`.querySelector('.jp-InputPrompt'), '::after').content.match(/^"[\d.]+ m?s"$/)`)
		b.picture(t, "shown")
		b.button(t, "save")
		var saved struct {
			Metadata struct{ Advlab map[string]any }
			Cells    []struct {
				Metadata struct{ Advlab map[string]any }
			}
		}
		for deadline := time.Now().Add(patient); ; time.Sleep(100 * time.Millisecond) {
			text, err := os.ReadFile(filepath.Join(l.folder, "displays.ipynb"))
			if err == nil && json.Unmarshal(text, &saved) == nil && saved.Metadata.Advlab != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the saved notebook says nothing of its origin (%v):\n%s", err, text)
			}
		}
		shared := saved.Metadata.Advlab
		modules, _ := shared["modules"].(map[string]any)
		if modules["github.com/gomlx/gomlx"] == nil || shared["go"] == nil || shared["advlab"] == nil {
			t.Errorf("the saved notebook's metadata is %v", shared)
		}
		for i, c := range saved.Cells {
			if c.Metadata.Advlab["seconds"] == nil || c.Metadata.Advlab["go"] != nil {
				t.Errorf("the saved metadata of cell %d is %v", i+1, c.Metadata.Advlab)
			}
		}
		phases, _ := saved.Cells[3].Metadata.Advlab["phases"].(map[string]any)
		if phases["open"] == nil || saved.Cells[3].Metadata.Advlab["backend"] == nil || saved.Cells[3].Metadata.Advlab["device"] == nil {
			t.Errorf("the saved metadata of the cell that opens a backend is %v", saved.Cells[3].Metadata.Advlab)
		}
	})

	t.Run("the restart button", func(t *testing.T) {
		l.write(t, "restart.ipynb", "const answer = 42", "%%\nfmt.Println(answer)")
		b.open(t, l, "restart.ipynb")
		b.menu(t, "Run", "Run All Cells")
		b.wait(t, patient, output(1)+"?.includes('42')")
		b.button(t, "restart")
		b.click(t, "document.querySelector('.jp-Dialog .jp-mod-accept')")
		b.wait(t, patient, "!document.querySelector('.jp-Dialog')")
		b.wait(t, patient, idle)
		b.runCell(t, 1)
		b.wait(t, patient, output(1)+"?.includes('undefined: answer')") // nothing is left of the kernel before
		b.runCell(t, 0)
		b.runCell(t, 1)
		b.wait(t, patient, output(1)+"?.trim() === '42' && "+prompt(1)+" === '[3]:'")
		b.picture(t, "restarted")
	})
}

// slowToCompile is a cell of 2^17 functions, in a few lines. With a quarter of them the compiler takes 31 s of a core's
// time (Go 1.26.8), so this is two minutes of work.
var slowToCompile = func() string {
	var b strings.Builder
	b.WriteString("func f0[T any]() {\n\tvar x T\n\t_ = &x\n}\n")
	for i := range 16 {
		fmt.Fprintf(&b, "func f%d[T any]() { f%d[[2]T](); f%d[[3]T]() }\n", i+1, i, i)
	}
	return b.String() + "%%\nf16[[0]int]()"
}()

// GoNB's widgets talk to the kernel through a WebSocket of their own, whose address GoNB gets wrong behind https and a
// base URL, as on a JupyterHub.
func TestWidgetsBehindHTTPS(t *testing.T) {
	chromium(t)
	l := startLab(t, "/user/x/", true)
	b := startBrowser(t)
	l.write(t, "widgets.ipynb", "import \"github.com/janpfeifer/gonb/gonbui/widgets\"",
		"%%\nslider := widgets.Slider(0, 100, 20).Done()\nbutton := widgets.Button(\"done\").Done()\n"+
			"moved, pressed := slider.Listen(), button.Listen()\nfmt.Println(\"listening\")\n"+
			"for {\n\tselect {\n\tcase v := <-moved.C:\n\t\tfmt.Println(\"slider\", v)\n\tcase <-pressed.C:\n\t\tfmt.Println(\"pressed\")\n"+
			"\t\treturn\n\t}\n}")
	b.open(t, l, "widgets.ipynb")
	b.menu(t, "Run", "Run All Cells")
	b.wait(t, patient, output(1)+"?.includes('listening')")
	b.picture(t, "widgets")
	b.click(t, cell(1)+".querySelector('input[type=range]')") // to its middle
	b.wait(t, patient, output(1)+"?.includes('slider 50')")
	b.click(t, cell(1)+".querySelector('.jp-OutputArea button')")
	b.wait(t, patient, output(1)+"?.includes('pressed')")
	b.wait(t, patient, idle)
	b.picture(t, "pressed")
}

// `lab` prints JupyterLab's address whatever it is given: with a token of one's own, JupyterLab itself does not.
func TestLabPrintsItsAddress(t *testing.T) {
	prepared(t)
	home := t.TempDir()
	port := freePort(t)
	cmd := exec.Command(advlab(t), "lab", "--no-browser", "--allow-root", "--port", fmt.Sprint(port), "..", "--",
		"--log-level=CRITICAL", "--IdentityProvider.token=my-own")
	cmd.Env = append(os.Environ(), "JUPYTER_RUNTIME_DIR="+filepath.Join(home, "run"), "JUPYTER_CONFIG_DIR="+filepath.Join(home, "config"),
		"JUPYTER_DATA_DIR="+filepath.Join(home, "data"))
	var said safeBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	want := fmt.Sprintf("http://localhost:%d/lab?token=my-own", port)
	for deadline := time.Now().Add(patient); !strings.Contains(said.String(), want); time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, &said)
		default:
		}
		if time.Now().After(deadline) {
			t.Errorf("no %s in\n%s", want, &said)
			break
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		t.Errorf("lab did not end at SIGTERM")
	}
}
