// Package faces is a door that opens for faces, and who stands before it: a network that takes a face to a point on a
// sphere, so that the faces of a person lie together; verification and identification by the distance to those who are
// enrolled; impersonation and dodging, with all of the picture or with the frame of a pair of glasses.
//
//	parts, _ := dataset.Apart(dataset.Faces(80, 10, 1), 1, 40, 20) // to enrol; to choose the threshold by; strangers
//	train, test, _ := dataset.Shots(parts[0], 5, 1)
//	net, err := faces.Train(ctx, faces.Network(16, 32), train)
//	door, err := net.Enrol(train)                                  // a template for each person
//	door, err = door.At(0.001, parts[1])                           // let in at most 0.1 % of the wrong
//	m, err := door.Measure(parts[2])                               // and what that is worth, with an interval
//
//	worn, err := door.Identify(faces.Glasses(56, 46))              // a classifier: who is it, or a stranger
//	who, err := door.Visitors(parts[2])
//	result, err := advlib.Run(ctx, worn, who, attack.PGD{Ball: advlib.Linf.Ball(1), Goal: advlib.Targeted(7)})
//
// What the doors return are classifiers, so that all attacks of package attack can be run on them: a targeted one is an
// impersonation, an untargeted one a dodging, or of a stranger an entry as anybody. Given the pixels that may change,
// attacks find other glasses for each picture. [Campaign] looks for one pair that is worn in all of them.
package faces
