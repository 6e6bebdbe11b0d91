package notebook

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// golden is what kernel and cells agree on: the kernel's package relay has a test with the same text.
const golden = `{"result":{"image/png":"iVBORw==","text/plain":"42"},"clear":"wait","phases":{"compile":0.25,"run":1.5},` +
	`"backend":"xla:cpu","device":"TFRT_CPU_0","plugin":"0123456789ab","seed":18446744073709551615,` +
	`"modules":{"advlab":"local","github.com/gomlx/gomlx":"v0.28.8"}}`

func TestBundle(t *testing.T) {
	seed := ^uint64(0)
	got, err := json.Marshal(Bundle{
		Result: map[string]any{"text/plain": "42", "image/png": []byte("\x89PNG")}, Clear: "wait",
		Phases: map[string]float64{Compile: 0.25, Run: 1.5}, Backend: "xla:cpu", Device: "TFRT_CPU_0", Plugin: "0123456789ab", Seed: &seed,
		Modules: map[string]string{"advlab": "local", "github.com/gomlx/gomlx": "v0.28.8"},
	})
	if err != nil || string(got) != golden {
		t.Errorf("got\n%s (%v)\nwant\n%s", got, err, golden)
	}
	if got, err := json.Marshal(Bundle{}); err != nil || string(got) != "{}" {
		t.Errorf("nothing told is %s (%v)", got, err)
	}
}

func TestWithRest(t *testing.T) {
	for _, test := range []struct {
		phases map[string]float64
		passed time.Duration
		want   map[string]float64
	}{
		{nil, 2 * time.Second, map[string]float64{Run: 2}},
		{map[string]float64{Compile: 0.5, Open: 0.25}, time.Second, map[string]float64{Compile: 0.5, Open: 0.25, Run: 0.25}},
		{map[string]float64{Compile: 3}, time.Second, map[string]float64{Compile: 3}}, // another goroutine told of that time
	} {
		if got := withRest(test.phases, test.passed); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v of %v: %v, want %v", test.phases, test.passed, got, test.want)
		}
	}
}

func TestModules(t *testing.T) {
	got := Modules(&debug.BuildInfo{Deps: []*debug.Module{
		{Path: "a", Version: "v1.2.3"},
		{Path: "b", Version: "v0.0.0", Replace: &debug.Module{Path: "../b"}},
		{Path: "c", Version: "v1.0.0", Replace: &debug.Module{Path: "d", Version: "v1.1.0"}},
		{Path: "e", Version: "(devel)"},
	}})
	if want := map[string]string{"a": "v1.2.3", "b": "local", "c": "v1.1.0", "e": "local"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A cell is another process, which this test binary is when role is set.
const role = "NOTEBOOK_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "silent":
		if Active() {
			os.Exit(4)
		}
		Tell(Bundle{Backend: "go"})
	case "grade":
		if !TakesGrades() || Grade(2.5) != nil {
			os.Exit(5)
		}
	case "cell":
		seed := uint64(7)
		time.Sleep(20 * time.Millisecond)
		Tell(Bundle{Backend: "go", Phases: map[string]float64{Open: 0.001}})
		Tell(Bundle{Seed: &seed})
		if err := Flush(); err != nil {
			os.Exit(3)
		}
	}
	os.Exit(0)
}

// pipes plays GoNB towards a cell: it reads what the cell sends, confirms, and returns the environment of the cell.
func pipes(t testing.TB, bundles chan<- []byte) []string {
	t.Helper()
	dir := t.TempDir()
	to, from := filepath.Join(dir, "to"), filepath.Join(dir, "from")
	for _, path := range []string{to, from} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		defer close(bundles)
		in, err := os.Open(to)
		if err != nil {
			t.Error(err)
			return
		}
		defer in.Close()
		out, err := os.OpenFile(from, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer out.Close()
		decoder, encoder := gob.NewDecoder(in), gob.NewEncoder(out)
		for {
			m := &protocol.DisplayData{}
			if err := decoder.Decode(m); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				return
			}
			if v, ok := m.Data[protocol.MIMECommValue].(protocol.CommValue); ok {
				if err := encoder.Encode(&protocol.CommValue{Address: protocol.GonbuiSyncAckAddress, Value: v.Value}); err != nil {
					t.Error(err)
				}
				continue
			}
			text, ok := m.Data[MIME].([]byte)
			if !ok || len(m.Data) != 1 {
				t.Errorf("the display is %v", m.Data)
			}
			bundles <- text
		}
	}()
	return []string{protocol.GONB_PIPE_ENV + "=" + to, protocol.GONB_PIPE_BACK_ENV + "=" + from}
}

