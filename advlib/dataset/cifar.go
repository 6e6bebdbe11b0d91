package dataset

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"advlab/advlib"
	"advlab/advlib/internal/pickle"
)

// cifar is one of the two datasets of Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
type cifar struct {
	shelf
	// forms are the folders in which the files lie: as published in binary, and as Python's pickles.
	forms [2]cifarForm
	// coarse takes the 20 superclasses of CIFAR-100.
	coarse  bool
	labels  int // bytes before each image, of which the last is the class
	classes []string
}

// cifarForm is one of the forms in which a dataset is published: an archive, the folder in it, and the files in that.
type cifarForm struct {
	archive, folder string
	train           []string
	test            string
}

// The sums are those that TensorFlow Datasets and Keras check, of the files as their author publishes them.
var cifarSums = map[string]string{
	"cifar-10-binary.tar.gz":  "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
	"cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
}

var cifarURLs = []string{"https://www.cs.toronto.edu/~kriz/"}

var cifar10 = cifar{
	shelf: shelf{name: "CIFAR-10", folder: "cifar10", direct: true, urls: cifarURLs, sums: cifarSums},
	forms: [2]cifarForm{
		{"cifar-10-binary.tar.gz", "cifar-10-batches-bin",
			[]string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"}, "test_batch.bin"},
		{"cifar-10-python.tar.gz", "cifar-10-batches-py",
			[]string{"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"}, "test_batch"},
	},
	labels:  1,
	classes: []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
}

var cifar100 = cifar{
	shelf: shelf{name: "CIFAR-100", folder: "cifar100", direct: true, urls: cifarURLs, sums: cifarSums},
	forms: [2]cifarForm{
		{"cifar-100-binary.tar.gz", "cifar-100-binary", []string{"train.bin"}, "test.bin"},
		{"cifar-100-python.tar.gz", "cifar-100-python", []string{"train"}, "test"},
	},
	labels: 2,
	classes: strings.Fields("apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can " +
		"castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish " +
		"forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain " +
		"mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit " +
		"raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper " +
		"table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"),
}

// superclasses are the coarse classes of CIFAR-100.
var superclasses = strings.Fields("aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices " +
	"household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes " +
	"large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2")

// CIFAR10 returns the photographs of Krizhevsky's CIFAR-10 (2009; no licence is stated, the author asks to be cited):
// 50000 examples to train on and 10000 to test on, the author's split, images [32, 32, 3] in [0, 1], 615 and 123 MB of
// float32.
//
// The folder cifar-10-batches-bin or cifar-10-batches-py, or the archive cifar-10-binary.tar.gz or
// cifar-10-python.tar.gz as it is published, is looked for in $ADVLAB_DATA/cifar10, in $ADVLAB_DATA itself, and in
// data/cifar10 of the cache, where the binary archive is downloaded to, 162 MB, and checked. Pickles are read without
// Python, and nothing in them is run. With ADVLAB_OFFLINE=1, or without a network, a [*MissingError] says what to put
// where.
func CIFAR10(ctx context.Context) (train, test *advlib.Examples, err error) { return cifar10.load(ctx) }

// CIFAR100 is [CIFAR10] with the 100 classes of CIFAR-100: cifar-100-binary or cifar-100-python, in cifar100.
func CIFAR100(ctx context.Context) (train, test *advlib.Examples, err error) {
	return cifar100.load(ctx)
}

// CIFAR20 is [CIFAR100] with its 20 superclasses, of five classes each.
func CIFAR20(ctx context.Context) (train, test *advlib.Examples, err error) {
	c := cifar100
	c.coarse, c.classes = true, superclasses
	return c.load(ctx)
}

// CIFARBatch reads one file of CIFAR-10, such as data_batch_1.bin or test_batch, in binary or as Python's pickle.
func CIFARBatch(path string) (*advlib.Examples, error) { return cifar10.batch(path) }

// CIFAR100Batch reads one file of CIFAR-100, such as test.bin or test, with its 100 classes.
func CIFAR100Batch(path string) (*advlib.Examples, error) { return cifar100.batch(path) }

func (c cifar) batch(path string) (*advlib.Examples, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer f.Close()
	var b cifarBatch
	if err := c.append(&b, f); err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", path, err)
	}
	return c.examples(path, b)
}

func (c cifar) load(ctx context.Context) (train, test *advlib.Examples, err error) {
	place, form, err := c.find(ctx)
	if err != nil {
		return nil, nil, err
	}
	wanted := append(slices.Clone(form.train), form.test)
	batches := make([]cifarBatch, len(wanted))
	read := func(name string, r io.Reader) error {
		i := slices.Index(wanted, name)
		if i < 0 || len(batches[i].pixels) > 0 {
			return nil
		}
		if err := c.append(&batches[i], r); err != nil {
			return fmt.Errorf("dataset: %s: %s: %w", place, name, err)
		}
		return ctx.Err()
	}
	if strings.HasSuffix(place, ".tar.gz") {
		err = eachInArchive(place, form.folder, read)
	} else {
		err = eachInFolder(place, wanted, read)
	}
	if err != nil {
		return nil, nil, err
	}
	var all cifarBatch
	for i, name := range wanted {
		if len(batches[i].pixels) == 0 {
			return nil, nil, fmt.Errorf("dataset: %s: it has no file %s", place, name)
		}
		if name != form.test {
			all.pixels, all.labels = append(all.pixels, batches[i].pixels...), append(all.labels, batches[i].labels...)
			batches[i] = cifarBatch{}
		}
	}
	folder := c.folder
	if c.coarse {
		folder = "cifar20"
	}
	if train, err = c.examples(folder+"/train", all); err != nil {
		return nil, nil, err
	}
	test, err = c.examples(folder+"/test", batches[len(wanted)-1])
	return train, test, err
}

