package endpoint

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Endpoint is a model behind a server: an [advlib.Victim]. It may be used by several goroutines.
type Endpoint struct {
	spec      Spec
	client    *client
	protocol  protocol
	inputs    *inputs
	signature advlib.Signature
	returns   advlib.Returns // what is answered: OneLogit, too
	classes   int            // as the server says it, 0 if it does not
	kept      *kept          // nil: nothing is kept
}

// protocol is how a server is asked.
type protocol interface {
	name() string
	// form is how inputs are written.
	form() Form
	// learn asks the server what it says of the model; what it does not say stays open.
	learn(ctx context.Context, c *client) (metadata, error)
	// settle takes what is known of the model.
	settle(m metadata, in *inputs) error
	// question makes a request of the numbers of some inputs.
	question(in *inputs, rows [][]float64) (request, error)
	// read cuts an answer into the rows of n inputs; classes is 0 where their number is not known.
	read(r reply, n, classes int) ([]row, error)
	// identity is a text that is another one where answers may be.
	identity() string
}

// metadata are what a server says of a model.
type metadata struct {
	inputs, outputs []tensorInfo
	classes         int // 0 where they are not known
}

// tensorInfo is an input or an output: its name, its type, the shape of one without the batch axis. What is not known
// is empty.
type tensorInfo struct {
	name, datatype string
	shape          []int
}

