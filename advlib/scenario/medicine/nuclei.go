package medicine

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/dataset"
)

// BreastCancer returns the table of [dataset.BreastCancer], with the domain of what a patient's values can be.
//
// Ten features of cell nuclei are in it three times: their mean, the mean's standard error, and their worst, the mean
// of the three largest. The worst is never below the mean. [dataset.BreastCancerDomain] does not know that, and about
// half of what attacks find in it nobody can have. So here are ten columns more, behind the 30: by how much the worst
// is above the mean. These an attacker moves, from 0 up, and the worst is derived from them: see [advlib.Domain].
// Ranges and scales are those of all rows. A model gets all 40 columns, in which the last ten tell nothing new. That
// areas follow from radii the domain does not say.
func BreastCancer() (train, test *advlib.Examples, domain advlib.Domain) {
	train, test = dataset.BreastCancer()
	most := make([]float64, measured)
	for _, e := range []*advlib.Examples{train, test} {
		wider(e, most)
	}
	domain = dataset.BreastCancerDomain()
	for k, hi := range most {
		mean, worst := domain[k].Name, &domain[2*measured+k]
		above := advlib.Feature{Name: worst.Name + ", above the mean", Hi: hi, Scale: hi}
		*worst = advlib.Feature{Name: worst.Name, Lo: worst.Lo, Hi: worst.Hi, Formula: fmt.Sprintf("'%s' + '%s'", mean, above.Name)}
		domain = append(domain, above)
	}
	return train, test, domain
}

// measured is how many features of nuclei there are.
const measured = 10

// wider appends what the worst values are above the means to the rows of the table, and raises most to the largest.
func wider(e *advlib.Examples, most []float64) {
	var flat []float32
	for row := range slices.Chunk(tensors.MustCopyFlatData[float32](e.X), 3*measured) {
		above := make([]float32, measured)
		for k := range above {
			mean, worst := row[k], &row[2*measured+k]
			above[k] = *worst - mean
			*worst = float32(float64(mean) + float64(above[k])) // as the formula has it, bit for bit
			most[k] = max(most[k], float64(above[k]))
		}
		flat = append(append(flat, row...), above...)
	}
	e.X = tensors.FromFlatDataAndDimensions(flat, e.Len(), 4*measured)
}
