// Package notebook is what a program knows of the notebook whose cell it is, and what it tells the kernel about itself:
// phases' times, backend, device, seed, modules; a value to show as the cell's result; a grade.
//
//	notebook.Tell(notebook.Bundle{Phases: map[string]float64{notebook.Compile: seconds}})
//
// The two sides share no code. What they agree on is this, and a test on each side holds the same example of it:
//
//   - The kernel sets the environment variable ADVLAB_RELAY, to its version.
//   - The program sends a display of GoNB's with one entry, of MIME type application/vnd.advlab.cell+json, whose value
//     is a [Bundle] as JSON: text, or its bytes, which GoNB passes on as base64. The kernel takes it out: front-ends
//     never see it.
//   - The kernel writes a nonce into a file beside the program, with .nonce behind its name, and reads another with
//     .grade behind it: points, a blank, and the HMAC-SHA256, in hexadecimal, of "grade " and the points under the
//     nonce.
//   - Of several bundles of a cell the latest value of a field counts, and phases add up.
//
// Outside of such a kernel nothing is sent, nor by programs that a cell starts: the display's pipe takes one writer.
package notebook
