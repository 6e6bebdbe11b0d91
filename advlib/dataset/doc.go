// Package dataset loads labelled examples: it reads, checks and splits, and never trains.
//
//	train, test := dataset.Digits() // 8×8 pixels
//	test = test.First(300)
//
// Where they come from:
//
//   - [Digits] and [BreastCancer], which is tabular, are embedded, so they need neither files nor a network.
//
//   - [MNIST] and [FashionMNIST] read IDX files from the folder that ADVLAB_DATA names, else from the cache, else
//     they download them and check their sha256. [MNISTSmall] needs the test files only.
//
//   - [CIFAR10], [CIFAR100], [CIFAR20] and [BreastMNIST] are looked for in the same places, and downloaded and checked
//     likewise.
//
//   - [RoadSigns], [Lesions] and [Faces] are drawn by this package's code: synthetic, so that notebooks run without
//     photographs, patients and persons.
//
//   - [Folder] reads pictures of one's own, or faces by person, from a folder for each class; [GTSRB] road signs, and
//     [MedMNIST] medical images, as their authors publish them. [Grouped] examples keep together in a split what
//     belongs together, and [Shots] takes a few of each class to train on.
//
//   - [NPZ], [Arrays] and [Weights] read what NumPy's savez wrote.
//
//   - [TableFile] reads CSV and ARFF, [NSLKDD] and [CICFlows] files of network traffic. [Features] learns from the
//     training rows how a row becomes an input, and the [Schema] makes examples of these and others, a domain for
//     attacks, and rows of what attacks return:
//
//     train, err := dataset.NSLKDD("KDDTrain+.txt")
//     schema, err := dataset.NSLKDDFeatures().Learn(train)
//     examples, err := schema.Examples(train) // 41 features in 122 coordinates
//
// Splits are fixed: the same call gives the same examples, in the same order, with the same numbers, everywhere.
// Inputs are float32, channels last. Pixels are scaled to [0, 1] by dividing by the largest value that the format
// allows (16 for digits, 255 for IDX, 65535 for pictures of 16 bits), never by the largest that occurs.
package dataset
