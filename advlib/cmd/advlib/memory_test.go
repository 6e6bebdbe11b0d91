package main

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute-onnx/support/protos"
	"google.golang.org/protobuf/proto"

	"advlab/advlib/cachedir"
)

var manyExamples = flag.Bool("full", false, "measure memory on 10⁵ examples instead of 20000")

// TestMemory measures the program's peak: at most three times the data when all are evaluated, and with --limit at most
// twice what is asked for, and 300 MiB. Of 20000 examples, what 19000 of them take beside the program itself: at most
// twice the data. Of 10⁵ examples it measures four attacks, too: those behind the first are run on a part of the data,
// which must not be copied whole.
func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/PID/status, which only Linux has")
	}
	const size, mib = 784, 1 << 20
	examples := 20_000
	if *manyExamples {
		examples = 100_000
	}
	dir := t.TempDir()
	data, network, program := filepath.Join(dir, "big.npz"), filepath.Join(dir, "net.onnx"), filepath.Join(dir, "advlib")
	if err := os.WriteFile(network, linearNetwork(size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeExamples(data, examples, size); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, program); err != nil { // by this name, TestMain makes it the program
		t.Fatal(err)
	}
	peak := func(attacks string, limit int) int {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, "evaluate", "-q", "--fresh", "--eps", "0.001", "--attacks", attacks,
			"--model", network, "--data", data, "--limit", strconv.Itoa(limit))
		cmd.Env = append(os.Environ(), cachedir.Variable+"="+dir)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		most := 0
		for {
			select {
			case err := <-done:
				if err != nil || most == 0 {
					t.Fatalf("%d examples: %v, peak %d: %s", limit, err, most, out.String())
				}
				return most
			case <-time.After(10 * time.Millisecond):
				most = max(most, highWater(cmd.Process.Pid))
			}
		}
	}
	share := func(n int) int { return 4 * size * n }
	lists := []string{"fgm"}
	if *manyExamples {
		lists = append(lists, "fgm,bim,mifgsm,deepfool")
	}
	for _, attacks := range lists {
		few, all := peak(attacks, 1000), peak(attacks, examples)
		t.Logf("%s: %d examples, %.0f MiB: %d MiB at most; 1000 of them %d MiB", attacks, examples, float64(share(examples))/mib,
			all/mib, few/mib)
		if few > 2*share(1000)+300*mib {
			t.Errorf("%s: 1000 of %d examples take %d MiB, want at most 300 and twice %.0f", attacks, examples, few/mib, float64(share(1000))/mib)
		}
		if grown := all - few; grown > 2*share(examples-1000) {
			t.Errorf("%s: %d examples more take %d MiB more, want at most twice %d", attacks, examples-1000, grown/mib, share(examples-1000)/mib)
		}
		if *manyExamples && all > 3*share(examples) {
			t.Errorf("%s: %d examples take %d MiB, want at most three times %d", attacks, examples, all/mib, share(examples)/mib)
		}
	}
}

// highWater returns the largest resident size of a process since it was started, in bytes; 0 when it is gone.
func highWater(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return kib << 10
}

// linearNetwork is in ONNX: the logits are the first ten inputs, x·W.
func linearNetwork(size int64) []byte {
	w := &protos.TensorProto{Name: "W", Dims: []int64{size, 10}, DataType: int32(protos.TensorProto_FLOAT),
		FloatData: make([]float32, size*10)}
	for k := range 10 {
		w.FloatData[k*10+k] = 1
	}
	value := func(name string, size int64) *protos.ValueInfoProto {
		s := &protos.TensorShapeProto{Dim: []*protos.TensorShapeProto_Dimension{
			{Value: &protos.TensorShapeProto_Dimension_DimParam{DimParam: "n"}}, {Value: &protos.TensorShapeProto_Dimension_DimValue{DimValue: size}},
		}}
		return &protos.ValueInfoProto{Name: name, Type: &protos.TypeProto{Value: &protos.TypeProto_TensorType{
			TensorType: &protos.TypeProto_Tensor{ElemType: int32(protos.TensorProto_FLOAT), Shape: s},
		}}}
	}
	file, err := proto.Marshal(&protos.ModelProto{IrVersion: 8, OpsetImport: []*protos.OperatorSetIdProto{{Version: 13}},
		Graph: &protos.GraphProto{
			Name: "linear", Node: []*protos.NodeProto{{OpType: "MatMul", Input: []string{"x", "W"}, Output: []string{"z"}}},
			Input: []*protos.ValueInfoProto{value("x", size)}, Output: []*protos.ValueInfoProto{value("z",
				10)}, Initializer: []*protos.TensorProto{w},
		}})
	if err != nil {
		panic(err)
	}
	return file
}

// writeExamples writes n examples of random numbers in [0, 1), row by row, but for the input of the label, which is 1.
func writeExamples(path string, n, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z := zip.NewWriter(f)
	array := func(name, dtype, shape string) (*bufio.Writer, error) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		if err != nil {
			return nil, err
		}
		header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", dtype, shape)
		b := bufio.NewWriter(w)
		_, err = b.Write(append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), 0))
		if err == nil {
			_, err = b.WriteString(header)
		}
		return b, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	x, err := array("x", "<f4", fmt.Sprintf("(%d, %d)", n, size))
	for i := 0; err == nil && i < n*size; i++ {
		v := r.Float32()
		if i%size == i/size%10 {
			v = 1
		}
		err = binary.Write(x, binary.LittleEndian, v)
	}
	if err == nil {
		err = x.Flush()
	}
	var y *bufio.Writer
	if err == nil {
		y, err = array("y", "|u1", fmt.Sprintf("(%d,)", n))
	}
	for i := 0; err == nil && i < n; i++ {
		err = y.WriteByte(byte(i % 10))
	}
	if err == nil {
		err = y.Flush()
	}
	if err == nil {
		err = z.Close()
	}
	return err
}
