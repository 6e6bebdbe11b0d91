// Package scenario says what an attacker can do in a field: which features of a record are his, and what a record needs
// to exist. Package signs, below it, has stickers on road signs. It has links, as phishing sends them:
//
//	link, err := scenario.ParseLink("hxxp://login.example[.]com/a-b?id=7")
//	fmt.Println(link)                           // hxxp://login[.]example[.]com/a-b?id=7
//	fmt.Println(link.Features()["nb_hyphens"])  // 1
//	for _, e := range link.Edits() {            // what its owner can change
//		fmt.Println(e.Name, e.Link)
//	}
//
// Nothing here resolves a name or fetches anything. A [Link] prints itself defanged, so that no output turns into
// something that can be clicked.
package scenario
