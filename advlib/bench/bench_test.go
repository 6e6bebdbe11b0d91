package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/dataset"
	"advlab/advlib/internal/npz"
)

// files returns where the workloads' files are: the 8 examples of the checkout, unless ADVLAB_PEERS names a folder with
// more of them, and ACAS Xu beside the checkout.
func files() sources {
	s := sources{examples: 128, folder: filepath.Join(os.TempDir(), "advlab-bench")} // as in compare.py
	reference := os.Getenv("ADVLAB_PEERS")
	if reference == "" {
		reference = filepath.Join("..", "attack", "attacktest", "testdata")
	}
	s.cnn = filepath.Join(reference, "cnn-mnist-adv.npz")
	s.acas = filepath.Join("..", "..", "..", "shared", "data", "vnnlib", "ACASXU_run2a_1_1_batch_2000.onnx")
	return s
}

// The workloads without the peers: go test -run '^$' -bench . ./advlib/bench. The first attack trains the models, which
// takes minutes.
func BenchmarkWorkloads(b *testing.B) {
	s := files()
	if err := os.MkdirAll(s.folder, 0o755); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"pgd", "autoattack", "cw", "cw-all-steps", "square", "square-l2", "hopskipjump", "surfree", "patch", "cnn",
		"acas"} {
		w, err := makers[name](b.Context(), s)
		var missing *dataset.MissingError
		if errors.As(err, &missing) || errors.Is(err, os.ErrNotExist) {
			b.Run(name, func(b *testing.B) { b.Skipf("a file is missing: %v", err) })
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
		for _, t := range w.turns {
			b.Run(name+"/"+strings.ReplaceAll(t.name, " ", "-"), func(b *testing.B) {
				a, err := t.do(b.Context()) // compiles
				if err != nil {
					b.Fatal(err)
				}
				used := cpu()
				for b.Loop() {
					if a, err = t.do(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cpu()-used)/float64(b.N), "cpu-s/op") // which a busy machine disturbs less
				if a.Forward > 0 {
					b.ReportMetric(a.Forward, "forward/example")
					b.ReportMetric(a.Backward, "backward/example")
				}
			})
		}
	}
}

// What compare.py reads is there: the arrays, the names of the turns, and a reply for each line.
func TestServe(t *testing.T) {
	s := files()
	s.folder = t.TempDir()
	var out bytes.Buffer
	if err := serve(t.Context(), s, []string{"cnn"}, strings.NewReader("cnn/for float32\n"), &out); err != nil {
		t.Fatal(err)
	}
	var names map[string][]string
	var r struct {
		Margins      [][]float64
		Seconds, CPU float64
	}
	answers := json.NewDecoder(&out)
	if err := errors.Join(answers.Decode(&names), answers.Decode(&r)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names["cnn"], ", "); got != "real arithmetic, for float32" {
		t.Errorf("turns %q", got)
	}
	if len(r.Margins) < 8 || len(r.Margins[0]) != 9 || !(r.Seconds > 0) || !(r.CPU > 0) {
		t.Errorf("reply %+v", r)
	}
	for _, file := range []string{"cnn.npz", "cnn.json"} {
		if info, err := os.Stat(filepath.Join(s.folder, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	if err := serve(t.Context(), s, []string{"nope"}, strings.NewReader(""), &out); err == nil || !strings.Contains(err.Error(), "nope") {
		t.Errorf("an unknown workload: %v", err)
	}
}

// The workload of a patch, small: the other side finds the views, where the patch is in them, and the network, and what
// it leaves is judged. A patch that was looked for works on more views than a gray one.
func TestPatch(t *testing.T) {
	s := sources{folder: t.TempDir()}
	makers["patch"] = patchSizes{signs: 300, epochs: 6, practised: 32, fresh: 40, steps: 24}.workload
	defer func() { makers["patch"] = patches }()
	in, lines := io.Pipe()
	out, replies := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(t.Context(), s, []string{"patch"}, in, replies) }()
	answers := json.NewDecoder(out)
	ask := func(line string, into any) {
		t.Helper()
		if line != "" {
			if _, err := io.WriteString(lines, line+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		if err := answers.Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	var names map[string][]string
	ask("", &names)
	if got := strings.Join(names["patch"], ", "); got != "printed, on a screen" {
		t.Errorf("turns %q", got)
	}
	var made, judged reply
	ask("patch/on a screen", &made)
	left, err := os.ReadFile(filepath.Join(s.folder, "patch.f32"))
	if err != nil {
		t.Fatal(err)
	}
	patches := make([]float32, 2*12*12*3) // a gray one, and the one that was left
	for i := range patches {
		patches[i] = 0.5
	}
	if _, err := binary.Decode(left, binary.LittleEndian, patches[12*12*3:]); err != nil || len(left) != 4*12*12*3 {
		t.Fatalf("%d bytes are left, %v", len(left), err)
	}
	var file bytes.Buffer
	if err := npz.Write(&file, map[string]*tensors.Tensor{"patches": tensors.FromFlatDataAndDimensions(patches, 2, 12, 12, 3)}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.folder, "patch-judged.npz"), file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ask("patch/judge", &judged)
	if len(judged.Hits) != 2 || len(judged.Hits[1]) != 2 || judged.Hits[1][1] <= judged.Hits[0][1] || judged.Hits[1][1] > 40 {
		t.Errorf("a gray patch and one that was looked for work on %v views", judged.Hits)
	}
	arrays, err := npz.ReadFile(filepath.Join(s.folder, "patch.npz"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]int{"x": {32, 32, 32, 3}, "at": {32, 4, 2}, "fresh": {40, 32, 32, 3}, "fresh_at": {40, 4, 2},
		"weights/conv2/w": {4, 4, 32, 64}} {
		if a := arrays[name]; a == nil || !slices.Equal(a.Shape().Dimensions, want) {
			t.Errorf("%s is %v, want %v", name, a, want)
		}
	}
	if err := errors.Join(lines.Close(), <-ended); err != nil {
		t.Error(err)
	}
}

// The counts that compare.py recorded: a patch of ours works on as many fresh views as the best of ART's, printed on
// more, and SPEED.md has these counts.
func TestPatchBesideART(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "patch.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Ours, Peer string
		Works      map[string][2][]int // by judge, of both sides, in each round
	}
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("SPEED.md")
	if err != nil {
		t.Fatal(err)
	}
	sum := func(counts []int) (n int) {
		for _, c := range counts {
			n += c
		}
		return n
	}
	for judge, made := range map[string]string{"printed": "printed", "on a screen": "on a screen", "as ART pastes": "on a screen"} {
		ours, best, line := 0, 0, ""
		for _, r := range rows {
			if counts := r.Works[judge]; r.Ours == made {
				if len(counts[0]) != 3 || len(counts[1]) != 3 {
					t.Fatalf("%s, %s: rounds %v", judge, r.Peer, counts)
				}
				ours = sum(counts[0])
				best = max(best, sum(counts[1]))
				line += fmt.Sprintf(" %d |", sum(counts[1]))
			}
		}
		line = fmt.Sprintf("| %s | %d |%s %.3f |", judge, ours, line, float64(ours)/float64(best))
		if !bytes.Contains(page, []byte(line)) {
			t.Errorf("SPEED.md lacks the line %s", line)
		}
		if best == 0 || ours < best {
			t.Errorf("%s: ours works on %d views, ART's on %d", judge, ours, best)
		}
	}
}
