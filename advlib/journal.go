package advlib

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"
)

// Journal keeps what each piece of a measurement gave, so that one that was killed continues where it was. Package lab
// keeps them on disk.
//
// What it returns of an attack is not trusted, but judged on the victim again; what it returns of a certifier cannot
// be.
type Journal interface {
	// Recall calls accept with what was kept of a piece, and tells whether there was something that accept took. What
	// is damaged, or refused, is as if it had never been kept, and the user is told of it.
	Recall(p Piece, accept func(Outcome) error) bool
	// Keep keeps what a piece gave, in place of what was kept before. When it cannot, it tells the user.
	Keep(p Piece, o Outcome)
}

// Piece is a piece of a measurement: together with the victim it determines the outcome.
type Piece struct {
	// By is an [Attack] or a [Certifier].
	By fmt.Stringer
	// On is what it is applied to, with the run's seed.
	On Batch
	// In is the ball of a certifier.
	In Ball
}

// Outcome is what a piece gave.
type Outcome struct {
	// Success tells for each row of the batch whether an attack reached its goal.
	Success []bool
	// Rows are those of which Adversarial [len(Rows), d...] has the candidates: where the attack reached its goal, or,
	// of a random victim or a [Screener], all. Adversarial is nil if there are none.
	Rows        []int
	Adversarial *tensors.Tensor
	// Queries are how many questions an attack asked about each row of the batch, and Progress what it found by them: see
	// [Result.Progress].
	Queries  []int64
	Progress [][]Improvement
	// Proof is what a certifier showed of the rows; nil of an attack.
	Proof *Proof
	// Stats are the cost.
	Stats Stats
}

// outcome is what an attack's candidates for some rows gave, once they are judged.
func (t *trial) outcome(rows []int, adv *tensors.Tensor, cost Stats) Outcome {
	o := Outcome{Success: pick(t.result.Success, rows), Stats: cost, Queries: pick(t.account.asked, rows),
		Progress: pick(t.account.progress, rows)}
	for i, s := range o.Success {
		if s || t.signature.Random || t.screener != nil {
			o.Rows = append(o.Rows, i)
		}
	}
	if len(o.Rows) > 0 {
		o.Adversarial = selectRows(adv, o.Rows)
	}
	return o
}

// recall takes into the result what was kept of a batch, and tells whether there was something that holds.
func (t *trial) recall(ctx context.Context, b Batch, rows []int) bool {
	if t.settings.Journal == nil || t.unseeded() {
		return false
	}
	return t.settings.Journal.Recall(Piece{By: t.attack, On: b}, func(o Outcome) error {
		err := t.accept(ctx, b, rows, o)
		if err == nil {
			t.result.Stats = t.result.Stats.plus(o.Stats)
		}
		return err
	})
}

// accept judges what was kept of a batch as if the attack had just returned it.
func (t *trial) accept(ctx context.Context, b Batch, rows []int, o Outcome) error {
	r := t.result
	dims := slices.Clone(b.X.Shape().Dimensions)
	size := b.X.Shape().Size() / len(rows)
	dims[0] = len(o.Rows)
	switch {
	case len(o.Success) != len(rows) || len(o.Queries) != len(rows) || len(o.Progress) != len(rows):
		return fmt.Errorf("it is of %d examples, not of %d", len(o.Success), len(rows))
	case (o.Adversarial == nil) != (len(o.Rows) == 0) || o.Adversarial != nil && !o.Adversarial.Shape().Equal(shapeOf(float32Type, dims...)):
		return fmt.Errorf("its %d candidates are not of the shape of the examples, %v", len(o.Rows), dims[1:])
	}
	adv := tensors.MustCopyFlatData[float32](b.X)
	if o.Adversarial != nil {
		found := tensors.MustCopyFlatData[float32](o.Adversarial)
		for i, row := range o.Rows {
			if row < 0 || row >= len(rows) {
				return fmt.Errorf("it has a candidate for row %d of %d", row, len(rows))
			}
			copy(adv[row*size:(row+1)*size], found[i*size:(i+1)*size])
		}
	}
	for i, row := range rows {
		t.account.asked[row], t.account.progress[row] = o.Queries[i], o.Progress[i]
	}
	before := Result{Attempted: pick(r.Attempted, rows), Success: pick(r.Success, rows), Distance: pick(r.Distance, rows)}
	if t.draws > 0 {
		before.Reached = pick(r.Reached, rows)
	}
	if err := t.judge(ctx, b, rows, tensors.FromFlatDataAndDimensions(adv, b.X.Shape().Dimensions...)); err != nil {
		return err
	}
	if !slices.Equal(o.Success, pick(r.Success, rows)) {
		for i, row := range rows { // as before the judgement
			r.Attempted[row], r.Success[row], r.Distance[row] = before.Attempted[i], before.Success[i], before.Distance[i]
			r.Final[row], t.account.checked[row], t.account.asked[row], t.account.progress[row] = r.Clean[row], false, 0, nil
			if t.draws > 0 {
				r.Reached[row] = before.Reached[i]
			}
			delete(r.lost, row)
			r.keep(row, flatRows(r.Examples.X, []int{row}))
			if r.behind != nil {
				r.behind[row] = nil
			}
		}
		return fmt.Errorf("its candidates do not do on the victim what they did")
	}
	return nil
}