// find returns where the dataset lies, a folder or an archive, and in which form.
func (c cifar) find(ctx context.Context) (string, cifarForm, error) {
	folders, err := c.folders()
	if err != nil {
		return "", cifarForm{}, err
	}
	for _, folder := range folders {
		for _, form := range c.forms {
			for _, name := range []string{form.folder, form.archive} {
				place := filepath.Join(folder, name)
				if _, err := os.Stat(place); err == nil {
					return place, form, nil
				} else if !errors.Is(err, fs.ErrNotExist) {
					return "", form, fmt.Errorf("dataset: %s: %w", c.name, err)
				}
			}
		}
	}
	form := c.forms[0]
	got, err := c.download(ctx, []string{form.archive}, form.archive)
	if err != nil {
		return "", form, err
	}
	return got[0], form, nil
}

// eachInFolder reads files of a folder.
func eachInFolder(folder string, names []string, read func(name string, r io.Reader) error) error {
	for _, name := range names {
		f, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return fmt.Errorf("dataset: %w", err)
		}
		err = read(name, f)
		_ = f.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

// eachInArchive reads the files of a folder in an archive, which is not unpacked.
func eachInArchive(archive, folder string, read func(name string, r io.Reader) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("dataset: %w", err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("dataset: %s: it is no archive packed by gzip: %w", archive, endsEarly(err))
	}
	for t := tar.NewReader(unpacked); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("dataset: %s: it is damaged: %w", archive, endsEarly(err))
		}
		if h.Typeflag == tar.TypeReg && path.Dir(path.Clean(h.Name)) == folder {
			if err := read(path.Base(h.Name), t); err != nil {
				return err
			}
		}
	}
}

// cifarBatch are images, 3072 bytes each, all of red, then green, then blue, row by row, with their labels.
type cifarBatch struct {
	pixels []byte
	labels []int32
}

const cifarImage = 3 * 32 * 32

// append reads a file, in either form.
func (c cifar) append(b *cifarBatch, r io.Reader) error {
	var first [1]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return errors.New("it is empty")
	}
	r = io.MultiReader(strings.NewReader(string(first[:])), r)
	const proto = 0x80 // what a pickle begins with, and no label is
	if first[0] == proto {
		return c.pickled(b, r)
	}
	record := make([]byte, c.labels+cifarImage)
	for i := 0; ; i++ {
		n, err := io.ReadFull(r, record)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("it ends after %d of the %d bytes of image %d", n, len(record), i)
		}
		if err != nil {
			return err
		}
		at := c.labels - 1
		if c.coarse {
			at = 0
		}
		if int(record[at]) >= len(c.classes) {
			return fmt.Errorf("the label of image %d is %d, not in 0..%d: is it a file of %s, in binary or a pickle?", i, record[at],
				len(c.classes)-1, c.name)
		}
		b.labels = append(b.labels, int32(record[at]))
		b.pixels = append(b.pixels, record[c.labels:]...)
	}
}

// pickled reads the pickle of a dict with the array data and a list of labels.
func (c cifar) pickled(b *cifarBatch, r io.Reader) error {
	v, err := pickle.Read(r)
	if err != nil {
		return err
	}
	d, ok := v.(pickle.Dict)
	if !ok {
		return fmt.Errorf("it is a pickle of a %T, not of a dict", v)
	}
	data, ok := d["data"].(*pickle.Array)
	switch {
	case !ok:
		return fmt.Errorf("its data is a %T, not an array", d["data"])
	case data.Type != "u1":
		return fmt.Errorf("its data has the dtype %s, not u1, bytes", data.Type)
	case len(data.Shape) != 2 || data.Shape[1] != cifarImage || data.Shape[0] == 0:
		return fmt.Errorf("its data has the shape %v, not [n, %d]", data.Shape, cifarImage)
	}
	key := "labels"
	if c.labels == 2 {
		key = "fine_labels"
	}
	if c.coarse {
		key = "coarse_labels"
	}
	labels, ok := d[key].([]any)
	if !ok || len(labels) != data.Shape[0] {
		return fmt.Errorf("its %s are a %T, not a list of a number for each of %d images: is it a file of %s?", key, d[key], data.Shape[0],
			c.name)
	}
	for i, v := range labels {
		y, ok := v.(int64)
		if !ok || y < 0 || int(y) >= len(c.classes) {
			return fmt.Errorf("the label of image %d is %v, not a number in 0..%d", i, v, len(c.classes)-1)
		}
		b.labels = append(b.labels, int32(y))
	}
	b.pixels = append(b.pixels, data.Data...)
	return nil
}

// examples moves the channels last, and scales to [0, 1].
func (c cifar) examples(name string, b cifarBatch) (*advlib.Examples, error) {
	const plane = 32 * 32
	x := make([]float32, len(b.pixels))
	for i := 0; i+cifarImage <= len(b.pixels); i += cifarImage {
		for j := range plane {
			for k := range 3 {
				x[i+3*j+k] = float32(b.pixels[i+k*plane+j]) / 255
			}
		}
	}
	e, err := advlib.NewExamples(name, x, []int{32, 32, 3}, b.labels)
	if err != nil {
		return nil, err
	}
	e.Classes = c.classes
	return e, nil
}
