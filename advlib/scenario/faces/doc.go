// Package faces is a door that opens for faces, and who stands before it: a network that takes a face to a point on a
// sphere, so that the faces of a person lie together; verification and identification by the distance to those who are
// enrolled; impersonation and dodging, with all of the picture or with the frame of a pair of glasses.
//
//	train, test, _ := dataset.Shots(dataset.Faces(40, 10, 1), 5, 1)
//	net, err := faces.Train(ctx, faces.Network(), train)
//	door, err := net.Enrol(train)                       // a template for each person
//	door, err = door.At(0.01, test)                     // let in at most 1 % of the wrong
//	c, err := door.Identify(nil)                        // a classifier: who is it, or a stranger
//
//	worn, err := door.Identify(faces.Glasses(56, 46))   // only the frame's pixels may change
//	result, err := advlib.Run(ctx, worn, test, attack.PGD{Ball: advlib.Linf.Ball(1), Goal: advlib.Targeted(7)})
//
// What the doors return are classifiers, so that all attacks of package attack can be run on them: a targeted one is an
// impersonation, an untargeted one a dodging.
package faces
