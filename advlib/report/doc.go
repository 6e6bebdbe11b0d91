// Package report holds what an evaluation measured: accuracies with confidence intervals, distances, certificates, and
// a verdict on each example. It needs neither GoMLX nor XLA, so that a report is read, merged and printed on any
// machine:
//
//	text, err := os.ReadFile("report.json")
//	...
//	var r report.Report
//	if err := json.Unmarshal(text, &r); err != nil {
//		...
//	}
//	fmt.Println(&r)
//	fmt.Println(r.Robust(report.Ball{Norm: report.Linf, Radius: 8. / 255}))
//
// Package advlib makes reports: advlib.Evaluate runs attacks and certifiers, and returns a *Report.
//
// # Where things are
//
//   - record.go: [Report], and what it consists of: [AttackRow], [CertifierRow], [Sanity], [NotFinite].
//   - ball.go: balls and boxes as data, by the name of the norm.
//   - rate.go: [Rate] with its interval, success rates and median distances.
//   - query.go: clean, robust and certified accuracy. verdict.go: what is known of each example, and contradictions.
//   - comparison.go: [Comparison], defences held against each other.
//   - queries.go, change.go: what attacks that only ask took, and how inputs were changed.
//   - merge.go: the report of more examples.
//   - lines.go, text.go, html.go, json.go: the table's lines, and the forms in which a report is written.
package report