func TestACellTells(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bundles := make(chan []byte, 10)
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), pipes(t, bundles)...), role+"=cell", Variable+"=v1",
		protocol.GONB_TMP_DIR_ENV+"="+filepath.Dir(self))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	var got []Bundle
	for text := range bundles {
		var b Bundle
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got = append(got, b)
	}
	if len(got) != 2 {
		t.Fatalf("%d bundles, want 2", len(got))
	}
	if got[0].Backend != "go" || got[0].Phases[Open] != 0.001 || got[0].Phases[Run] < 0.015 {
		t.Errorf("the first is %+v", got[0])
	}
	if got[1].Seed == nil || *got[1].Seed != 7 || got[1].Modules != nil || got[1].Phases[Run] > 1 {
		t.Errorf("the second is %+v", got[1])
	}
}

// The kernel's package relay has a test with the same signature.
func TestGrade(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "program")
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(program, text, 0o700), os.WriteFile(program+".nonce", []byte("nonce"), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), role+"=grade")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const want = "2.5 b5e6709994b647561d37add431988ab82e59858f71fa3767c26f72fe482ec7cc"
	if got, err := os.ReadFile(program + ".grade"); err != nil || string(got) != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
	if TakesGrades() {
		t.Error("a program without nonce takes grades")
	}
}

// Nobody is told, and nothing waits, outside of a cell of a kernel that listens: not in a terminal, not in bare GoNB,
// not in a program that a cell starts. The pipes that are named here would block whoever opened them.
func TestOthersTellNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string][]string{
		"terminal":          nil,
		"bare GoNB":         {protocol.GONB_PIPE_ENV + "=PIPE", protocol.GONB_TMP_DIR_ENV + "=" + filepath.Dir(self)},
		"started by a cell": {protocol.GONB_PIPE_ENV + "=PIPE", protocol.GONB_TMP_DIR_ENV + "=" + t.TempDir(), Variable + "=v1"},
		"a shell's":         {protocol.GONB_TMP_DIR_ENV + "=" + filepath.Dir(self), Variable + "=v1"},
	} {
		t.Run(name, func(t *testing.T) {
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			for i := range env {
				env[i] = strings.Replace(env[i], "=PIPE", "="+pipe, 1)
			}
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), role+"=silent")
			cmd.Env = append(cmd.Env, env...)
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case err := <-ended:
				if err != nil || out.Len() > 0 {
					t.Errorf("%v: %s", err, out.String())
				}
			case <-time.After(20 * time.Second):
				_ = cmd.Process.Kill()
				t.Error("it waits for a pipe that nobody reads")
			}
		})
	}
}

// What a cell pays for one message, and for one that is confirmed.
func BenchmarkTell(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	bundles := make(chan []byte, 10)
	for _, entry := range append(pipes(b, bundles), Variable+"=v1", protocol.GONB_TMP_DIR_ENV+"="+filepath.Dir(self)) {
		name, value, _ := strings.Cut(entry, "=")
		b.Setenv(name, value)
	}
	gonbui.IsNotebook = true
	go func() {
		for range bundles { // only taken away
		}
	}()
	seed := uint64(1)
	b.Run("sent", func(b *testing.B) {
		for b.Loop() {
			Tell(Bundle{Seed: &seed})
		}
	})
	b.Run("confirmed", func(b *testing.B) {
		for b.Loop() {
			Tell(Bundle{Seed: &seed})
			if err := Flush(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
