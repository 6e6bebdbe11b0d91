package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"advlab/advlib"
	"advlab/advlib/cachedir"
)

// Variable names the environment variable with the folder of data files.
const Variable = "ADVLAB_DATA"

// OfflineVariable names the environment variable that, set to 1, forbids downloads.
const OfflineVariable = "ADVLAB_OFFLINE"

// MissingError says which files of a dataset were found nowhere, and where to put them.
type MissingError struct {
	// Dataset is its name.
	Dataset string
	// Files are those missing.
	Files []string
	// Folders are where they may lie, with or without .gz.
	Folders []string
	// Why is the reason for not downloading them.
	Why error
}

// Error names the files and the folders.
func (e *MissingError) Error() string {
	return fmt.Sprintf("dataset: %s: %s not found: put %s (or with .gz) into one of %s; %v", e.Dataset, plural(len(e.Files)),
		strings.Join(e.Files, ", "), strings.Join(e.Folders, ", "), e.Why)
}

// Unwrap returns Why.
func (e *MissingError) Unwrap() error { return e.Why }

func plural(n int) string {
	if n == 1 {
		return "a file was"
	}
	return fmt.Sprintf("%d files were", n)
}

// source is a dataset in the four files of MNIST.
type source struct {
	name    string
	folder  string // below ADVLAB_DATA, and in the cache
	direct  bool   // the files may also lie in ADVLAB_DATA itself
	classes []string
	urls    []string          // folders, tried in this order
	sums    map[string]string // sha256 of the .gz files
}

const (
	trainImages = "train-images-idx3-ubyte"
	trainLabels = "train-labels-idx1-ubyte"
	testImages  = "t10k-images-idx3-ubyte"
	testLabels  = "t10k-labels-idx1-ubyte"
)

// The sums are those of the files as their authors published them; TensorFlow Datasets and many others list the same.
var mnist = source{
	name: "MNIST", folder: "mnist", direct: true, classes: tenDigits(),
	urls: []string{"https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"},
	sums: map[string]string{
		trainImages: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
		trainLabels: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
		testImages:  "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
		testLabels:  "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
	},
}

var fashion = source{
	name: "Fashion-MNIST", folder: "fashion-mnist",
	classes: []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"},
	urls:    []string{"https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"},
	sums: map[string]string{
		trainImages: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
		trainLabels: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
		testImages:  "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
		testLabels:  "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
	},
}

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
	cache, err := cachedir.Root()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "data", s.folder)
	var folders []string
	if data := os.Getenv(Variable); data != "" {
		folders = append(folders, filepath.Join(data, s.folder))
		if s.direct {
			folders = append(folders, data)
		}
	}
	folders = append(folders, cache)

	paths := make([]string, len(names))
	var missing []string
	for i, name := range names {
		if paths[i], err = firstFile(folders, name); err != nil {
			return nil, fmt.Errorf("dataset: %s: %w", s.name, err)
		}
		if paths[i] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return paths, nil
	}
	// The folder that a user would choose comes first; with no variable set it is the one to set.
	lost := &MissingError{Dataset: s.name, Files: missing, Folders: folders}
	if os.Getenv(Variable) == "" {
		lost.Folders = append([]string{"a folder " + s.folder + " in $" + Variable}, folders...)
	}
	if os.Getenv(OfflineVariable) == "1" {
		lost.Why = fmt.Errorf("they are not downloaded because %s=1", OfflineVariable)
		return nil, lost
	}
	for i, name := range names {
		if paths[i] != "" {
			continue
		}
		if paths[i], err = s.download(ctx, cache, name+".gz"); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			lost.Why = fmt.Errorf("downloading failed: %w", err)
			return nil, lost
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
