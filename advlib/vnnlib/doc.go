// Package vnnlib reads properties of neural networks in VNN-LIB 1.0 (https://www.vnnlib.org), the format of the
// verification competition.
//
//	p, err := vnnlib.Open("prop_3.vnnlib")
//
// A file declares the numbers that go into a network, X_0, X_1, …, and those that come out, Y_0, Y_1, …, and asserts
// what is unsafe: a box of inputs, and linear conditions on the outputs, joined by "and" and "or". The network is safe
// if no input of the box has an output that meets the conditions: in the competition's words the property is then
// "unsat", and "sat" if there is such an input, the counterexample.
//
// What is read is a [Property]: whatever way the file nests its conditions, it is written as a list of boxes, each with
// the unsafe outputs as a disjunction of conjunctions. Numbers are kept exactly, as fractions: nothing is rounded
// before a verifier rounds it in the direction that it needs.
//
// # What is read
//
//   - declare-const and declare-fun of X_i and Y_i of the sort Real, in any order, counted from 0 without gaps.
//   - assert of <=, >=, <, >, =, and, or, nested up to 1000 deep. Both sides of a comparison are linear expressions of
//     numbers and variables, with +, -, * and / (by a number).
//   - Inputs are bounded by boxes: a comparison with an X has no other variable in it, and is not strict. Boxes may
//     stand inside of "or". A comparison of inputs with each other or with outputs is an error.
//   - At least one condition on outputs: without any, every input of the box would be a counterexample of every
//     network.
//   - Comments, and SMT-LIB's set-logic, set-info, set-option, check-sat, get-model and exit, which say nothing here.
//   - Files as they are, or compressed by gzip.
//
// Everything else is an [Error] with its line and column, and what to do.
package vnnlib
