package detect

import "advlab/advlib/report"

// What detectors are measured by is declared in package report, which prints it without XLA.
type (
	// ROC is the receiver operating characteristic of a score: see [report.ROC].
	ROC = report.ROC
	// Point is a point of a [ROC].
	Point = report.Point
	// RejectionPoint is what becomes of examples in a ball of some radius: see [report.RejectionPoint].
	RejectionPoint = report.RejectionPoint
	// Reduction holds a claim for a detector against what it would imply: see [report.Reduction].
	Reduction = report.Reduction
)

// NewROC returns the curve of some scores. A score that is not a number is an error, as is a side without scores.
func NewROC(clean, adversarial []float64) (*ROC, error) { return report.NewROC(clean, adversarial) }
