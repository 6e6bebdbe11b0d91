package onnx

// Defined tells whether definitions.go has an operator.
func Defined(op string) bool { return len(definitions[op]) > 0 }
