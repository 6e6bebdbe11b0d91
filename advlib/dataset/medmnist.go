package dataset

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/internal/npz"
)

// medClasses are the classes of the sets of MedMNIST v2 that have one label an image, by the names of their files. The
// label 0 of breastmnist and 1 of pneumoniamnist are the sick.
var medClasses = map[string][]string{
	"pathmnist": {"adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
		"cancer-associated stroma", "colorectal adenocarcinoma epithelium"},
	"dermamnist": {"actinic keratoses", "basal cell carcinoma", "benign keratosis-like lesions", "dermatofibroma", "melanoma",
		"melanocytic nevi", "vascular lesions"},
	"octmnist":       {"choroidal neovascularization", "diabetic macular edema", "drusen", "normal"},
	"pneumoniamnist": {"normal", "pneumonia"},
	"retinamnist":    {"0", "1", "2", "3", "4"},
	"breastmnist":    {"malignant", "normal, benign"},
	"bloodmnist": {"basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte", "neutrophil",
		"platelet"},
	"organamnist": organs, "organcmnist": organs, "organsmnist": organs,
}

var organs = []string{"bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
	"lung-right", "pancreas", "spleen"}

// breast is the one set of MedMNIST whose sha256 is known; the authors publish md5 alone.
var breast = shelf{
	name: "BreastMNIST", folder: "medmnist", direct: true, urls: []string{"https://zenodo.org/records/10519652/files/"},
	sums: map[string]string{"breastmnist.npz": "3a22d2a4625e7dd8903f0f59030e81a3d0c222bece2e5e10927456cb50efdec1"},
}

// MedMNIST reads a file of MedMNIST v2 (Yang et al., Scientific Data 10, 2023,
// https://doi.org/10.1038/s41597-022-01721-8, CC BY 4.0; dermamnist CC BY-NC 4.0), as its authors publish it at
// https://zenodo.org/records/10519652: images of 28, 64, 128 or 224 pixels, to train on, to choose by, and to test on.
// Gray ones become [28, 28, 1], volumes [28, 28, 28, 1], in [0, 1]. Each set is made from another's images, whose
// authors are to be cited, too.
//
// chestmnist is refused: several of its 14 findings may hold at once, so that it has no classes.
func MedMNIST(path string) (train, val, test *advlib.Examples, err error) {
	file, err := npz.Open(path)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("dataset: %w", err)
	}
	defer file.Close()
	name, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), "_") // breastmnist_64.npz
	name, _, _ = strings.Cut(name, "-")
	parts := [3]*advlib.Examples{}
	most := int32(-1)
	for i, part := range []string{"train", "val", "test"} {
		if parts[i], err = medPart(file, part); err != nil {
			return nil, nil, nil, fmt.Errorf("dataset: %s: %w", path, err)
		}
		parts[i].Name = name + "/" + part
		most = max(most, slices.Max(parts[i].Y))
	}
	if classes, known := medClasses[name]; known {
		if int(most) >= len(classes) {
			return nil, nil, nil, fmt.Errorf("dataset: %s: it has the label %d, and %s %d classes", path, most, name, len(classes))
		}
		for _, e := range parts {
			e.Classes = classes
		}
	}
	return parts[0], parts[1], parts[2], nil
}

// medPart reads the images and labels of a part.
func medPart(file *npz.File, part string) (*advlib.Examples, error) {
	arrays := [2]*npz.Array{}
	for i, name := range []string{part + "_images", part + "_labels"} {
		if !slices.Contains(file.Names(), name) {
			return nil, fmt.Errorf("it has no array %s, as MedMNIST has: it has %s", name, listed(file))
		}
		var err error
		if arrays[i], err = file.Array(name); err != nil {
			return nil, err
		}
	}
	x, y := arrays[0], arrays[1]
	dims := x.Shape
	switch {
	case strings.TrimLeft(x.Type, "<>=|") != "u1":
		return nil, fmt.Errorf("%s has the dtype %q, not bytes", x.Name, x.Type)
	case len(dims) < 3 || len(dims) > 4 || slices.Contains(dims, 0):
		return nil, fmt.Errorf("%s has the shape %v, not [n, height, width], and one axis more of colours or depth", x.Name, dims)
	case len(y.Shape) != 2 || y.Shape[0] != dims[0]:
		return nil, fmt.Errorf("%s has the shape %v, not [%d, 1]", y.Name, y.Shape, dims[0])
	case y.Shape[1] != 1:
		return nil, fmt.Errorf("%s has the shape %v: several findings may hold at once, so that there is no class for each image", y.Name,
			y.Shape)
	}
	if len(dims) == 3 || dims[3] != 3 {
		dims = append(slices.Clone(dims), 1)
	}
	labels, _, err := readLabels(y, dims[0])
	if err != nil {
		return nil, err
	}
	e := &advlib.Examples{Y: labels, X: tensors.FromShape(shapes.Make(dtypes.Float32, dims...))}
	tensors.MustMutableFlatData(e.X, func(flat []float32) {
		err = x.Numbers(dims[0], func(i int, v float64) { flat[i] = float32(v) / 255 })
	})
	return e, err
}

// BreastMNIST returns the ultrasound images of BreastMNIST (from Al-Dhabyani et al. 2020, CC BY 4.0; see [MedMNIST]):
// 546 examples to train on, 78 to choose by, 156 to test on, the authors' split, gray images [28, 28, 1] in [0, 1].
//
// The file breastmnist.npz is looked for in $ADVLAB_DATA/medmnist, in $ADVLAB_DATA itself, and in data/medmnist of the
// cache, where it is downloaded to, 0.6 MB, and checked. With ADVLAB_OFFLINE=1, or without a network, a [*MissingError]
// says what to put where.
func BreastMNIST(ctx context.Context) (train, val, test *advlib.Examples, err error) {
	const name = "breastmnist.npz"
	folders, err := breast.folders()
	if err != nil {
		return nil, nil, nil, err
	}
	path, err := firstFile(folders, name)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("dataset: %s: %w", breast.name, err)
	}
	if path == "" {
		got, err := breast.download(ctx, []string{name}, name)
		if err != nil {
			return nil, nil, nil, err
		}
		path = got[0]
	}
	return MedMNIST(path)
}
