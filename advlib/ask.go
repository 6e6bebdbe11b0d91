package advlib

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
)

// # Steps on a victim without a graph
//
// A [Build] that asks its [Model] for logits only, and for no gradient, also runs on a victim that has no graph. The
// graph is cut where it asks: the first stage computes the inputs of the first question, the victim answers them
// outside of any graph, the next stage goes on with the answer as one more input, and so on; the last returns what the
// step returns. A step that computes a loss at a given point, such as that of attack.Square, is one question and one
// stage.

// asked is a step on a victim without a graph.
type asked struct {
	of     *Counted
	build  Build
	stages []*stage // by the number of answers that they go on with
}

// stage is a step's graph up to the next question.
type stage struct {
	exec *model.Exec
	asks bool // it ends with the inputs of a question; known once it is built
	at   int  // which of the step's inputs these are, −1 if they are computed
}

// question is what building a graph ends with, where an answer is needed first.
type question struct{ x *Node }

// Logits of a graph that is being built for a victim without one: the answer if it is known.
func (m *Model) answer(x *Node) *Node {
	if len(m.answers) == 0 {
		panic(question{x})
	}
	z := m.answers[0]
	m.answers = m.answers[1:]
	return z
}

// stage returns the graph that goes on with so many answers.
func (s *asked) stage(answers int) (*stage, error) {
	if answers < len(s.stages) {
		return s.stages[answers], nil
	}
	b, err := backend.Open()
	if err != nil {
		return nil, err
	}
	st := &stage{}
	st.exec, err = model.NewExec(b, model.NewStore(), func(_ *model.Scope, in []*Node) (out []*Node) {
		known := len(in) - answers
		defer func() {
			r := recover()
			if r == nil {
				return
			}
			q, ok := r.(question)
			if !ok {
				panic(r)
			}
			st.asks, st.at = true, -1
			for i, x := range in[:known] {
				if x == q.x {
					st.at = i
				}
			}
			out = []*Node{q.x}
		}()
		return s.build(&Model{none: &NoGraphError{s.of.Name()}, answers: in[known:]}, in[:known])
	})
	if err != nil {
		return nil, err
	}
	st.exec.SetMaxCache(-1)
	s.stages = append(s.stages, st)
	return st, nil
}

// run runs the stages, and asks the victim in between.
func (s *asked) run(rows int, of []int64, in []any) ([]*tensors.Tensor, error) {
	start, ctx := time.Now(), s.of.ctx
	var answers []*tensors.Tensor
	defer func() { Free(answers...) }()
	for {
		st, err := s.stage(len(answers))
		if err != nil {
			return nil, err
		}
		all := append([]any{}, in...)
		for _, z := range answers {
			all = append(all, z)
		}
		var x *tensors.Tensor
		given := false
		if st.asks && st.at >= 0 {
			x, given = in[st.at].(*tensors.Tensor)
		}
		if !given {
			out, err := st.exec.Exec(all...)
			if err != nil {
				return nil, noGraph(err)
			}
			if !st.asks {
				s.of.passes.tell(stepCost{forward: int64(rows * len(answers) * s.of.times()), elapsed: time.Since(start)})
				return out, nil
			}
			x = out[0]
		}
		z, err := s.of.rowLogits(ctx, x, rows, of)
		if !given {
			Free(x)
		}
		if err != nil {
			return nil, err
		}
		answers = append(answers, z)
	}
}

// noGraph returns the error that a graph could not be built with because it asks for a gradient.
func noGraph(err error) error {
	if none := (*NoGraphError)(nil); errors.As(err, &none) {
		return none
	}
	return err
}

// rowLogits asks about the rows of x [n, d...], of which so many carry examples, of says which; see [Step.Run] and
// [Step.Ask]. It returns the logits [n, K]; those of a rejected input are not a number, and those of padding are of
// some other row.
func (v *Counted) rowLogits(ctx context.Context, x *tensors.Tensor, rows int, of []int64) (*tensors.Tensor, error) {
	once, at := realRows(x, of)
	if err := v.charge(of, rows); err != nil {
		return nil, err
	}
	z := make([][]float32, 0, len(once))
	for lo := 0; lo < len(once); lo += maxBucket {
		some := once[lo:min(lo+maxBucket, len(once))]
		in := TakeRows(x, some, len(some))
		answers, err := v.mean(ctx, in)
		Free(in)
		if err != nil {
			return nil, err
		}
		more, err := v.logitsOf(answers)
		if err != nil {
			return nil, err
		}
		z = append(z, more...)
	}
	v.passes.forward.Add(int64(rows * v.times()))
	n, k := len(at), v.Signature().Classes
	flat := make([]float32, 0, n*k)
	for _, j := range at {
		flat = append(flat, z[j]...)
	}
	return tensors.FromFlatDataAndDimensions(flat, n, k), nil
}

// realRows returns the rows of x [n, d...] to ask about, without the padding, and for each row where its answer is
// among theirs. If of does not say which rows are padding, those are that equal one before them.
func realRows(x *tensors.Tensor, of []int64) (ask, at []int) {
	at = make([]int, x.Shape().Dimensions[0])
	if of != nil {
		for i, e := range of {
			if e >= 0 {
				at[i] = len(ask)
				ask = append(ask, i)
			}
		}
		return ask, at
	}
	first := map[uint64]int{}
	for i, key := range contentKeys(x, 0, len(at)) {
		j, known := first[key]
		if !known {
			j = len(ask)
			first[key] = j
			ask = append(ask, i)
		}
		at[i] = j
	}
	return ask, at
}

// mean asks as often as there are draws, and returns the mean of the logits, or the only answers.
func (v *Counted) mean(ctx context.Context, x *tensors.Tensor) ([]Answer, error) {
	said, err := v.ask(ctx, x)
	if err != nil || v.times() == 1 {
		return said, err
	}
	sum, err := v.logitsOf(said)
	for range v.times() - 1 {
		if err != nil {
			return nil, err
		}
		var z [][]float32
		if said, err = v.ask(ctx, x); err == nil {
			z, err = v.logitsOf(said)
		}
		for i := range z {
			for k := range z[i] {
				sum[i][k] += z[i][k]
			}
		}
	}
	for i := range sum {
		for k := range sum[i] {
			sum[i][k] /= float32(v.times())
		}
	}
	return answers(sum), err
}

// ask queries the victim without counting, and checks what it answers. Of an error, the answers before it are returned
// with it.
func (v *Counted) ask(ctx context.Context, x *tensors.Tensor) ([]Answer, error) {
	n, s := x.Shape().Dimensions[0], v.Signature()
	answers, err := v.victim.Query(ctx, x)
	if err == nil && len(answers) != n {
		err = fmt.Errorf("%d answers for %d inputs", len(answers), n)
	}
	for i, a := range answers {
		if bad := a.check(s); bad != nil {
			answers, err = answers[:i], fmt.Errorf("answer %d: %w", i, bad)
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("asking %s about inputs of shape %v: %w", v.Name(), x.Shape().Dimensions, err)
	}
	return answers, err
}

// logitsOf returns the logits of answers; those of a rejection are not a number.
func (v *Counted) logitsOf(answers []Answer) ([][]float32, error) {
	s := v.Signature()
	if err := GivesScores(v); err != nil {
		return nil, err
	}
	z := make([][]float32, len(answers))
	for i, a := range answers {
		if z[i] = a.Logits(s.Classes); z[i] == nil {
			z[i] = make([]float32, s.Classes)
			for k := range z[i] {
				z[i][k] = float32(math.NaN())
			}
		}
	}
	return z, nil
}
