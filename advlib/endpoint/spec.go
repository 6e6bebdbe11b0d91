package endpoint

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"advlab/advlib"
	"advlab/advlib/internal/option"
)

// Spec says which server is asked, for what, and how. URL, Model, Input and the Box must be set, unless a [Template] of
// one's own needs no Model; the rest has defaults.
type Spec struct {
	// URL is the server's root, such as http://127.0.0.1:8080; what a protocol has below it is added. The address of a
	// model, such as http://127.0.0.1:8080/v2/models/digits, names the model, too. There must be no password in it.
	URL string
	// Model and Version are the names under which the server knows the model. Without a Version the server chooses.
	Model, Version string
	// Template is how questions are asked and answers are read; nil is the Open Inference Protocol. [TensorFlowServing]
	// and [MLflow] are two.
	Template *Template

	// Input is the shape of one input, as the examples have it. The server may take it flat, or with the channels of an
	// image first, if it says so.
	Input []int
	// Box is the range of the inputs, and Domain what there is to say of each feature. Where the server takes whole
	// numbers, as the bytes of an image, steps are added to them.
	Box    advlib.Box
	Domain advlib.Domain
	// InputName, InputShape (of one input) and Datatype are how the server takes inputs, where it does not say so: by
	// default "input-0", Input, and FP32. With the datatype UINT8 and a box within 0 and 1, bytes are sent, and steps are
	// 1/255.
	InputName  string
	InputShape []int
	Datatype   string
	// Output names the output that is read, where a model has several.
	Output string
	// Returns says what the answers are: "logits", "probabilities", "one logit" (of class 1), or "label". Empty means that
	// it is found out by the first answers.
	Returns string
	// Classes is the number of classes; 0 means the width of the answers. Labels alone do not say it. ClassNames are
	// their names, by which a server may call them.
	Classes    int
	ClassNames []string
	// Random says that the same input may be answered otherwise each time. Open notices it by itself if it shows in the
	// first answers. Answers of a random server are not kept.
	Random bool
	// Probe are examples, of which the first two are asked about first, to find out what the answers are; nil means a
	// constant input and noise. Their labels tell the number of classes where only labels are answered, and Classes is 0.
	Probe *advlib.Examples

	// Batch is how many inputs are sent in one request; 0 means 1, so that an answer never depends on what else is asked.
	Batch int
	// Concurrency is how many requests are under way at once; 0 means 8. Rate is how many are sent per second at most; 0
	// means any number.
	Concurrency int
	Rate        float64
	// Timeout is how long one attempt may take; 0 means 30 s. Patience is how long a request is tried, all attempts and
	// pauses together; 0 means 2 min.
	Timeout, Patience time.Duration
	// Retry500 sends a request again that was answered with status 500, too. Many servers answer so what they do not
	// understand.
	Retry500 bool
	// RejectStatus is the status by which the server rejects an input, such as 403 of a detector of attacks: then the
	// answer is [advlib.Rejected]. 0 means that each other status is an error.
	RejectStatus int
	// Token names the environment variable with a token, which is sent as "Authorization: Bearer …". Headers are further
	// headers, with the environment variable of each. Secrets are never shown or kept, and sent to no other host.
	Token   string
	Headers map[string]string
	// Proxy is the address of a proxy; empty means what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say. CA is a file of
	// certificates in PEM, of authorities that are trusted besides the system's.
	Proxy, CA string
	// Gzip compresses requests. Compressed answers are always understood.
	Gzip bool
	// Forget does not keep answers on the disk. Fresh forgets those that were kept before.
	Forget, Fresh bool
}

// How errors name what the user is to set.
const (
	tokenName      = option.Name("Spec.Token and Spec.Headers")
	classesName    = option.Name("Spec.Classes")
	outputName     = option.Name("Spec.Output")
	returnsName    = option.Name("Spec.Returns")
	inputShapeName = option.Name("Spec.InputShape")
	inputNameName  = option.Name("Spec.InputName")
	datatypeName   = option.Name("Spec.Datatype")
	classNamesName = option.Name("Spec.ClassNames")
	modelName      = option.Name("Spec.Model")
	probeName      = option.Name("other first questions by Spec.Probe")
	batchName      = option.Name("Spec.Batch")
)

// returning are the kinds of answers by the names of Spec.Returns; the first says nothing.
var returning = map[string]advlib.Returns{"logits": advlib.Logits, "probabilities": advlib.Probabilities, "one logit": advlib.OneLogit,
	"label": advlib.Label}

// modelAddress is the address of a model in the Open Inference Protocol.
var modelAddress = regexp.MustCompile(`^(https?://[^?#]*)/v2/models/([^/?#]+)(?:/versions/([^/?#]+))?(?:/infer)?/?$`)

// filled returns the spec checked, with its defaults.
func (s Spec) filled() (Spec, error) {
	for _, d := range s.Input {
		if d < 1 {
			return s, fmt.Errorf("the input shape %v has a dimension below 1", s.Input)
		}
	}
	switch {
	case len(s.Input) == 0:
		return s, fmt.Errorf("the shape of an input is missing: give that of the examples, without the batch axis, such as []int{64}")
	case s.Box == (advlib.Box{}) && s.Domain == nil:
		return s, fmt.Errorf("the range of the inputs is missing: give %v for values from 0 to 1", option.Name("advlib.UnitBox"))
	case s.Batch < 0, s.Concurrency < 0, s.Rate < 0, s.Timeout < 0, s.Patience < 0, s.Classes < 0:
		return s, fmt.Errorf("inputs in a request (%d), requests at once (%d), requests per second (%g), times (%v, %v) and classes (%d) "+
			"are not below 0", s.Batch, s.Concurrency, s.Rate, s.Timeout, s.Patience, s.Classes)
	case len(s.ClassNames) > 0 && s.Classes > 0 && s.Classes != len(s.ClassNames):
		return s, fmt.Errorf("there are %d names of classes for %d classes", len(s.ClassNames), s.Classes)
	case s.RejectStatus != 0 && (s.RejectStatus < 400 || s.RejectStatus > 599 || s.Batch > 1):
		return s, fmt.Errorf("the status %d of inputs that are rejected, of %d in a request: it is from 400 to 599, and there is one input "+
			"in a request", s.RejectStatus, max(1, s.Batch))
	case s.Probe != nil && !slices.Equal(s.Probe.Shape(), s.Input):
		return s, fmt.Errorf("the first questions have the shape %v, inputs %v", s.Probe.Shape(), s.Input)
	}
	if _, ok := returning[s.Returns]; s.Returns != "" && !ok {
		return s, fmt.Errorf("there are no answers called %q: there are logits, probabilities, one logit, label", s.Returns)
	}
	if at := modelAddress.FindStringSubmatch(s.URL); at != nil && s.Template == nil {
		name, err := url.PathUnescape(at[2])
		if err != nil || s.Model != "" && s.Model != name {
			return s, fmt.Errorf("the address %s is that of a model, and the model is said to be %q", s.URL, s.Model)
		}
		s.URL, s.Model = at[1], name
		if s.Version == "" {
			s.Version = at[3]
		}
	}
	if len(s.ClassNames) > 0 {
		s.Classes = len(s.ClassNames)
	}
	if s.Batch == 0 {
		s.Batch = 1
	}
	if s.Concurrency == 0 {
		s.Concurrency = 8
	}
	if s.Timeout == 0 {
		s.Timeout = 30 * time.Second
	}
	if s.Patience == 0 {
		s.Patience = 2 * time.Minute
	}
	return s, nil
}
