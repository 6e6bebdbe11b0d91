// Package show turns what was measured into tables and pictures: for notebooks, terminals, papers and files.
//
//	show.Display(report)                                   // the report's table
//	show.Display(show.Grid(result, 8))                     // originals, perturbations, adversarial examples
//	show.Display(show.Curve(report))                       // accuracy against ε
//	show.Display(show.Queries(report))                     // how far attacks that only ask have come, against queries
//	show.Display(show.Sandwich(report))                    // certified ≤ robust ≤ clean accuracy, and what lies between
//	show.Display(show.Verdicts(report, ball))              // each example: verified, falsified or unknown, by what
//	show.Display(show.DecisionMap(clf, points, marks...))  // a classifier of two numbers, with balls drawn on it
//	show.Result(show.Provenance(settings))                 // what is needed to get the same numbers again
//	err := show.Save("curve.svg", picture)                 // .svg .png .html .json .txt
//	show.Display(show.Learning(trained.Record))            // accuracy on validation examples, epoch by epoch
//	settings := advlib.Settings{OnProgress: show.Progress()}
//	m.OnEpoch = show.Training()                            // the same, live, while the model m is trained
//
// [Grid], [Curve], [Sandwich], [Verdicts], [DecisionMap] and [Table] are pure: they make values, and say String, SVG,
// PNG and HTML of them, without network or script. Only [Display], [Result], [Grade], [Clear] and [Progress] reach a
// front-end; what they can show is any value with one of the methods String() string, HTML() string, SVG() string,
// PNG() []byte, so that a type of your own is shown without importing this package. In advlab's kernel, a cell whose
// last line is such a value alone, as report, shows it as its result.
//
// Pictures are drawn by gonum.org/v1/plot on a white card, so that they look the same on light and dark pages, and in
// the colours of Okabe and Ito (2008), which readers with deficient colour vision can tell apart; where colour says
// something, so does a dash, a marker or a word.
package show
