// Command bench is our side of a comparison with other libraries, of attacks and of bounds; compare.py beside it is the
// other side, starts it, and says how to run both. It prepares the workloads that are named, leaves in a folder what
// the other side needs, and then runs one turn for each line on its standard input.
//
//	go run ./advlib/bench [-examples N] [-cnn FILE] [-acas FILE] FOLDER WORKLOAD...
//
// Attacks need MNIST's test files; see package dataset for where they are looked for.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
	"advlab/advlib/internal/npz"
)

// sources are where the workloads' models and data come from.
type sources struct {
	folder   string // trained models are kept there
	examples int    // how many images are attacked
	cnn      string // the reference vectors
	acas     string // network 1_1 of ACAS Xu
}

func main() {
	var s sources
	flag.IntVar(&s.examples, "examples", 128, "how many images are attacked")
	flag.StringVar(&s.cnn, "cnn", "", "the reference vectors cnn-mnist-adv.npz, for the workload cnn")
	flag.StringVar(&s.acas, "acas", "", "network 1_1 of ACAS Xu in ONNX, for the workload acas")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bench [flags] FOLDER WORKLOAD...: compare.py starts it")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 2 || s.examples < 1 {
		flag.Usage()
		os.Exit(2)
	}
	s.folder = flag.Arg(0)
	if err := serve(context.Background(), s, flag.Args()[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// workload is work that both sides do.
type workload struct {
	name string
	// ask returns what the other side needs: arrays for NAME.npz, and what is said in NAME.json.
	ask func() (arrays map[string]*tensors.Tensor, said any)
	// turns are the ways in which ours does it, first the one that is compared with all peers.
	turns []turn
	// judge, if there is one, is a turn by the name judge that is asked for by compare.py alone, and not timed.
	judge func(ctx context.Context) (answer, error)
}

// turn is one way to do a workload.
type turn struct {
	name string
	do   func(ctx context.Context) (answer, error)
}

// answer is what a turn gives besides its cost.
type answer struct {
	Forward, Backward float64         `json:",omitempty"` // passes of each example through the model
	Margins           [][]float64     `json:",omitempty"` // lower bounds
	Hits              [][]int         `json:",omitempty"` // of each patch that was judged, on how many views it works, printed and on a screen
	left              *tensors.Tensor // in NAME.f32, float32 in C order: adversarial examples, or weights
}

// reply is what one line on the standard input gives.
type reply struct {
	answer
	Seconds  float64 // wall time, compilation included
	CPU      float64 // seconds of all cores, which other programs on the machine disturb less
	Programs int     // compiled, or loaded from the disk, during this turn
}

// makers make workloads by name.
var makers = map[string]func(ctx context.Context, s sources) (workload, error){
	"pgd": attackOn("pgd"), "autoattack": attackOn("autoattack"), "cw": attackOn("cw"), "cw-all-steps": attackOn("cw-all-steps"),
	"square": attackOn("square"), "square-l2": attackOn("square-l2"),
	"hopskipjump": attackOn("hopskipjump"), "surfree": attackOn("surfree"),
	"training": training7,
	"patch":    patches,
	"cnn":      cnnBounds, "acas": acasBounds,
}

// serve prepares the workloads, writes one line of JSON with the names of each one's turns, and then a reply for each
// line NAME/TURN that it reads.
func serve(ctx context.Context, s sources, names []string, in io.Reader, out io.Writer) error {
	turns, said := map[string]func() (reply, error){}, map[string][]string{}
	for _, name := range names {
		w, err := prepare(ctx, s, name)
		if err != nil {
			return err
		}
		for _, t := range w.turns {
			said[name] = append(said[name], t.name)
			turns[name+"/"+t.name] = func() (reply, error) { return w.run(ctx, t, s.folder) }
		}
		if w.judge != nil {
			turns[name+"/judge"] = func() (reply, error) { return w.run(ctx, turn{"judge", w.judge}, s.folder) }
		}
	}
	answers := json.NewEncoder(out)
	if err := answers.Encode(said); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		do, ok := turns[lines.Text()]
		if !ok {
			return fmt.Errorf("there is no turn %q; there are %v", lines.Text(), said)
		}
		r, err := do()
		if err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

// prepare makes a workload and leaves what the other side needs.
func prepare(ctx context.Context, s sources, name string) (workload, error) {
	create, ok := makers[name]
	if !ok {
		return workload{}, fmt.Errorf("there is no workload %q", name)
	}
	w, err := create(ctx, s)
	if err != nil {
		return w, fmt.Errorf("%s: %w", name, err)
	}
	arrays, said := w.ask()
	text, err := json.Marshal(said)
	if err != nil {
		return w, err
	}
	file, err := os.Create(filepath.Join(s.folder, name+".npz"))
	if err != nil {
		return w, err
	}
	return w, errors.Join(npz.Write(file, arrays), file.Close(), os.WriteFile(filepath.Join(s.folder, name+".json"), text, 0o600))
}

// run takes a turn and measures it.
func (w workload) run(ctx context.Context, t turn, folder string) (reply, error) {
	before := backend.CacheStats()
	start, used := time.Now(), cpu()
	a, err := t.do(ctx)
	if err != nil {
		return reply{}, err
	}
	after := backend.CacheStats()
	r := reply{answer: a, Seconds: time.Since(start).Seconds(), CPU: cpu() - used,
		Programs: after.Hits + after.Misses - before.Hits - before.Misses}
	if a.left != nil {
		readErr := a.left.ConstBytes(func(b []byte) { err = os.WriteFile(filepath.Join(folder, w.name+".f32"), b, 0o600) })
		err = errors.Join(err, readErr)
	}
	return r, err
}

// cpu returns the seconds of all cores that this process has used.
func cpu() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}
