// Command peers is our side of a comparison of bounds with auto_LiRPA; compare.py beside it is the other side, starts it, and says how to run
// both. It runs one workload for each line on its standard input.
//
//	go run ./advlib/certify/peers FOLDER CNN.npz [ACAS.onnx]
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
	"advlab/advlib/internal/npz"
)

func main() {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: peers FOLDER CNN.npz [ACAS.onnx]: compare.py starts it, with a folder for the questions and answers")
		os.Exit(2)
	}
	if err := serve(context.Background(), os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// reply is what one run of a workload gives.
type reply struct {
	Seconds  float64 // wall time, compilation included
	CPU      float64 // seconds of all cores, which other programs on the machine disturb less
	Programs int     // compiled, or loaded from the disk, during this run
	Margins  [][]float64
}

// serve leaves the regions of each workload in NAME.npz, writes one line of JSON with the names of the workloads, and then a reply for each
// that it reads, "NAME" in real arithmetic or "NAME float32" for what the deployed model computes.
func serve(ctx context.Context, folder, cnn string, acas []string) error {
	all, err := workloads(cnn, acas)
	if err != nil {
		return err
	}
	byName := map[string]workload{}
	var names []string
	for _, w := range all {
		for _, m := range w.methods() {
			byName[m.name] = m
		}
		names = append(names, w.name)
		if err := w.write(folder); err != nil {
			return err
		}
	}
	answer := json.NewEncoder(os.Stdout)
	if err := answer.Encode(names); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		w, ok := byName[in.Text()]
		if !ok {
			return fmt.Errorf("there is no workload %q; there are %q, each alone or followed by float32", in.Text(), names)
		}
		r, err := w.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		if err := answer.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// run bounds the margins once.
func (w workload) run(ctx context.Context) (reply, error) {
	before := backend.CacheStats()
	start, used := time.Now(), cpu()
	a, err := w.network.Bound(ctx, w.query, w.method)
	if err != nil {
		return reply{}, err
	}
	after := backend.CacheStats()
	return reply{
		Seconds: time.Since(start).Seconds(), CPU: cpu() - used,
		Programs: after.Hits + after.Misses - before.Hits - before.Misses, Margins: a.Lower,
	}, nil
}

// cpu returns the seconds of all cores that this process has used.
func cpu() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}

// write leaves the boxes and labels.
func (w workload) write(folder string) error {
	matrix := func(rows [][]float64) *tensors.Tensor {
		var flat []float64
		for _, row := range rows {
			flat = append(flat, row...)
		}
		return tensors.FromFlatDataAndDimensions(flat, len(rows), len(rows[0]))
	}
	file, err := os.Create(filepath.Join(folder, w.name+".npz"))
	if err != nil {
		return err
	}
	arrays := map[string]*tensors.Tensor{
		"lower": matrix(w.query.Regions.Lower), "upper": matrix(w.query.Regions.Upper),
		"y": tensors.FromFlatDataAndDimensions(w.labels, len(w.labels)),
	}
	if err := npz.Write(file, arrays); err != nil {
		return err
	}
	return file.Close()
}
