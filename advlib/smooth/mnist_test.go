package smooth_test

import (
	"errors"
	"os"
	"testing"

	"advlab/advlib"
	"advlab/advlib/dataset"
	"advlab/advlib/smooth"
	"advlab/advlib/zoo"
)

// MNIST beside the raw logs of Cohen et al.'s LeNet, from Jeong et al.'s repository (smoothmix,
// data/certify/mnist/cohen): trained on all of MNIST, 90 epochs, 10000 test images, N = 10⁵, mean of 5 seeds. Here a
// smaller network is trained for 20 epochs on 8000 images.
func TestMNIST(t *testing.T) {
	if os.Getenv("ADVLAB_FULL") == "" {
		t.Skip("10⁷ noisy images take minutes: set ADVLAB_FULL=1")
	}
	t.Setenv("ADVLAB_OFFLINE", "1")
	train, test, err := dataset.MNISTSmall(t.Context())
	var missing *dataset.MissingError
	if errors.As(err, &missing) {
		t.Skipf("needs MNIST's test files: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	published := map[float64]map[float64]float64{
		0.25: {0: .993, 0.25: .985, 0.5: .967, 0.75: .931},
		0.5:  {0: .992, 0.25: .983, 0.5: .969, 0.75: .943},
	}
	for σ, want := range published {
		m := smooth.Augment(zoo.CNN(), σ)
		m.Epochs = 20
		s := smooth.Gaussian{Base: m.MustFit(t.Context(), train), Sigma: σ, N: 10_000}
		report := s.MustCertify(t.Context(), test.First(500))
		t.Logf("%v%.1f s", report, report.Seconds)
		last := advlib.Rate{Count: 500, Of: 500}
		for _, radius := range []float64{0, 0.25, 0.5, 0.75} {
			got := report.CertifiedAccuracy(radius)
			t.Logf("σ = %g, radius %g: %v %s, published %.1f %%", σ, radius, got, got.Interval(), 100*want[radius])
			if got.Count > last.Count {
				t.Errorf("σ = %g: the certified accuracy rises to %v at radius %g", σ, got, radius)
			}
			// The gap that less data and a smaller network leave, 3 points at 0 and 10 at 0.75.
			if got.Value() < want[radius]-0.03-0.1*radius {
				t.Errorf("σ = %g: certified accuracy %v at radius %g, published %.1f %%", σ, got, radius, 100*want[radius])
			}
			last = got
		}
	}
}
