package training_test

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// TestTables hardens models of tables in their domains: every batch that is trained on holds admissible examples only,
// and more of the test stands under the domain's attacks than without.
func TestTables(t *testing.T) {
	t.Run("breast cancer", func(t *testing.T) {
		train, test := dataset.BreastCancer()
		domain := slices.Clone(dataset.BreastCancerDomain())
		domain[0].Change, domain[1].Change, domain[2].Change = advlib.Fixed, advlib.RiseOnly, advlib.FallOnly
		hardenTable(t, domain, train, test, 0.08, 0.2)
	})
	t.Run("NSL-KDD", func(t *testing.T) {
		folder := filepath.Join("..", "..", "..", "shared", "data")
		train, test, domain, err := connections(folder, 1500, 200)
		if errors.Is(err, fs.ErrNotExist) {
			t.Skipf("%v: the data are the Canadian Institute for Cybersecurity's, and not part of the project", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		hardenTable(t, domain, train, test, 0.2, 0.1)
	})
}

// hardenTable trains with and without a defence, and compares what stands in the ball.
func hardenTable(t *testing.T, domain advlib.Domain, train, test *advlib.Examples, radius, rise float64) {
	t.Helper()
	opened, err := backend.OpenNamed(backend.Go) // so few numbers are not worth compiling for
	if err != nil {
		t.Fatal(err)
	}
	ball := advlib.Linf.Ball(radius)
	m := training.Model{Name: "table", Domain: domain, Backend: opened, Epochs: 12, LearningRate: 0.01,
		Build: func(classes int) advlib.LogitsFn {
			logits := zoo.MLP(24).Build(classes)
			return func(scope *model.Scope, x *Node) *Node { return logits(scope, domain.Normalize(x)) }
		}}
	natural := m.MustFit(t.Context(), train)

	batches, moved := 0, 0
	originals := map[string]bool{}
	row := func(flat []float32, i, size int) string {
		return string(bitsOf(flat[i*size : (i+1)*size]))
	}
	size := train.X.Size() / train.Len()
	tensors.MustConstFlatData(train.X, func(flat []float32) {
		for i := range train.Len() {
			originals[row(flat, i, size)] = true
		}
	})
	training.WatchBatches(func(x *tensors.Tensor) {
		batches++
		n := x.Shape().Dimensions[0]
		e := &advlib.Examples{Name: "batch", X: x, Y: make([]int32, n)}
		if err := e.Check(advlib.Spec{Name: "table", Input: natural.Input(), Domain: natural.Domain()}, 2); err != nil {
			t.Errorf("batch %d: %v", batches, err)
		}
		tensors.MustConstFlatData(x, func(flat []float32) {
			for i := range n {
				if !originals[row(flat, i, size)] {
					moved++
				}
			}
		})
	})
	hardened, err := defense.AdversarialTraining{Ball: ball, Ascents: 5}.Train(t.Context(), m, train)
	training.WatchBatches(nil)
	if err != nil {
		t.Fatal(err)
	}
	if least := 12 * (train.Len() * 9 / 10 / 64); batches < least || moved < batches*8 {
		t.Errorf("%d batches were seen, with %d examples that had moved: nothing is tested", batches, moved)
	}
	left := func(c *advlib.Classifier) float64 {
		attacks := []advlib.Attack{attack.PGD{Ball: ball, Steps: 20}, attack.FMN{Norm: advlib.Linf, Steps: 50}}
		r, err := advlib.Evaluate(t.Context(), c, test, attacks)
		if err != nil {
			t.Fatal(err)
		}
		return r.Robust(ball).Value()
	}
	with, without := left(hardened.Classifier), left(natural)
	t.Logf("%v: %.3f stand, %.3f without a defence; clean %.3f and %.3f; %d batches", ball, with, without,
		accuracy(t, hardened.Classifier, test), accuracy(t, natural, test), batches)
	if with < without+rise {
		t.Errorf("%v: %.3f stand, %.3f without a defence", ball, with, without)
	}
}

// bitsOf are the bits of numbers, to be compared as a whole.
func bitsOf(values []float32) []byte {
	var b []byte
	for _, v := range values {
		u := math.Float32bits(v)
		b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
	}
	return b
}

// connections reads some of NSL-KDD, normal connections being class 0 and attacks class 1: whole numbers in steps of 1,
// rates in steps of 0.01, protocol and flag as categories that stay, without the service. Volumes only rise, and count
// up to 10,000; what a connection is logged in as stays.
func connections(folder string, trained, tested int) (train, test *advlib.Examples, domain advlib.Domain, err error) {
	const normal, protocol, service, flag, features, most = "5", 1, 2, 3, 41, 10000
	stay := []string{"1", "logged_in", "root_shell", "su_attempted", "is_host_login", "is_guest_login"}
	var files [2][][]string
	var names []string
	for k, name := range []string{"nsl-kdd-train20.csv.gz", "nsl-kdd-test.csv.gz"} {
		f, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return nil, nil, nil, err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, nil, nil, err
		}
		all, err := csv.NewReader(z).ReadAll()
		if err != nil {
			return nil, nil, nil, err
		}
		names = all[0]
		files[k] = all[1 : 1+[]int{trained, tested}[k]]
	}
	both := slices.Concat(files[0], files[1])
	categories := map[int][]string{}
	for _, column := range []int{protocol, flag} {
		for _, line := range both {
			if !slices.Contains(categories[column], line[column]) {
				categories[column] = append(categories[column], line[column])
			}
		}
		slices.Sort(categories[column])
	}
	whole := func(column int) bool {
		return !slices.ContainsFunc(both, func(line []string) bool { v, _ := strconv.ParseFloat(line[column], 64); return v != math.Trunc(v) })
	}
	for column := range features {
		f := advlib.Feature{Name: names[column]}
		switch {
		case column == service:
			continue
		case categories[column] != nil:
			f.OneHot, f.Change = len(categories[column]), advlib.Fixed
		case whole(column):
			f.Step = 1
		default:
			f.Step = 0.01
		}
		if slices.Contains(stay, f.Name) {
			f.Change = advlib.Fixed
		} else if slices.Contains([]string{"duration", "src_bytes", "dst_bytes"}, f.Name) {
			f.Change = advlib.RiseOnly
		}
		domain = append(domain, f)
	}
	examples := func(name string, lines [][]string) (*advlib.Examples, error) {
		var x []float32
		y := make([]int32, len(lines))
		for i, line := range lines {
			for column := range features {
				if column == service {
					continue
				}
				if of := categories[column]; of != nil {
					one := make([]float32, len(of))
					one[slices.Index(of, line[column])] = 1
					x = append(x, one...)
					continue
				}
				v, err := strconv.ParseFloat(line[column], 64)
				if err != nil {
					return nil, err
				}
				x = append(x, float32(min(v, most)))
			}
			if line[features] != normal {
				y[i] = 1
			}
		}
		return advlib.NewExamples(name, x, []int{len(x) / len(lines)}, y)
	}
	all, err := examples("NSL-KDD", both)
	if err != nil {
		return nil, nil, nil, err
	}
	if domain, err = domain.FitTo(all); err != nil {
		return nil, nil, nil, err
	}
	return all.Slice(0, trained), all.Slice(trained, all.Len()), domain, nil
}
