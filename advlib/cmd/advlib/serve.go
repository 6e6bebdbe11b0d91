package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/detect"
	"advlab/advlib/oracle"
	"advlab/advlib/serve"
)

// serving is the flags of the command.
type serving struct {
	modelFlags
	shape                    []int
	listen, answers          string
	name, version, inputName string
	round                    int
	tokenEnv                 string
	rate                     float64
	burst, maxInputs         int
	maxBytes                 int64
	timeout                  time.Duration
	detector, action         string
	threshold                float64
	benign                   dataFlags
	perClient                bool
	status                   int
	verbose                  bool
}

func newServe() *cobra.Command {
	var s serving
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a model by HTTP, as a target of black-box attacks",
		Long: `serve answers questions about a model by HTTP, in the Open Inference Protocol v2, which Triton, KServe, MLServer and
others speak, with Triton's binary tensors: their clients work. It is a target for attacks that see answers only, and
says how much of the answers they see: the flags below restrict what is told, how often, and to whom, and put a detector of
attacks in front of the model.

The model is named by the flags of evaluate; ` + "`advlib evaluate --help`" + ` explains them. --input-shape is needed where the
file leaves sizes open, and for a model of the store. Inputs outside of --box are refused.

The address of the model is printed on the standard output, what else there is to say on the standard error: with -v a
line for each request. It ends with Ctrl-C or SIGTERM: what was asked is still answered, and counts are printed.

Answers (--answers):
  logits         the model's own scores
  probabilities  their softmax
  top-K          the probabilities of the K most likely classes, as top-3
  labels         the most likely class alone

Detectors (--detect) look for queries that are like earlier ones, as those of an attack are:
  blacklight     fingerprints that two queries share (Li et al. 2022)
  knn            the mean distance to the 50 nearest (Chen et al. 2019); its threshold is --detect-threshold, or found
                 with --detect-data
With --detect-data, a file .npz of inputs that belong to no attack, it is set so that none of them is flagged.`,
		Example: `  advlib serve --model m.onnx
  advlib serve --model m.onnx --answers labels --rate 100 --token-env TOKEN -v
  advlib serve --model m.onnx --answers top-3 --round 2 --detect blacklight --detect-action reject
  curl localhost:8000/v2/models/m/infer -d '{"inputs":[{"name":"input","datatype":"FP32","shape":[1,64],"data":[0,…]}]}'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("serve takes flags only, not %q: name the model with --model", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	s.flags(cmd.Flags())
	return cmd
}

func (s *serving) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	s.modelFlags.add(f)
	f.IntSliceVar(&s.shape, "input-shape", nil, "shape of one input, such as 28,28,1 (default: what the file says)")
	f.StringVar(&s.listen, "listen", "127.0.0.1:8000", "address to listen at; port 0 takes a free one")
	f.StringVar(&s.answers, "answers", "logits", "what is told: logits, probabilities, top-K or labels")
	f.IntVar(&s.round, "round", -1, "round scores to so many digits after the point")
	f.StringVar(&s.name, "name", "", "name of the model in its address (default: made of the file's name)")
	f.StringVar(&s.version, "version-name", "1", "version of the model")
	f.StringVar(&s.inputName, "input-name", "input", "name of the model's input")
	f.StringVar(&s.tokenEnv, "token-env", "", "environment variable with the bearer token that clients must send")
	f.Float64Var(&s.rate, "rate", 0, "most inputs in a second, of all clients; above it status 429 (default: any number)")
	f.IntVar(&s.burst, "burst", 0, "most inputs at once before --rate holds (default: those of a second)")
	f.IntVar(&s.maxInputs, "max-inputs", 512, "most inputs in a request")
	f.Int64Var(&s.maxBytes, "max-bytes", 0, "most bytes in a request, decompressed (default: what the inputs need)")
	f.DurationVar(&s.timeout, "timeout", 30*time.Second, "most time for a request")
	f.StringVar(&s.detector, "detect", "", "detector of attacks: blacklight or knn")
	f.StringVar(&s.action, "detect-action", "log", "what is done about a query that is flagged: log, reject, or ban the client")
	f.IntVar(&s.status, "detect-status", http.StatusForbidden, "status of what is not answered: 403 or 429")
	f.BoolVar(&s.perClient, "detect-per-client", false, "compare queries with those of the same address alone")
	f.StringVar(&s.benign.data, "detect-data", "", "inputs that belong to no attack, .npz with x: none of them is flagged")
	s.benign.addForm(f, 0)
	f.Float64Var(&s.threshold, "detect-threshold", 0, "of knn: the least mean distance of a query that is not flagged")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "a line for each request on the standard error")
}

// check refuses flags before anything is read.
func (s serving) check(cmd *cobra.Command) (source, error) {
	from, err := s.modelFlags.check(cmd)
	if err != nil {
		return from, err
	}
	set := cmd.Flags().Changed
	for _, d := range s.shape {
		if d < 1 {
			return from, misuse("--input-shape: %v has a dimension below 1", s.shape)
		}
	}
	for _, flag := range []string{"detect-action", "detect-status", "detect-per-client", "detect-data", "detect-threshold"} {
		if set(flag) && s.detector == "" {
			return from, misuse("--%s is given without --detect: name a detector, blacklight or knn", flag)
		}
	}
	for _, flag := range []string{"x", "y", "scale", "limit"} {
		if set(flag) && s.benign.data == "" {
			return from, misuse("--%s is given without --detect-data: it says how that file is read", flag)
		}
	}
	if _, err := s.benign.file("detect-data", s.benign.data); err != nil {
		return from, err
	}
	switch {
	case s.store != "" && len(s.shape) == 0:
		return from, misuse("--input-shape is missing: what is kept of a model does not say it; give one such as 28,28,1")
	case set("round") && s.round < 0:
		return from, misuse("--round: %d is below 0", s.round)
	case set("round") && s.answers == "labels":
		return from, misuse("--round is given with --answers labels: there are no scores to round")
	case s.rate < 0 || math.IsNaN(s.rate) || s.burst < 0 || s.maxInputs < 1 || s.maxBytes < 0 || s.timeout <= 0:
		return from, misuse("--rate %g, --burst %d, --max-inputs %d, --max-bytes %d, --timeout %v: none may be below 0, and an input and some "+
			"time there must be", s.rate, s.burst, s.maxInputs, s.maxBytes, s.timeout)
	case s.burst > 0 && s.rate == 0:
		return from, misuse("--burst is given without --rate: it says how many inputs are answered at once before the rate holds")
	case set("token-env") && os.Getenv(s.tokenEnv) == "":
		return from, misuse("--token-env: the environment variable %q is not set: it must hold the token", s.tokenEnv)
	case s.status != http.StatusForbidden && s.status != http.StatusTooManyRequests:
		return from, misuse("--detect-status: %d: there are 403 and 429", s.status)
	case s.detector != "" && s.detector != "blacklight" && s.detector != "knn":
		return from, misuse("--detect: there is no detector %q: there are blacklight, knn", s.detector)
	case s.detector == "knn" && s.benign.data == "" && !(s.threshold > 0):
		return from, misuse("--detect knn needs a threshold above 0: give --detect-threshold, or --detect-data to find one")
	case s.detector == "knn" && s.benign.data != "" && set("detect-threshold"):
		return from, misuse("--detect-threshold and --detect-data are both given: the data is for finding the threshold")
	case s.detector == "blacklight" && set("detect-threshold"):
		return from, misuse("--detect-threshold is for --detect knn: blacklight has none")
	}
	if _, ok := actions[s.action]; !ok {
		return from, misuse("--detect-action: there is no %q: there are log, reject, ban", s.action)
	}
	if _, _, err := net.SplitHostPort(s.listen); err != nil {
		return from, misuse("--listen: %v: give a host and a port, as 127.0.0.1:8000", err)
	}
	if _, err := s.restrict(nil); err != nil {
		return from, err
	}
	return from, s.use()
}

var actions = map[string]detect.Action{"log": detect.Log, "reject": detect.Reject, "ban": detect.Ban}

// restrict returns the view of a victim that is served; with nil it checks the flags alone.
func (s serving) restrict(v advlib.Victim) (advlib.Victim, error) {
	view := func(v advlib.Victim) advlib.Victim { return v }
	switch text, isTop := strings.CutPrefix(s.answers, "top-"); {
	case s.answers == "logits":
	case s.answers == "probabilities":
		view = oracle.Probabilities
	case s.answers == "labels":
		view = oracle.Labels
	default:
		k, err := strconv.Atoi(text)
		if !isTop || err != nil || k < 1 {
			return nil, misuse("--answers: there is no %q: there are logits, probabilities, top-K as in top-3, and labels", s.answers)
		}
		view = func(v advlib.Victim) advlib.Victim { return oracle.TopK(v, k) }
	}
	if v == nil {
		return nil, nil
	}
	if v = view(v); s.round >= 0 {
		v = oracle.Rounded(v, s.round)
	}
	return v, nil
}

// watch returns the detector in front of a model; nil without one.
func (s serving) watch(c *advlib.Classifier) (*detect.Watch, error) {
	if s.detector == "" {
		return nil, nil
	}
	var benign *advlib.Examples
	if s.benign.data != "" {
		file, err := s.benign.file("detect-data", s.benign.data)
		if err != nil {
			return nil, err
		}
		if benign, err = file.read(); err != nil {
			return nil, err
		}
		if err := benign.Check(advlib.Spec{Name: c.Name(), Input: c.Input(), Box: c.Box(), Domain: c.Domain()}, math.MaxInt32); err != nil {
			return nil, statusError{misused, fmt.Errorf("--detect-data: %s: %w", s.benign.data, err)}
		}
	}
	var d detect.Detector
	var err error
	switch blacklight, knn := (detect.Blacklight{}), (detect.KNN{Threshold: s.threshold}); {
	case s.detector == "blacklight" && benign != nil:
		d, err = blacklight.Fit(benign, 0)
	case s.detector == "blacklight":
		d = blacklight
	case benign != nil:
		d, err = knn.Fit(benign, 0)
	default:
		d = knn
	}
	if err != nil {
		return nil, statusError{misused, fmt.Errorf("--detect-data: %w", err)}
	}
	w, err := detect.NewWatch(d, c.Signature(), detect.Options{Action: actions[s.action], PerClient: s.perClient})
	if err != nil {
		return nil, statusError{misused, fmt.Errorf("--detect %s: %w", s.detector, err)}
	}
	return w, nil
}

func (s serving) run(cmd *cobra.Command) error {
	ctx, said := cmd.Context(), &lines{w: cmd.ErrOrStderr()}
	from, err := s.check(cmd)
	if err != nil {
		return err
	}
	if _, err := backend.Open(); err != nil {
		return err
	}
	c, err := from.classifier(s.shape)
	if err != nil {
		return err
	}
	watch, err := s.watch(c)
	if err != nil {
		return err
	}
	v, err := s.restrict(c)
	if err != nil {
		return err
	}
	o := serve.Options{Name: s.name, Version: s.version, InputName: s.inputName, Rate: s.rate, Burst: s.burst, MaxRows: s.maxInputs,
		MaxBody: s.maxBytes, Timeout: s.timeout, Watch: watch, Refusal: s.status, Alone: backend.InfoOf(c.Backend()).Name == "Go"}
	if o.Name == "" {
		o.Name = serve.NameOf(c)
	}
	if s.tokenEnv != "" {
		o.Token = os.Getenv(s.tokenEnv)
	}
	if s.verbose {
		o.OnRequest = func(r serve.Request) { said.line("%v", r) }
	}
	server, err := serve.New(v, o)
	if err != nil {
		return statusError{misused, err}
	}
	if err := warm(ctx, c); err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return statusError{misused, fmt.Errorf("--listen: %w", err)}
	}
	said.line("%s: answers with %v to inputs %v in %v, backend %s", v.Name(), v.Signature().Returns, c.Input(), c.Box(),
		backend.InfoOf(c.Backend()).Name)
	if at := l.Addr().(*net.TCPAddr); !at.IP.IsLoopback() {
		whoever := "whoever reaches this machine can ask the model"
		if o.Token != "" {
			whoever = "whoever reaches this machine and has the token can ask the model, and the token is sent unencrypted"
		}
		said.line("listening at %v, which is not the loopback interface: %s", at, whoever)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "http://%s%s\n", l.Addr(), server.Path())
	err = server.Serve(ctx, l)
	said.line("%v", server.Stats())
	if watch != nil {
		said.line("%v", watch.Report())
	}
	return err
}

// warm compiles the model, so that the first client does not wait for it.
func warm(ctx context.Context, c *advlib.Classifier) error {
	limits := c.Limits()
	x := make([]float32, limits.Size())
	for j := range x {
		r := limits.RangeOf(j)
		x[j] = float32((r.Lo + r.Hi) / 2)
	}
	in := tensors.FromFlatDataAndDimensions(x, append([]int{1}, c.Input()...)...)
	defer advlib.Free(in)
	_, err := c.Query(ctx, in)
	return err
}

// lines writes whole lines of several goroutines.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) line(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, format+"\n", args...)
}
