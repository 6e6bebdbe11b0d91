package faces

import "math"

// face is the share of a picture that a face covers: an ellipse of 0.8 of the height and of the width.
const face = math.Pi / 4 * 0.8 * 0.8

// MostGlasses is the largest share of the face that glasses may cover: Sharif et al. (2016,
// https://doi.org/10.1145/2976749.2978392, section 5.1) have 6.5 % of the picture.
const MostGlasses = 0.12

// Glasses returns the pixels of the frame of a pair of glasses before the eyes of a face that fills a picture of height
// × width pixels, upright and in the middle, row by row: two rims, a bridge, and what goes to the ears. They are at
// most [MostGlasses] of the face.
func Glasses(height, width int) []bool {
	worn := make([]bool, height*width)
	for i := range worn {
		x := math.Abs((float64(i%width)+0.5)/float64(width)*2 - 1)
		y := (float64(i/width)+0.5)/float64(height)*2 - 1 - eyes
		rim := func(rx, ry float64) bool { return (x-0.33)*(x-0.33)/(rx*rx)+y*y/(ry*ry) <= 1 }
		worn[i] = rim(0.27, 0.19) && !rim(0.19, 0.125) || x < 0.08 && math.Abs(y+0.02) < 0.045 ||
			x > 0.58 && x < 0.78 && math.Abs(y+0.05) < 0.045
	}
	return worn
}

// eyes are at this height of a face, from −1 at the top to 1 at the bottom of its picture.
const eyes = -0.14

// Share returns which share of the face such pixels are, of all of a picture.
func Share(worn []bool) float64 {
	n := 0
	for _, may := range worn {
		if may {
			n++
		}
	}
	return float64(n) / (face * float64(len(worn)))
}

// Band returns the pixels of the rows in which [Glasses] has any, from one side of the picture to the other: what a
// door must cover so that it sees nothing of them.
func Band(height, width int) []bool {
	worn := Glasses(height, width)
	covered := make([]bool, len(worn))
	for i, may := range worn {
		if may {
			for j := i / width * width; j < (i/width+1)*width; j++ {
				covered[j] = true
			}
		}
	}
	return covered
}
