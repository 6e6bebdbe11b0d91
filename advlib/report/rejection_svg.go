package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// Sizes of the picture of a detector, in its own units: the curves at the left, the scores at the right.
const (
	detectionWidth, detectionHeight = 620., 190.
	detectionTop, detectionBottom   = 24., 34.
	rocLeft, rocRight               = 46., 178.
	barsLeft, barsRight             = 240., 608.
)

// ScoreBins is how many bars a histogram of scores has.
const ScoreBins = 30

// Bars are histograms of a detector's scores: of the originals, and of what naive and adaptive attacks changed.
type Bars struct {
	// Lo and Hi are the ends of the axis, which hold all finite scores but for at most 1 % at each end. The outermost bars
	// have what lies outside.
	Lo, Hi float64
	// Clean, Naive and Adaptive are the shares of scores in each of [ScoreBins] bars; nil where there are none.
	Clean, Naive, Adaptive []float64
}

// Scores returns the histograms of the scores; ok is false of a victim that rejects nothing.
func (r *Report) Scores() (b Bars, ok bool) {
	if r.Rejection == nil || len(r.Label) == 0 {
		return b, false
	}
	of := func(adaptive bool) []float64 {
		var some []AttackRow
		for _, a := range r.Attacks {
			if a.Screened != nil && a.Screened.Adaptive == adaptive {
				some = append(some, a)
			}
		}
		_, scores := r.scores(some...)
		return scores
	}
	clean, _ := r.scores()
	naive, adaptive := of(false), of(true)
	var all []float64
	for _, v := range slices.Concat(clean, naive, adaptive) {
		if !math.IsInf(v, 0) {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return b, false
	}
	slices.Sort(all)
	b.Lo, b.Hi = quantile(all, 0.01), quantile(all, 0.99)
	if t := float64(r.Rejection.Threshold); !math.IsInf(t, 0) {
		b.Lo, b.Hi = min(b.Lo, t), max(b.Hi, t)
	}
	if b.Hi <= b.Lo {
		b.Lo, b.Hi = b.Lo-0.5, b.Hi+0.5
	}
	b.Clean, b.Naive, b.Adaptive = b.count(clean), b.count(naive), b.count(adaptive)
	return b, true
}

// count returns the shares of scores in each bar.
func (b Bars) count(scores []float64) []float64 {
	if len(scores) == 0 {
		return nil
	}
	share := make([]float64, ScoreBins)
	for _, v := range scores {
		at := math.Floor((v - b.Lo) / (b.Hi - b.Lo) * ScoreBins)
		share[int(min(max(at, 0), ScoreBins-1))] += 1 / float64(len(scores))
	}
	return share
}

// The colours of the three kinds of inputs.
const (
	cleanColour    = "#808080"
	naiveColour    = "#0072b2"
	adaptiveColour = "#d55e00"
)

// detectionSVG draws the curve of each attack, and the histograms of the scores with the threshold.
func (r *Report) detectionSVG() template.HTML {
	bars, ok := r.Scores()
	if !ok {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" `+
		`style="max-width:100%%;font-size:10px;color:inherit" fill="currentColor"><title>%s</title>`,
		detectionWidth, detectionHeight, detectionWidth, detectionHeight,
		template.HTMLEscapeString("what "+r.Rejection.Detector+" sees: curves, and scores"))
	r.drawROCs(&b)
	bars.draw(&b, float64(r.Rejection.Threshold))
	b.WriteString("</svg>")
	return template.HTML(b.String()) // the title is escaped, all else are numbers
}

// drawROCs draws the curves, with the line of chance.
func (r *Report) drawROCs(b *strings.Builder) {
	bottom := detectionHeight - detectionBottom
	x, y := axis{0, 1, rocLeft, rocRight, false}, axis{0, 1, bottom, detectionTop, false}
	fmt.Fprintf(b, `<path d="M%g %gV%gH%g" fill="none" stroke="currentColor" stroke-opacity="0.6"/>`, rocLeft, detectionTop, bottom, rocRight)
	fmt.Fprintf(b, `<path d="M%g %gL%g %g" stroke="currentColor" stroke-opacity="0.4" stroke-dasharray="3 3"/>`, rocLeft, bottom, rocRight,
		detectionTop)
	for _, v := range []float64{0, 0.5, 1} {
		fmt.Fprintf(b, `<text x="%.1f" y="%g" text-anchor="middle">%g %%</text>`, x.at(v), bottom+13, 100*v)
		fmt.Fprintf(b, `<text x="%g" y="%.1f" text-anchor="end">%g %%</text>`, rocLeft-6, y.at(v)+3, 100*v)
	}
	fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="middle">clean inputs rejected</text>`, (rocLeft+rocRight)/2, bottom+27)
	fmt.Fprintf(b, `<text x="%g" y="12">adversarial inputs rejected</text>`, rocLeft-40)
	for _, a := range r.Attacks {
		c := r.ROC(a)
		if c == nil {
			continue
		}
		var d strings.Builder
		fmt.Fprintf(&d, "M%.1f %.1f", x.at(0), y.at(0))
		for _, p := range c.Points() {
			fmt.Fprintf(&d, "L%.1f %.1f", x.at(p.FPR), y.at(p.TPR))
		}
		colour := naiveColour
		if a.Screened.Adaptive {
			colour = adaptiveColour
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"><title>%s</title></path>`, d.String(), colour,
			template.HTMLEscapeString(a.Name))
	}
}

