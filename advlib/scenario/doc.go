// Package scenario says what an attacker can do in a field: which features of a record are his, and what a record needs
// to exist. A [Threat] is that for a kind of table, [Records] are the inputs in which he moves:
//
//	train, err := dataset.NSLKDD("KDDTrain+_20Percent.txt") // or scenario.SyntheticConnections(2000, 1)
//	test, err := dataset.NSLKDD("KDDTest+.txt")
//	r, err := scenario.Intrusion().Learn(dataset.NSLKDDFeatures(), train, test)
//	m := zoo.MLP(32)
//	m.Build, m.Domain = r.On(m.Build), r.Domain
//	clf, err := m.Fit(ctx, r.MustExamples(train))
//
//	attacks := scenario.Malicious(r.MustExamples(test), 1, 100, nil)
//	res, err := advlib.Run(ctx, clf, attacks, attack.PGD{Ball: advlib.Linf.Ball(10)})
//	o, err := r.Outcome(res, scenario.Kinds(test, "attack_type", dataset.NSLKDDGroup))
//	fmt.Println(o)              // what passes, for each kind of attack
//	fmt.Println(o.Diffs()[0])   // what differs from the original, column by column
//
// Any attack of package attack runs on them, by gradients, by scores, or by labels through an endpoint
// ([Records.Behind]). Columns that follow from others are computed, never moved: each adversarial record could exist,
// which testdata/validate.py checks from an exported file alone.
//
// Below this package, signs has stickers on road signs, medicine noise that hides the sick, faces doors. Links are what
// phishing sends:
//
//	link, err := scenario.ParseLink("hxxp://login.example[.]com/a-b?id=7")
//	fmt.Println(link)                           // hxxp://login[.]example[.]com/a-b?id=7
//	fmt.Println(link.Features()["nb_hyphens"])  // 1
//	for _, e := range link.Edits() {            // what its owner can change
//		fmt.Println(e.Name, e.Link)
//	}
//
// [Records.Rewrite] edits a link until the page that it leads to passes.
//
// Nothing here resolves a name or fetches anything. A [Link] prints itself defanged, so that no output turns into
// something that can be clicked.
package scenario
