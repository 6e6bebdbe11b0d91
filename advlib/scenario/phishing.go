package scenario

import (
	"fmt"
	"strings"

	"advlab/advlib"
)

// Websites is the owner of a phishing site, described by the features of [dataset.PhishingWebsites]. He writes the
// link, but for its domain, and the page. What others say stays: the certificate's age and issuer, the registration,
// DNS, and what search engines, rankings and lists know of the domain. Changing a feature costs 1, whatever it was.
func Websites() Threat {
	t := Threat{Name: "phishing, UCI websites"}
	add := func(step float64, why string, columns string) {
		for _, name := range strings.Fields(columns) {
			t.Rules = append(t.Rules, Rule{Column: name, Change: advlib.EitherWay, Scale: 1, Lo: -1, Hi: 1, Step: step, Why: why})
		}
	}
	add(2, "he writes the link, but for the domain", `having_IP_Address Shortining_Service having_At_Symbol double_slash_redirecting
		HTTPS_token`)
	add(1, "he writes the link, but for the domain", "URL_Length having_Sub_Domain")
	add(2, "he writes the page", "Favicon Request_URL Submitting_to_email on_mouseover RightClick popUpWidnow Iframe")
	add(1, "he writes the page", "URL_of_Anchor Links_in_tags SFH")
	return t
}

// Pages is the owner of a phishing page, described by the features of [dataset.PhishingPages]. He writes the page: he
// can add hyperlinks, inside and outside, whose shares and faults follow, and change style sheets, pictures, the title
// and scripts. The link's columns stay here, because they cannot be moved one by one: [Records.Rewrite] changes the
// link itself. So do those of others: registration, traffic, search engines; and shares whose counts the data do not
// have.
//
// That the share of links that redirect or fail is one of the outer links is so in all rows of the data, and so is it
// that without a title the domain is not in it.
func Pages() Threat {
	t := Threat{Name: "phishing, pages", Tolerance: 1e-4}
	behind := func(b Behind) { t.Behind = append(t.Behind, b) }
	follows := func(name, formula string) { t.Rules = append(t.Rules, Rule{Column: name, Formula: formula}) }
	either := func(name string, scale float64, why string) {
		t.Rules = append(t.Rules, Rule{Column: name, Change: advlib.EitherWay, Scale: scale, Why: why})
	}
	for _, name := range LinkColumns { // other links are longer
		t.Rules = append(t.Rules, Rule{Column: name, Change: advlib.Fixed, Hi: 4096, Why: "follows from the link, which can be edited"})
	}
	const outer = "round(ratio_extHyperlinks * nb_hyperlinks)"
	behind(Behind{Column: "more_inner_links", Most: 200, Scale: 1, Step: 1, Why: "hyperlinks to his own pages"})
	behind(Behind{Column: "more_outer_links", Most: 200, Scale: 1, Step: 1, Why: "hyperlinks to pages of others, which work"})
	behind(Behind{Column: "links_before", Of: "nb_hyperlinks", Step: 1})
	behind(Behind{Column: "inner_before", Of: "round(ratio_intHyperlinks * nb_hyperlinks)", Step: 1})
	behind(Behind{Column: "outer_before", Of: outer, Step: 1})
	behind(Behind{Column: "redirected", Of: fmt.Sprintf("round(ratio_extRedirection * %s)", outer), Step: 1})
	behind(Behind{Column: "failing", Of: fmt.Sprintf("round(ratio_extErrors * %s)", outer), Step: 1})
	behind(Behind{Column: "has_media", Of: "(ratio_intMedia + ratio_extMedia > 0)", Step: 1})
	behind(Behind{Column: "inner_media", Of: "ratio_intMedia", Free: true, Scale: 10, Why: "per cent of pictures on his own server"})
	behind(Behind{Column: "other_title", Of: "domain_in_title", Free: true, Scale: 1, Step: 1, Why: "whether the title lacks the domain"})
	follows("nb_hyperlinks", "links_before + more_inner_links + more_outer_links")
	follows("ratio_intHyperlinks", "ratio(inner_before + more_inner_links, nb_hyperlinks)")
	follows("ratio_extHyperlinks", "ratio(outer_before + more_outer_links, nb_hyperlinks)")
	follows("ratio_extRedirection", "ratio(redirected, outer_before + more_outer_links)")
	follows("ratio_extErrors", "ratio(failing, outer_before + more_outer_links)")
	follows("ratio_intMedia", "has_media * inner_media")
	follows("ratio_extMedia", "has_media * (100 - inner_media)")
	follows("domain_in_title", "max(empty_title, other_title)")
	either("empty_title", 1, "a title, or none")
	either("domain_with_copyright", 1, "the domain beside the copyright sign")
	either("nb_extCSS", 1, "style sheets of others")
	either("links_in_tags", 10, "per cent of links in tags to his own server")
	for _, name := range []string{"external_favicon", "iframe", "popup_window", "onmouseover", "right_clic"} {
		either(name, 1, "he writes the page")
	}
	return t
}