// Open asks a server what it says of the model, checks that against what the spec says, and puts six questions, twice
// one input and four times another, by which it finds out what the answers are. They are sent, and on the bill. The
// endpoint is to be closed.
func Open(ctx context.Context, s Spec) (*Endpoint, error) {
	e, err := prepare(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	if err := e.meet(ctx); err != nil {
		return nil, fmt.Errorf("endpoint: %s: %w", e.Name(), hidden{err, e.client})
	}
	return e, nil
}

// FirstRequest returns the text of the first request that Open would send to have an answer, with secrets masked. It
// sends no inputs: it only reads, where the protocol has that, what the server says of the model.
func FirstRequest(ctx context.Context, s Spec) (string, error) {
	e, err := prepare(ctx, s)
	if err != nil {
		return "", fmt.Errorf("endpoint: %w", err)
	}
	defer e.Close()
	x := e.probes()
	n := min(e.spec.Batch, len(x))
	text, err := e.show(ctx, x[:n])
	if err != nil {
		return "", fmt.Errorf("endpoint: %s: %w", e.Name(), err)
	}
	return text, nil
}

// show returns the text of a request about inputs.
func (e *Endpoint) show(ctx context.Context, x [][]float32) (string, error) {
	r, err := e.question(x)
	if err != nil {
		return "", err
	}
	r.inputs = 0
	req, err := e.client.build(ctx, r)
	if err != nil {
		return "", err
	}
	head, err := httputil.DumpRequestOut(req, false)
	if err != nil {
		return "", err
	}
	body := string(r.body)
	if h := r.header[headerLength]; len(h) > 0 {
		size, err := strconv.Atoi(h[0])
		if err != nil {
			return "", err
		}
		body = fmt.Sprintf("%s\n(and %d bytes of tensors)", r.body[:size], len(r.body)-size)
	}
	return e.client.masked(strings.ReplaceAll(string(head), "\r\n", "\n") + body + "\n"), nil
}

// prepare makes an endpoint that has not been asked yet.
func prepare(ctx context.Context, s Spec) (*Endpoint, error) {
	s, err := s.filled()
	if err != nil {
		return nil, err
	}
	e := &Endpoint{spec: s}
	if s.Template == nil {
		e.protocol = &openInference{spec: s}
	} else {
		t, err := s.Template.parse()
		if err != nil {
			return nil, err
		}
		t.spec = s
		e.protocol = t
	}
	if e.client, err = newClient(s); err != nil {
		return nil, err
	}
	m, err := e.protocol.learn(ctx, e.client)
	if err == nil {
		err = e.settle(m)
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// settle makes one of what the server says and what the spec says.
func (e *Endpoint) settle(m metadata) error {
	s := e.spec
	in := &inputs{examples: s.Input, server: s.Input, form: e.protocol.form()}
	var said tensorInfo
	switch named := slices.IndexFunc(m.inputs, func(t tensorInfo) bool { return t.name == s.InputName }); {
	case len(m.inputs) > 1:
		return fmt.Errorf("the model takes %d inputs (%s): an attack is on models of one", len(m.inputs), namesOf(m.inputs))
	case len(m.inputs) == 1 && s.InputName != "" && named < 0:
		return fmt.Errorf("the model takes the input %s, not %q: leave %v out", namesOf(m.inputs), s.InputName, inputNameName)
	case len(m.inputs) == 1:
		said = m.inputs[0]
	}
	if s.Output != "" && len(m.outputs) > 0 && !slices.ContainsFunc(m.outputs, func(t tensorInfo) bool { return t.name == s.Output }) {
		return fmt.Errorf("the model has the outputs %s, and not %q", namesOf(m.outputs), s.Output)
	}
	if _, ok := e.protocol.(*openInference); ok && s.Output == "" && len(m.outputs) > 1 && !twoOfTop(m.outputs) {
		return fmt.Errorf("the model has the outputs %s: name one by %v", namesOf(m.outputs), outputName)
	}
	datatype := s.Datatype
	switch {
	case datatype == "" && said.datatype == "":
		datatype = "FP32"
	case datatype == "":
		datatype = said.datatype
	case said.datatype != "" && said.datatype != datatype:
		return fmt.Errorf("the model takes inputs of the datatype %s, not %s: leave %v out", said.datatype, datatype, datatypeName)
	}
	var err error
	if in.datatype, err = datatypeOf(datatype); err != nil {
		return err
	}
	if len(said.shape) > 0 {
		if err := in.fit(said.shape); err != nil {
			return err
		}
	}
	if s.InputShape != nil {
		server := in.server
		if err := in.fit(s.InputShape); err != nil {
			return fmt.Errorf("%w: give another %v", err, inputShapeName)
		}
		if len(said.shape) > 0 && !slices.Equal(server, in.server) {
			return fmt.Errorf("the model takes inputs of shape %v, not %v: leave %v out", said.shape, s.InputShape, inputShapeName)
		}
	}
	if in.form == PNG {
		if in.channels {
			return fmt.Errorf("a PNG has its channels last, and the shape %v has them first", in.server)
		}
		if _, _, _, err := plane(in.server); err != nil {
			return err
		}
	}
	box := s.Box
	if box == (advlib.Box{}) {
		box = advlib.Box{Lo: math.Inf(1), Hi: math.Inf(-1)}
		for _, f := range s.Domain {
			lo, hi := f.Lo, f.Hi
			if f.OneHot > 0 {
				lo, hi = 0, 1
			}
			box.Lo, box.Hi = min(box.Lo, lo), max(box.Hi, hi)
		}
	}
	domain, err := in.settle(box, s.Domain)
	if err != nil {
		return err
	}
	e.inputs = in
	e.signature = advlib.Signature{Input: s.Input, Box: s.Box, Domain: domain, Classes: s.Classes, ClassNames: s.ClassNames, Random: s.Random}
	e.classes = m.classes
	if e.client.exposed() {
		e.signature.Warnings = []string{"the token is sent over http, where everybody on the way can read it: use https"}
	}
	return e.protocol.settle(m, in)
}

func namesOf(all []tensorInfo) string {
	var names []string
	for _, t := range all {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

// Name is the model with its server's address.
func (e *Endpoint) Name() string {
	name := e.spec.Model
	if e.spec.Version != "" {
		name += " version " + e.spec.Version
	}
	if name == "" {
		return "the model at " + e.client.root.Redacted()
	}
	return name + " at " + e.client.root.Redacted()
}

// Signature implements [advlib.Victim].
func (e *Endpoint) Signature() advlib.Signature { return e.signature }

// Fingerprint is a text for package lab: it changes when kept answers no longer hold. It is empty where none are kept.
func (e *Endpoint) Fingerprint() string {
	if e.kept == nil {
		return ""
	}
	return e.kept.name()
}

// Known is how many answers were kept before Open, and still hold.
func (e *Endpoint) Known() int {
	if e.kept == nil {
		return 0
	}
	return e.kept.before
}

// Close lets connections go, and writes what is kept through to the disk.
func (e *Endpoint) Close() error {
	e.client.close()
	if e.kept != nil {
		return e.kept.close()
	}
	return nil
}

// Query implements [advlib.Victim]. What was answered before, by this process or another one, is not asked again, nor
// is the same input twice. What is answered before an error is kept too.
func (e *Endpoint) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	n := x.Shape().Dimensions[0]
	flat := tensors.MustCopyFlatData[float32](x)
	size := len(flat) / max(n, 1)
	if size != product(e.signature.Input) {
		return nil, fmt.Errorf("it takes inputs of shape %v, not %v", e.signature.Input, x.Shape().Dimensions[1:])
	}
	rows := make([][]float32, n)
	for i := range rows {
		rows[i] = flat[i*size : (i+1)*size]
	}
	said, err := e.rows(ctx, rows)
	answers := make([]advlib.Answer, 0, n)
	for _, r := range said {
		if r == nil {
			break
		}
		a, bad := e.answer(*r)
		if bad != nil {
			return answers, hidden{bad, e.client}
		}
		answers = append(answers, a)
	}
	return answers, err
}

// key is a hash of what is sent for an input.
type key [sha256.Size]byte

func (in *inputs) key(v []float64) key {
	b := make([]byte, 0, 8*len(v)+64)
	b = fmt.Appendf(b, "%s %v %s\n", in.datatype.name, in.server, in.form)
	for _, f := range v {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	return sha256.Sum256(b)
}

// rows returns what the server says about inputs; of an error, what is not known is nil.
func (e *Endpoint) rows(ctx context.Context, x [][]float32) ([]*row, error) {
	said := make([]*row, len(x))
	var (
		todo [][]float64
		keys []key
		of   [][]int // the rows of each that is to be asked
	)
	at := map[key]int{}
	for i := range x {
		v, err := e.inputs.sent(x[i])
		if err != nil {
			return said[:i], err
		}
		k := e.inputs.key(v)
		if e.kept != nil {
			if r, ok := e.kept.get(k); ok {
				said[i] = r
				e.client.sent.kept.Add(1)
				continue
			}
		}
		j, known := at[k]
		if !known || e.signature.Random {
			j = len(todo)
			at[k] = j
			todo, keys, of = append(todo, v), append(keys, k), append(of, nil)
		}
		of[j] = append(of[j], i)
	}
	err := e.send(ctx, todo, func(j int, r row) error {
		for _, i := range of[j] {
			said[i] = &r
		}
		if e.kept != nil {
			return e.kept.put(keys[j], r)
		}
		return nil
	})
	return said, err
}

// send asks about inputs, several requests at once; got is told of each answer, one at a time. After an error no
// request is begun, and those under way are waited for: they are paid for.
func (e *Endpoint) send(ctx context.Context, v [][]float64, got func(i int, r row) error) error {
	batches := slices.Collect(slices.Chunk(v, e.spec.Batch))
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		next  int
		first error
	)
	take := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if first != nil || next == len(batches) {
			return 0, false
		}
		next++
		return next - 1, true
	}
	stop, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for range min(e.spec.Concurrency, len(batches)) {
		wg.Go(func() {
			for {
				i, ok := take()
				if !ok {
					return
				}
				rows, err := e.ask(stop, batches[i])
				mu.Lock()
				for k := 0; k < len(rows) && err == nil; k++ {
					err = got(i*e.spec.Batch+k, rows[k])
				}
				if err != nil && first == nil {
					first = err
					cancel(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return first
}

// question makes a request about inputs as examples have them.
func (e *Endpoint) question(x [][]float32) (request, error) {
	v := make([][]float64, len(x))
	for i := range x {
		var err error
		if v[i], err = e.inputs.sent(x[i]); err != nil {
			return request{}, err
		}
	}
	return e.protocol.question(e.inputs, v)
}

// ask sends one request, until it is answered.
func (e *Endpoint) ask(ctx context.Context, v [][]float64) (rows []row, err error) {
	r, err := e.protocol.question(e.inputs, v)
	if err != nil {
		return nil, err
	}
	err = e.client.ask(ctx, r, func(said reply) (err error) {
		rows, err = e.protocol.read(said, len(v), e.spec.Classes)
		return err
	})
	if e.spec.RejectStatus != 0 && isStatus(err, e.spec.RejectStatus) {
		rows, err = make([]row, len(v)), nil
	}
	if err == nil {
		e.client.sent.answered.Add(int64(len(rows)))
	}
	return rows, err
}
