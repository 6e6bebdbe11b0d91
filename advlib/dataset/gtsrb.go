package dataset

import (
	"encoding/csv"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// GTSRB reads the German Traffic Sign Recognition Benchmark of Stallkamp, Schlipsing, Salmen and Igel
// (https://doi.org/10.1016/j.neunet.2012.02.016, Neural Networks 32, 2012), as its authors publish it: PPM files of 15
// to 250 pixels and tables GT-….csv. It is not downloaded: the images come without a licence, and the authors ask to be
// cited.
//
//	size := dataset.Pictures{Height: 32, Width: 32}
//	signs, err := dataset.GTSRB{Path: "GTSRB/Final_Training", Pictures: size}.Examples()
//	train, test, err := signs.Split(0.25, seed)
//
// About 30 pictures in turn are of one sign that the car came nearer to, a track; the group of an example is its track,
// such as 00014/00003, so that [Grouped.Split] puts no sign into both parts. Tracks count anew in each class: the
// number alone would put different signs together.
type GTSRB struct {
	// Path is the folder of the training pictures, GTSRB/Final_Training/Images with its folders 00000 to 00042, or one
	// above it; or GTSRB/Final_Test/Images with GT-final_test.csv, whose pictures are of no known track.
	Path string
	// Pictures says how files become inputs. As they are of many sizes, it needs Height and Width.
	Pictures
	// Signs are the classes to take, by their numbers in the benchmark, 0 to 42; the first becomes label 0. Nil means all
	// that there are.
	Signs []int
	// Crop takes the rectangle around the sign that the tables name, Roi, and not the whole picture, which has a margin of
	// about a tenth of the sign around it, at least 5 pixels.
	Crop bool
}

// signs are the names of the classes, in the order of their numbers.
var signs = []string{"speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70", "speed limit 80",
	"end of speed limit 80", "speed limit 100", "speed limit 120", "no overtaking", "no overtaking for trucks",
	"right of way at the next crossing", "priority road", "yield", "stop", "no vehicles", "no trucks", "no entry", "general caution",
	"dangerous curve left", "dangerous curve right", "double curve", "bumpy road", "slippery road", "road narrows right", "road works",
	"traffic signals", "pedestrians", "children", "bicycles", "beware of ice", "wild animals", "end of all limits", "turn right ahead",
	"turn left ahead", "ahead only", "ahead or right", "ahead or left", "keep right", "keep left", "roundabout", "end of no overtaking",
	"end of no overtaking for trucks"}

// Examples reads the pictures.
func (d GTSRB) Examples() (*Grouped, error) {
	g, err := d.examples()
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", d.Path, err)
	}
	return g, nil
}

func (d GTSRB) examples() (*Grouped, error) {
	for i, s := range d.Signs {
		if s < 0 || s >= len(signs) || slices.Contains(d.Signs[:i], s) {
			return nil, fmt.Errorf("GTSRB.Signs has %v: they are numbers from 0 to %d, each once", d.Signs, len(signs)-1)
		}
	}
	folder, tables, err := d.tables()
	if err != nil {
		return nil, err
	}
	var found []sign
	for _, table := range tables {
		rows, err := readSigns(table)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		found = append(found, rows...)
	}
	classes := d.Signs
	if classes == nil {
		for _, s := range found {
			if !slices.Contains(classes, s.class) {
				classes = append(classes, s.class)
			}
		}
		slices.Sort(classes)
	}
	var entries []entry
	for _, s := range found {
		label := slices.Index(classes, s.class)
		if label < 0 {
			continue
		}
		e := entry{path: s.path, label: int32(label), group: s.track}
		if d.Crop {
			e.crop = s.roi
		}
		entries = append(entries, e)
	}
	names := make([]string, len(classes))
	for i, c := range classes {
		if !slices.ContainsFunc(entries, func(e entry) bool { return int(e.label) == i }) {
			return nil, fmt.Errorf("%s has no pictures of the sign %d, %s", folder, c, signs[c])
		}
		names[i] = signs[c]
	}
	return d.read(d.Path, names, entries)
}

