// Command peers is our side of a comparison with attack libraries in Python; compare.py beside it is the other side, starts it, and says
// how to run both. It writes the models and the examples into a folder, then runs one workload for each line on its standard input.
//
//	go run ./advlib/attack/peers FOLDER EXAMPLES
//
// It needs MNIST's test files; see package dataset for where they are looked for.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/internal/npz"
)

func main() {
	examples := 0
	if len(os.Args) == 3 {
		examples, _ = strconv.Atoi(os.Args[2])
	}
	if examples < 1 {
		fmt.Fprintln(os.Stderr, "usage: peers FOLDER EXAMPLES: compare.py starts it, with a folder for the models and the number of images to attack")
		os.Exit(2)
	}
	if err := serve(context.Background(), os.Args[1], examples); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// reply is what one run of a workload gives.
type reply struct {
	Seconds  float64 // wall time, compilation included
	CPU      float64 // seconds of all cores, which other programs on the machine disturb less
	Forward  float64 // passes of each example through the model
	Backward float64
	Programs int // compiled, or loaded from the disk, during this run
}

// serve writes what the other side needs, one line of JSON with the names of the workloads, and then a reply for each name that it reads. The
// adversarial examples of a run are left in NAME.f32, float32 in C order.
func serve(ctx context.Context, folder string, examples int) error {
	all, err := workloads(ctx, folder, examples)
	if err != nil {
		return err
	}
	answer := json.NewEncoder(os.Stdout)
	byName := map[string]workload{}
	var names []string
	for _, w := range all {
		byName[w.Name] = w
		names = append(names, w.Name)
		if err := w.write(folder); err != nil {
			return err
		}
	}
	if err := answer.Encode(names); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		w, ok := byName[in.Text()]
		if !ok {
			return fmt.Errorf("there is no workload %q; there are %q", in.Text(), names)
		}
		r, res, err := w.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		if err := res.Adversarial.ConstBytes(func(b []byte) { err = os.WriteFile(filepath.Join(folder, w.Name+".f32"), b, 0o600) }); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		if err := answer.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// run runs the attack once.
func (w workload) run(ctx context.Context) (reply, *advlib.Result, error) {
	before := backend.CacheStats()
	start, used := time.Now(), cpu()
	res, err := advlib.Run(ctx, w.classifier, w.attack, w.examples)
	if err != nil {
		return reply{}, nil, err
	}
	after, n := backend.CacheStats(), float64(w.examples.Len())
	return reply{
		Seconds: time.Since(start).Seconds(), CPU: cpu() - used,
		Forward: float64(res.Stats.Forward) / n, Backward: float64(res.Stats.Backward) / n,
		Programs: after.Hits + after.Misses - before.Hits - before.Misses,
	}, res, nil
}

// cpu returns the seconds of all cores that this process has used.
func cpu() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}

// write leaves NAME.npz with the weights and the examples, and NAME.json with the budget.
func (w workload) write(folder string) error {
	arrays := map[string]*tensors.Tensor{"x": w.examples.X, "y": tensors.FromFlatDataAndDimensions(w.examples.Y, w.examples.Len())}
	for v := range w.classifier.Store().IterVariables() {
		arrays["weights"+v.Path()] = v.MustValue()
	}
	file, err := os.Create(filepath.Join(folder, w.Name+".npz"))
	if err != nil {
		return err
	}
	if err := npz.Write(file, arrays); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, w.Name+".json"), text, 0o600)
}