// draw draws the histograms, one behind the other, and the threshold.
func (b Bars) draw(w *strings.Builder, threshold float64) {
	bottom := detectionHeight - detectionBottom
	x := axis{b.Lo, b.Hi, barsLeft, barsRight, false}
	highest := 1e-9
	for _, v := range slices.Concat(b.Clean, b.Naive, b.Adaptive) {
		highest = max(highest, v)
	}
	y := axis{0, highest, bottom, detectionTop, false}
	fmt.Fprintf(w, `<path d="M%g %gH%g" stroke="currentColor" stroke-opacity="0.6"/>`, barsLeft, bottom, barsRight)
	at := barsLeft
	for _, k := range []struct {
		name, colour string
		of           []float64
	}{{"clean", cleanColour, b.Clean}, {"naive", naiveColour, b.Naive}, {"adaptive", adaptiveColour, b.Adaptive}} {
		if k.of == nil {
			continue
		}
		var d strings.Builder
		fmt.Fprintf(&d, "M%.1f %.1f", x.at(b.Lo), bottom)
		width := (b.Hi - b.Lo) / ScoreBins
		for i, v := range k.of {
			fmt.Fprintf(&d, "V%.1fH%.1f", y.at(v), x.at(b.Lo+float64(i+1)*width))
		}
		fmt.Fprintf(&d, "V%.1f", bottom)
		fmt.Fprintf(w, `<path d="%s" fill="%s" fill-opacity="0.2" stroke="%s" stroke-width="1.5"/>`, d.String(), k.colour, k.colour)
		fmt.Fprintf(w, `<path d="M%.1f 9h12" stroke="%s" stroke-width="3"/><text x="%.1f" y="12">%s</text>`, at, k.colour, at+16, k.name)
		at += 70
	}
	if math.IsInf(threshold, 0) {
		return
	}
	fmt.Fprintf(w, `<path d="M%.1f %gV%g" stroke="currentColor" stroke-dasharray="2 3"/>`, x.at(threshold), detectionTop, bottom)
	anchor := "middle"
	if x.at(threshold) > barsRight-40 {
		anchor = "end"
	}
	fmt.Fprintf(w, `<text x="%.1f" y="%g" text-anchor="%s">rejected above %.4g</text>`, x.at(threshold), bottom+13, anchor, threshold)
	fmt.Fprintf(w, `<text x="%g" y="%g" text-anchor="middle">score</text>`, (barsLeft+barsRight)/2, bottom+27)
}
