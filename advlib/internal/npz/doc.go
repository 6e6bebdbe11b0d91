// Package npz reads and writes NumPy's .npz files: zip archives of arrays (numpy.savez, numpy.load).
//
//	arrays, err := npz.ReadFile("test.npz")
//	x, y := arrays["x"], arrays["y"]
//
// Package dataset reads users' files with it, package lab keeps tensors in it. Files from elsewhere are not trusted:
// sizes are checked against what the archive really holds before memory is taken.
package npz
