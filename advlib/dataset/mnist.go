package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"advlab/advlib"
)

// source is a dataset in the four files of MNIST, which are downloaded packed by gzip.
type source struct {
	shelf
	classes []string
}

const (
	trainImages = "train-images-idx3-ubyte"
	trainLabels = "train-labels-idx1-ubyte"
	testImages  = "t10k-images-idx3-ubyte"
	testLabels  = "t10k-labels-idx1-ubyte"
)

// The sums are those of the files as their authors published them; TensorFlow Datasets and many others list the same.
var mnist = source{shelf{
	name: "MNIST", folder: "mnist", direct: true,
	urls: []string{"https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"},
	sums: map[string]string{
		trainImages + ".gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
		trainLabels + ".gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
		testImages + ".gz":  "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
		testLabels + ".gz":  "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
	},
}, tenDigits()}

var fashion = source{shelf{
	name: "Fashion-MNIST", folder: "fashion-mnist",
	urls: []string{"https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"},
	sums: map[string]string{
		trainImages + ".gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
		trainLabels + ".gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
		testImages + ".gz":  "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
		testLabels + ".gz":  "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
	},
}, []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"}}

// MNIST returns the handwritten digits of LeCun, Cortes and Burges (CC BY-SA 3.0): 60000 examples to train on and 10000
// to test on, the authors' split, gray images [28, 28, 1] in [0, 1], ink being 1.
//
// The files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each
// with or without .gz, are looked for in $ADVLAB_DATA/mnist, in $ADVLAB_DATA itself, and in data/mnist of the cache,
// where they are downloaded to, 11 MB in all, and checked. With ADVLAB_OFFLINE=1, or without a network, a
// [*MissingError] says what to put where.
func MNIST(ctx context.Context) (train, test *advlib.Examples, err error) { return mnist.load(ctx) }

// FashionMNIST returns the pictures of clothes by Xiao, Rasul and Vollgraf (arXiv:1708.07747, MIT licence): 60000
// examples to train on and 10000 to test on, the authors' split, gray images [28, 28, 1] in [0, 1].
//
// The files have the names of MNIST's. They are looked for in $ADVLAB_DATA/fashion-mnist and in data/fashion-mnist of
// the cache, where they are downloaded to, 30 MB in all, and checked; never in $ADVLAB_DATA itself, where they could be
// mistaken for MNIST's.
func FashionMNIST(ctx context.Context) (train, test *advlib.Examples, err error) {
	return fashion.load(ctx)
}

// MNISTSmall splits the 10000 test images of MNIST: the first 8000 to train on, the last 2000 to test on. It needs the
// two t10k files only, 1.6 MB; see [MNIST] for where they are looked for. Its numbers are not comparable with those of
// others on MNIST, and lower.
func MNISTSmall(ctx context.Context) (train, test *advlib.Examples, err error) {
	all, err := mnist.part(ctx, "t10k", testImages, testLabels)
	if err != nil {
		return nil, nil, err
	}
	const most = 10000
	if all.Len() != most {
		return nil, nil, fmt.Errorf("dataset: MNIST: %s holds %d images, not %d: put the original file in its place", testImages, all.Len(), most)
	}
	train, test = all.Slice(0, 8000), all.Slice(8000, most)
	train.Name, test.Name = "mnist-small/train", "mnist-small/test"
	return train, test, nil
}

func (s source) load(ctx context.Context) (train, test *advlib.Examples, err error) {
	// All four at once, so that an error names all that are missing.
	if _, err := s.find(ctx, trainImages, trainLabels, testImages, testLabels); err != nil {
		return nil, nil, err
	}
	if train, err = s.part(ctx, "train", trainImages, trainLabels); err != nil {
		return nil, nil, err
	}
	if test, err = s.part(ctx, "test", testImages, testLabels); err != nil {
		return nil, nil, err
	}
	return train, test, nil
}

// part reads one pair of files.
func (s source) part(ctx context.Context, part, imagesName, labelsName string) (*advlib.Examples, error) {
	paths, err := s.find(ctx, imagesName, labelsName)
	if err != nil {
		return nil, err
	}
	images, err := readIDXFile(paths[0])
	if err != nil {
		return nil, err
	}
	labels, err := readIDXFile(paths[1])
	if err != nil {
		return nil, err
	}
	if len(images.Dims) != 3 || len(labels.Dims) != 1 || images.Dims[0] != labels.Dims[0] {
		return nil, fmt.Errorf("dataset: %s: %s has dimensions %v and %s %v: want [n, height, width] and [n]", s.name, paths[0],
			images.Dims, paths[1], labels.Dims)
	}
	x := make([]float32, len(images.Data))
	for i, v := range images.Data {
		x[i] = float32(v) / 255
	}
	y := make([]int32, len(labels.Data))
	for i, v := range labels.Data {
		if int(v) >= len(s.classes) {
			return nil, fmt.Errorf("dataset: %s: %s: the label of image %d is %d, not in 0..%d", s.name, paths[1], i, v, len(s.classes)-1)
		}
		y[i] = int32(v)
	}
	e, err := advlib.NewExamples(s.folder+"/"+part, x, []int{images.Dims[1], images.Dims[2], 1}, y)
	if err != nil {
		return nil, err
	}
	e.Classes = s.classes
	return e, nil
}

func readIDXFile(path string) (IDX, error) {
	f, err := os.Open(path)
	if err != nil {
		return IDX{}, fmt.Errorf("dataset: %w", err)
	}
	defer f.Close()
	idx, err := readIDX(f)
	if err != nil {
		return IDX{}, fmt.Errorf("dataset: %s: %w", path, err)
	}
	return idx, nil
}

// find returns where the files lie, and downloads those that lie nowhere.
func (s source) find(ctx context.Context, names ...string) ([]string, error) {
	folders, err := s.folders()
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(names))
	var missing, files []string
	for i, name := range names {
		if paths[i], err = firstFile(folders, name); err != nil {
			return nil, fmt.Errorf("dataset: %s: %w", s.name, err)
		}
		if paths[i] == "" {
			missing, files = append(missing, name), append(files, name+".gz")
		}
	}
	if len(missing) == 0 {
		return paths, nil
	}
	got, err := s.download(ctx, missing, files...)
	if err != nil {
		return nil, err
	}
	for i := range paths {
		if paths[i] == "" {
			paths[i], got = got[0], got[1:]
		}
	}
	return paths, nil
}

// firstFile returns the first of the folders' files of that name, with or without .gz, or "".
func firstFile(folders []string, name string) (string, error) {
	for _, folder := range folders {
		for _, path := range []string{filepath.Join(folder, name), filepath.Join(folder, name+".gz")} {
			info, err := os.Stat(path)
			switch {
			case err == nil && info.Mode().IsRegular():
				return path, nil
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return "", err
			}
		}
	}
	return "", nil
}