// tables returns the folder of the pictures, and the tables in it or in the folders of its classes.
func (d GTSRB) tables() (folder string, tables []string, err error) {
	if _, err := os.Stat(d.Path); err != nil {
		return "", nil, errors.Unwrap(err)
	}
	for _, below := range []string{".", "Images", "Final_Training/Images", "GTSRB/Final_Training/Images"} {
		folder = filepath.Join(d.Path, below)
		test := filepath.Join(folder, "GT-final_test.csv")
		if _, err := os.Stat(test); err == nil {
			return folder, []string{test}, nil
		}
		inside, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, err
		}
		for _, e := range inside {
			if e.IsDir() && len(e.Name()) == 5 && leadingDigits(e.Name()) == e.Name() {
				tables = append(tables, filepath.Join(folder, e.Name(), "GT-"+e.Name()+".csv"))
			}
		}
		if len(tables) > 0 {
			return folder, tables, nil
		}
	}
	return "", nil, errors.New("it has neither folders 00000, 00001, … of pictures, as GTSRB/Final_Training/Images has, nor " +
		"GT-final_test.csv, which is published apart from the test's pictures")
}

// sign is a row of a table.
type sign struct {
	path, track string
	class       int
	roi         image.Rectangle
}

// readSigns reads a table: Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId.
func readSigns(table string) ([]sign, error) {
	f, err := os.Open(table)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	return parseSigns(f, filepath.Dir(table))
}

func parseSigns(r io.Reader, folder string) ([]sign, error) {
	lines := csv.NewReader(r)
	lines.Comma, lines.FieldsPerRecord = ';', 8
	head, err := lines.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	}
	if err != nil {
		return nil, err
	}
	columns := []string{"Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"}
	if !slices.Equal(head, columns) {
		return nil, fmt.Errorf("its columns are %v, not %v", head, columns)
	}
	class := filepath.Base(folder)
	var all []sign
	for {
		row, err := lines.Read()
		if errors.Is(err, io.EOF) && len(all) == 0 {
			return nil, errors.New("it ends after the names of its columns: it has no pictures")
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := lines.FieldPos(0)
		var n [8]int
		for i := 1; i < 8; i++ {
			if n[i], err = strconv.Atoi(row[i]); err != nil {
				return nil, fmt.Errorf("line %d: %s is %q, no number", line, columns[i], row[i])
			}
		}
		s := sign{path: filepath.Join(folder, row[0]), class: n[7], roi: image.Rect(n[3], n[4], n[5]+1, n[6]+1)} // X2 and Y2 are inside
		switch {
		case row[0] == "" || row[0] != filepath.Base(row[0]):
			return nil, fmt.Errorf("line %d: Filename is %q, no name of a file beside the table", line, row[0])
		case s.class < 0 || s.class >= len(signs):
			return nil, fmt.Errorf("line %d: ClassId is %d, not in 0..%d", line, s.class, len(signs)-1)
		case len(class) == 5 && leadingDigits(class) == class && class != fmt.Sprintf("%05d", s.class):
			return nil, fmt.Errorf("line %d: ClassId is %d, in the folder %s", line, s.class, class)
		case n[3] < 0 || n[4] < 0 || n[5] < n[3] || n[6] < n[4] || n[5] >= n[1] || n[6] >= n[2]:
			return nil, fmt.Errorf("line %d: the rectangle from %d,%d to %d,%d is not within %d × %d pixels", line, n[3], n[4], n[5], n[6],
				n[1], n[2])
		}
		s.track = row[0] // of the test: each is a group of its own
		if track, _, ok := strings.Cut(row[0], "_"); ok {
			s.track = fmt.Sprintf("%05d/%s", s.class, track)
		}
		all = append(all, s)
	}
}
