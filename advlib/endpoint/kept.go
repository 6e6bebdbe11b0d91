package endpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"advlab/advlib/cachedir"
)

// kept are the answers of one model that lie on the disk, so that nothing is paid twice.
//
// A folder for each model has one for each generation, which is renewed when the model answers otherwise than it did.
// In that are logs of records, each with its length and checksum before it. A process appends to a log that it has
// locked, by one write for each answer. A write that was cut off, by a power failure, is found by its checksum, and cut
// away; what a killed process had written stays.
type kept struct {
	mu     sync.Mutex
	home   string // of the model
	folder string // of the generation
	known  map[key]*row
	log    *os.File
	lock   *flock.Flock
	before int // how many answers were there at first
	since  int // records since the log was last written through to the disk
}

// syncEvery is after how many answers a log is written through.
const syncEvery = 1000

// openKept reads what is kept of a model; fresh removes it first.
func openKept(identity string, fresh bool) (*kept, error) {
	sum := sha256.Sum256([]byte(identity))
	home, err := cachedir.Dir("answers", hex.EncodeToString(sum[:16]))
	if err != nil {
		return nil, fmt.Errorf("answers cannot be kept: %w", err)
	}
	k := &kept{home: home, known: map[key]*row{}}
	about := filepath.Join(home, "about.txt")
	if _, err := os.Stat(about); err != nil {
		if err := os.WriteFile(about, []byte("answers of "+identity+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("answers cannot be kept: %w", err)
		}
	}
	generations, err := k.generations()
	if err != nil {
		return nil, fmt.Errorf("answers cannot be kept: %w", err)
	}
	if fresh || len(generations) == 0 {
		return k, k.renew()
	}
	k.folder = generations[len(generations)-1]
	if err := k.load(); err != nil {
		return nil, fmt.Errorf("the answers that are kept in %s: %w", k.folder, err)
	}
	k.before = len(k.known)
	return k, nil
}

// generations are the folders of generations, the newest last.
func (k *kept) generations() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(k.home, "g*"))
	slices.Sort(all)
	return all, err
}

// name is what an equal model with the same generation has, too.
func (k *kept) name() string {
	return filepath.Base(k.home) + " " + filepath.Base(k.folder)
}

// renew removes what is kept, and begins anew.
func (k *kept) renew() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.release(); err != nil {
		return err
	}
	old, err := k.generations()
	if err != nil {
		return err
	}
	k.folder = filepath.Join(k.home, time.Now().UTC().Format("g20060102T150405.000000000"))
	if err := os.Mkdir(k.folder, 0o700); err != nil {
		return err
	}
	clear(k.known)
	k.before = 0
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// load reads all logs of the generation, and takes one to append to, if no other process has it.
func (k *kept) load() error {
	logs, err := filepath.Glob(filepath.Join(k.folder, "*.log"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		mine := false
		var lock *flock.Flock
		if k.log == nil {
			lock = flock.New(path, flock.SetPermissions(0o600))
			if mine, err = lock.TryLock(); err != nil {
				return err
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		good := k.read(text)
		if !mine {
			continue
		}
		if k.log, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return err
		}
		k.lock = lock
		if good < len(text) {
			if err := k.log.Truncate(int64(good)); err != nil {
				return err
			}
		}
	}
	return nil
}

// read takes the records of a log, and returns how long the whole ones are.
func (k *kept) read(text []byte) int {
	for at := 0; ; {
		rest := text[at:]
		if len(rest) < 8 {
			return at
		}
		n, sum := int(binary.LittleEndian.Uint32(rest)), binary.LittleEndian.Uint32(rest[4:])
		if n > len(rest)-8 || crc32.ChecksumIEEE(rest[8:8+n]) != sum {
			return at
		}
		of, r, ok := unpack(rest[8 : 8+n])
		if !ok {
			return at
		}
		k.known[of] = r
		at += 8 + n
	}
}

// get returns the answer to what has that key.
func (k *kept) get(of key) (*row, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, ok := k.known[of]
	return r, ok
}

// put keeps an answer. The one that was first stays, so that an attack that is run again sees what it saw.
func (k *kept) put(of key, r row) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.known[of]; ok {
		return nil
	}
	if k.log == nil {
		if err := k.begin(); err != nil {
			return fmt.Errorf("an answer cannot be kept: %w", err)
		}
	}
	payload := pack(of, r)
	record := make([]byte, 0, 8+len(payload))
	record = binary.LittleEndian.AppendUint32(record, uint32(len(payload)))
	record = binary.LittleEndian.AppendUint32(record, crc32.ChecksumIEEE(payload))
	if _, err := k.log.Write(append(record, payload...)); err != nil {
		return fmt.Errorf("an answer cannot be kept: %w", err)
	}
	k.known[of] = &r
	if k.since++; k.since >= syncEvery {
		k.since = 0
		if err := k.log.Sync(); err != nil {
			return fmt.Errorf("an answer cannot be kept: %w", err)
		}
	}
	return nil
}

// begin makes a log of one's own.
func (k *kept) begin() error {
	f, err := os.CreateTemp(k.folder, "*.log")
	if err != nil {
		return err
	}
	k.log, k.lock = f, flock.New(f.Name(), flock.SetPermissions(0o600))
	_, err = k.lock.TryLock()
	return err
}

// close writes the log through to the disk, and lets another process have it.
func (k *kept) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.release()
}

func (k *kept) release() error {
	if k.log == nil {
		return nil
	}
	err := errors.Join(k.log.Sync(), k.log.Close(), k.lock.Close())
	k.log, k.lock = nil, nil
	return err
}

// pack writes a record.
func pack(of key, r row) []byte {
	b := append([]byte(nil), of[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.numbers)))
	for _, v := range r.numbers {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.names)))
	for _, s := range r.names {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// unpack reads a record; false if it is none.
func unpack(b []byte) (of key, r *row, ok bool) {
	r = &row{}
	rest := bytes.NewBuffer(b)
	if rest.Len() < len(of) {
		return of, r, false
	}
	copy(of[:], rest.Next(len(of)))
	count := func(least int) int {
		if rest.Len() < 4 {
			return -1
		}
		n := binary.LittleEndian.Uint32(rest.Next(4))
		if uint64(n)*uint64(least) > uint64(rest.Len()) {
			return -1
		}
		return int(n)
	}
	n := count(8)
	for range n {
		r.numbers = append(r.numbers, math.Float64frombits(binary.LittleEndian.Uint64(rest.Next(8))))
	}
	if n < 0 {
		return of, r, false
	}
	m := count(4)
	for range m {
		size := count(1)
		if size < 0 {
			return of, r, false
		}
		r.names = append(r.names, string(rest.Next(size)))
	}
	return of, r, m >= 0 && rest.Len() == 0
}
