package lab

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Journal keeps the pieces of a measurement in the store while it runs, so that one that was killed continues where it
// was when it is run again. It is an [advlib.Journal] for one victim; [Run] and [Evaluate] use one by themselves.
//
// The key of a piece is made of everything that its outcome depends on: the classifier's graph with its weights, the
// attack with all its parameters, the examples of the batch, the seed, the backend, the version of the library. A piece
// that took less than a twentieth of a second is not kept: keeping it takes about as long. Nor is that of an attack
// whose code the library does not know, such as one defined in a cell.
type Journal struct {
	name, classifier string
	backend          compute.Backend
	fresh            bool
	keys             map[string]bool // of what was recalled or kept
	told             map[string]bool // what cannot be kept
	recalled         int
}

var least = 50 * time.Millisecond

// NewJournal returns a journal for measurements of a victim; name says in notices what is measured. With [Fresh] it
// recalls nothing, and keeps anew.
func NewJournal(ctx context.Context, v advlib.Victim, name string) (*Journal, error) {
	text, err := Victim(v)
	if err != nil {
		return nil, err
	}
	return &Journal{name: name, classifier: text, backend: backendOf(v), fresh: ctx.Value(freshKey{}) != nil,
		keys: map[string]bool{}, told: map[string]bool{}}, nil
}

// Recalled returns how many pieces were recalled instead of made.
func (j *Journal) Recalled() int { return j.recalled }

// recipe says what a piece is made of.
func (j *Journal) recipe(p advlib.Piece) (Recipe, error) {
	by, err := Describe(p.By)
	return Recipe{
		Name:    fmt.Sprintf("%v on %d examples, of %s", p.By, p.On.Len(), j.name),
		Parts:   map[string]string{"classifier": j.classifier, "by": by, "on": batchHash(p.On), "in": fmt.Sprint(p.In.Norm, " ", p.In.Radius)},
		Backend: j.backend,
	}, err
}

// Recall implements [advlib.Journal].
func (j *Journal) Recall(p advlib.Piece, accept func(advlib.Outcome) error) bool {
	r, err := j.recipe(p)
	if err != nil || j.fresh {
		return false
	}
	key := r.Key(Pieces.Name)
	dir, err := place(key)
	if err != nil {
		return false
	}
	o, err := load(Pieces, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err == nil {
		err = accept(o)
	}
	if err != nil {
		Notify(fmt.Sprintf("what was kept of %s is not used, and is made anew: %v", r.Name, err))
		return false
	}
	j.keys[key] = true
	j.recalled++
	return true
}

// Keep implements [advlib.Journal].
func (j *Journal) Keep(p advlib.Piece, o advlib.Outcome) {
	if o.Stats.Elapsed < least {
		return
	}
	r, err := j.recipe(p)
	if err != nil {
		return // its code is not known to the library
	}
	key := r.Key(Pieces.Name)
	j.keys[key] = true
	if err := j.put(key, r, o); err != nil && !j.told[err.Error()] {
		j.told[err.Error()] = true
		Notify(fmt.Sprintf("%s is not kept while it is measured: %v", r.Name, err))
	}
}

func (j *Journal) put(key string, r Recipe, o advlib.Outcome) error {
	dir, err := place(key)
	if err != nil {
		return err
	}
	return put(Pieces, dir, r.entry(key, Pieces.Name, o.Stats.Elapsed), o)
}

// Clear removes the pieces of a measurement that is done.
func (j *Journal) Clear() {
	for key := range j.keys {
		dir, err := place(key)
		if err == nil {
			err = errors.Join(removeLeft(key), discard(dir))
		}
		if err != nil {
			Notify(fmt.Sprintf("a piece of %s stays in the store: %v", j.name, err))
		}
	}
	clear(j.keys)
}

// batchHash hashes everything that an attack is given.
func batchHash(b advlib.Batch) string {
	h := sha256.New()
	write := func(v any) { _ = binary.Write(h, binary.LittleEndian, v) } // a hash does not fail
	for _, d := range b.X.Shape().Dimensions {
		write(int64(d))
	}
	tensors.MustConstFlatData(b.X, func(flat []float32) {
		for piece := range slices.Chunk(flat, 1<<14) { // binary.Write takes as much memory again
			write(piece)
		}
	})
	write(b.Y)
	write(int64(len(b.Target)))
	write(b.Target)
	write(b.AnyClass)
	write(b.Key)
	write(b.Seed)
	return hex.EncodeToString(h.Sum(nil))
}
