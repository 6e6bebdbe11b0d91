package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"advlab/kernel/internal/notebook"
)

// Each notebook that runs on a user's own data, given by one parameter, does so at reduced size on a folder in the
// layout of the real data, which may not be passed on. A notebook's row says what is written there.
func TestNotebooksOnRealLayouts(t *testing.T) {
	for _, c := range []struct {
		notebook, parameter string
		write               func(t *testing.T, folder string)
		settings            []string
		atLeast             map[string]float64 // what checked numbers are to reach
	}{
		{"10-road-signs.ipynb", "gtsrb", writeGTSRB, []string{"views=30", "steps=12"}, map[string]float64{"clean": 0.8, "linear-clean": 0.3, "hardened-clean": 0.3}},
	} {
		t.Run(c.notebook, func(t *testing.T) {
			path, folder := filepath.Join("..", "notebooks", c.notebook), t.TempDir()
			c.write(t, folder)
			executed, _, err := executeFile(t, path, append(c.settings, c.parameter+"="+folder)...)
			if err != nil {
				t.Fatal(err)
			}
			numbers, err := executed.Numbers()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, n := range numbers {
				got[n.Name] = n.Value
			}
			for name, least := range c.atLeast {
				if v, there := got[name]; !there || v < least {
					t.Errorf("%s is %g, want at least %g; the numbers are %v", name, v, least, got)
				}
			}
			if strings.Contains(executed.TextOf(notebook.CheckTag), "synthetic") {
				t.Errorf("it ran on generated data: %s", executed.TextOf(notebook.CheckTag))
			}
		})
	}
}

// writeGTSRB writes GTSRB/Final_Training/Images: four tracks of two pictures for each of twelve signs. A sign is a
// disc, a triangle or a square with stripes, in colours and directions of its class.
func writeGTSRB(t *testing.T, folder string) {
	t.Helper()
	for k, class := range []int{1, 2, 5, 12, 13, 14, 17, 18, 25, 27, 28, 38} {
		in := filepath.Join(folder, "GTSRB", "Final_Training", "Images", fmt.Sprintf("%05d", class))
		if err := os.MkdirAll(in, 0o755); err != nil {
			t.Fatal(err)
		}
		table := "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
		for track := range 4 {
			r := rand.New(rand.NewPCG(uint64(class), uint64(track)))
			light := 0.6 + 0.4*r.Float64()
			for frame := range 2 {
				side := 24 + 10*frame + track
				name := fmt.Sprintf("%05d_%05d.ppm", track, frame)
				file := fmt.Appendf(nil, "P6\n%d %d\n255\n", side, side)
				for i := range side * side {
					x, y := 2.4*(float64(i%side)/float64(side)-0.5), 2.4*(float64(i/side)/float64(side)-0.5)
					file = append(file, signColour(k, x, y, light, r)...)
				}
				if err := os.WriteFile(filepath.Join(in, name), file, 0o600); err != nil {
					t.Fatal(err)
				}
				table += fmt.Sprintf("%s;%d;%d;%d;%d;%d;%d;%d\n", name, side, side, side/12, side/12, side-1-side/12, side-1-side/12, class)
			}
		}
		if err := os.WriteFile(filepath.Join(in, fmt.Sprintf("GT-%05d.csv", class)), []byte(table), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// signColour is the colour of the k-th sign at a place of −1.2 to 1.2, with the sign in −1 to 1.
func signColour(k int, x, y, light float64, r *rand.Rand) []byte {
	inside := [](func() bool){
		func() bool { return x*x+y*y < 1 },
		func() bool { return y < 0.9 && y > 2*math.Abs(x)-0.9 },
		func() bool { return math.Max(math.Abs(x), math.Abs(y)) < 0.9 },
	}[k%3]()
	colour := [3]float64{0.35, 0.4, 0.35}
	if inside {
		colour = [][3]float64{{0.9, 0.1, 0.1}, {0.1, 0.2, 0.9}, {0.95, 0.85, 0.1}, {0.9, 0.9, 0.9}}[k/3]
		if math.Abs(math.Sin(4*x*float64(1-k%2)+4*y*float64(k%2))) < 0.4 {
			colour = [3]float64{0.05, 0.05, 0.05}
		}
	}
	var b []byte
	for _, v := range colour {
		b = append(b, byte(255*min(max(light*v+0.04*r.NormFloat64(), 0), 1)))
	}
	return b
}
