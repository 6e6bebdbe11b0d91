// Package similarity says how alike two images look: PSNR, and SSIM of Wang, Bovik, Sheikh and Simoncelli, "Image
// quality assessment: from error visibility to structural similarity", IEEE Transactions on Image Processing 13, 2004
// (https://doi.org/10.1109/TIP.2003.819861).
//
//	db := similarity.PSNR(original, adversarial, 1)
//	ssim, window, err := similarity.SSIM(original, adversarial, []int{28, 28, 1}, 1)
//
// Both are those of scikit-image: peak_signal_noise_ratio, and structural_similarity with use_sample_covariance=False
// and gaussian_weights=True, sigma=1.5, or, of images with a side below 11 pixels, with win_size=7 and without weights.
package similarity

import (
	"fmt"
	"math"
)

// The names of the windows in which SSIM compares.
const (
	// Gaussian is the window of the paper.
	Gaussian = "11×11 Gaussian, σ 1.5"
	// Uniform is that of images with a side of 7 to 10 pixels.
	Uniform = "7×7 uniform"
)

// PSNR returns the peak signal-to-noise ratio 10 log₁₀(L²/MSE) in decibels of values that span a range L: 1 for pixels
// in [0, 1]. It is +Inf of equal images.
func PSNR(a, b []float32, span float64) float64 {
	var sum float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	if sum == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(span*span*float64(len(a))/sum)
}

// Layout is where the pixels of an image lie in its values.
type Layout struct {
	Height, Width, Channels int
	// First says that all of one channel come before the next, [channels, height, width].
	First bool
}

// LayoutOf tells whether inputs of a shape are images, and how they lie: [h, w], [h, w, c], or [c, h, w], with 1, 3 or
// 4 channels. Of [3, 32, 3] the last axis is the channels.
func LayoutOf(shape []int) (l Layout, ok bool) {
	colours := func(n int) bool { return n == 1 || n == 3 || n == 4 }
	switch {
	case len(shape) == 2:
		l = Layout{shape[0], shape[1], 1, false}
	case len(shape) == 3 && colours(shape[2]):
		l = Layout{shape[0], shape[1], shape[2], false}
	case len(shape) == 3 && colours(shape[0]):
		l = Layout{shape[1], shape[2], shape[0], true}
	}
	return l, l.Height > 1 && l.Width > 1
}

// At returns the place of a pixel among the values.
func (l Layout) At(y, x, channel int) int {
	if l.First {
		return (channel*l.Height+y)*l.Width + x
	}
	return (y*l.Width+x)*l.Channels + channel
}

// SSIM returns the mean structural similarity of two images of a shape, see [LayoutOf], and the window that it was
// taken in; of colours the mean over the channels. Values span a range L, as in [PSNR], and K₁ = 0.01, K₂ = 0.03. It is
// 1 of equal images. It fails for images with a side below 7 pixels.
func SSIM(a, b []float32, shape []int, span float64) (ssim float64, window string, err error) {
	l, ok := LayoutOf(shape)
	if !ok || len(a) != l.Height*l.Width*l.Channels || len(b) != len(a) {
		return 0, "", fmt.Errorf("similarity: %d and %d values of shape %v are no images", len(a), len(b), shape)
	}
	weights, window := gaussian(), Gaussian
	switch side := min(l.Height, l.Width); {
	case side < 7:
		return 0, "", fmt.Errorf("similarity: images of %d × %d pixels: SSIM needs 7 on each side", l.Width, l.Height)
	case side < 11:
		window, weights = Uniform, make([]float64, 7)
		for i := range weights {
			weights[i] = 1. / 7
		}
	}
	var sum float64
	for c := range l.Channels {
		x, y := make([]float64, l.Height*l.Width), make([]float64, l.Height*l.Width)
		for i := range x {
			at := l.At(i/l.Width, i%l.Width, c)
			x[i], y[i] = float64(a[at]), float64(b[at])
		}
		sum += l.ssim(x, y, weights, span)
	}
	return min(1, sum/float64(l.Channels)), window, nil // rounding apart
}

// gaussian are the weights of the paper's window along one axis.
func gaussian() []float64 {
	const sigma, radius = 1.5, 5
	w := make([]float64, 2*radius+1)
	var sum float64
	for i := range w {
		d := float64(i - radius)
		w[i] = math.Exp(-d * d / (2 * sigma * sigma))
		sum += w[i]
	}
	for i := range w {
		w[i] /= sum
	}
	return w
}

// ssim is the mean of equation (13) over the windows that lie in the image.
func (l Layout) ssim(x, y, weights []float64, span float64) float64 {
	product := func(p, q []float64) []float64 {
		r := make([]float64, len(p))
		for i := range r {
			r[i] = p[i] * q[i]
		}
		return l.filter(r, weights)
	}
	μx, μy := l.filter(x, weights), l.filter(y, weights)
	xx, yy, xy := product(x, x), product(y, y), product(x, y)
	c1, c2 := (0.01*span)*(0.01*span), (0.03*span)*(0.03*span)
	var sum float64
	for i := range μx {
		m, n := μx[i], μy[i]
		sum += (2*m*n + c1) * (2*(xy[i]-m*n) + c2) / ((m*m + n*n + c1) * (xx[i] - m*m + yy[i] - n*n + c2))
	}
	return sum / float64(len(μx))
}

// filter takes the weighted means in the windows that lie in the image.
func (l Layout) filter(x, weights []float64) []float64 {
	n := len(weights)
	h, w := l.Height-n+1, l.Width-n+1
	rows := make([]float64, l.Height*w)
	for y := range l.Height {
		for c := range w {
			for k, weight := range weights {
				rows[y*w+c] += weight * x[y*l.Width+c+k]
			}
		}
	}
	out := make([]float64, h*w)
	for r := range h {
		for k, weight := range weights {
			for c, v := range rows[(r+k)*w : (r+k+1)*w] {
				out[r*w+c] += weight * v
			}
		}
	}
	return out
}
