// Package endpoint has a victim that is a model behind a server. It answers over HTTP, and shows nothing else:
//
//	e, err := endpoint.Open(ctx, endpoint.Spec{
//		URL: "http://127.0.0.1:8080", Model: "digits", Input: []int{64}, Box: advlib.UnitBox,
//	})
//	defer e.Close()
//	result, err := advlib.Run(ctx, oracle.Budget(e, 1000), examples, attack.Square{Ball: advlib.Linf.Ball(0.1)})
//
// Without more it speaks the Open Inference Protocol v2, as MLServer, Triton, KServe and `advlib serve` do.
// [TensorFlowServing] and [MLflow] are templates for their servers, and a [Template] of one's own describes another.
//
// # What is sent, and what is paid
//
// A request carries [Spec].Batch inputs, 1 if nothing is said, and so each input's answer depends on that input alone.
// Values are sent exactly: as the shortest text that reads back as the same float32, or float64 where the server takes
// that. Where the server takes whole numbers, as the bytes of an image, the victim's domain has their steps, so that
// attacks propose nothing else and distances are of what was sent.
//
// Answers are kept on the disk by the content of the question, below advlab's cache directory, as soon as they are
// there. An attack that was killed is run again, and pays for nothing twice but for what was under way. That takes a
// server that answers the same question equally: [Open] asks six questions about two inputs, and keeps nothing of a
// server whose answers differ by more than rounding.
//
// A request is sent again after a connection that failed, an attempt that took too long, an answer that cannot be read,
// and the statuses 429, 502, 503 and 504, with pauses that grow and are drawn at random, and never before the time that
// Retry-After names. A provider may bill each: [Endpoint.Bill] counts what was written, not what was answered.
//
//   - spec.go: what is asked.
//   - endpoint.go: the victim.
//   - answer.go: what an answer means, and the first questions.
//   - openinference.go, template.go: protocols.
//   - input.go, value.go: numbers in requests and answers.
//   - client.go, retryafter.go: requests, and when they are sent again.
//   - kept.go, bill.go: what is kept, and what was sent.
package endpoint
