// Package serve puts a victim behind HTTP, by the Open Inference Protocol v2, so that other people's clients can ask it
// as they would ask a deployed model:
//
//	running, err := serve.Local(oracle.Labels(classifier), serve.Options{Token: "secret"})
//	defer running.Close()
//	fmt.Println(running.URL) // http://127.0.0.1:41873/v2/models/mlp-100-100
//
// The protocol: https://github.com/kserve/open-inference-protocol. Tensors are in JSON, or in binary as Triton's
// extension binary_tensor_data has them, in both directions; bodies may be compressed by gzip or deflate. There is one
// input, float32 [n, d...], of which every numeric type is taken; what comes back depends on what the victim answers:
//
//	logits            "logits", FP32 [n, K]
//	probabilities     "probabilities", FP32 [n, K]
//	top k             "classes", INT64 [n, k], and "probabilities", FP32 [n, k], the most likely first
//	label             "label", INT64 [n, 1]
//
// An input that the victim rejects has scores that are not a number, and −1 for each class. In JSON a number that is
// not finite is one of the strings "NaN", "Infinity" and "-Infinity".
//
// Restrict what is told by the views of package oracle. [Options] have a limit of inputs per second, a token, limits of
// sizes and times, and a [detect.Watch], which sees attacks by their queries.
//
// Requests that come at the same time are answered in one batch. On XLA a row of a batch has the same answer, bit for
// bit, whatever else is in it; on the pure Go backend the last digits differ, so give it [Options.Alone].
//
//   - server.go: what is served where, and to whom.
//   - infer.go: requests and responses of the protocol.
//   - tensor.go: tensors in JSON and in binary.
//   - body.go: sizes and compression.
//   - gather.go: requests into batches.
//   - run.go: listening, and stopping.
package serve
