package scenario

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"advlab/advlib/dataset"
)

// The sets below are synthetic: drawn from distributions that this file has, in the formats of real data, for
// notebooks and tests where the real files may not go. What is measured on them says nothing about real traffic or
// pages. The same size and seed give the same rows.

// source draws rows.
type source struct{ *rand.Rand }

func newSource(seed uint64, kind uint64) source { return source{rand.New(rand.NewPCG(seed, kind))} }

// chance is true with a probability.
func (s source) chance(p float64) bool { return s.Float64() < p }

// among is a whole number from lo to hi.
func (s source) among(lo, hi int) int { return lo + s.IntN(hi-lo+1) }

// of counts how many of n things are so that each of them is with a probability.
func (s source) of(n int, p float64) (k int) {
	for range n {
		if s.chance(p) {
			k++
		}
	}
	return k
}

// volume is a whole number whose logarithm is normal, with that median.
func (s source) volume(median, spread float64) int {
	return int(math.Round(median * math.Exp(spread*s.NormFloat64())))
}

// pick is one of some texts.
func (s source) pick(texts string) string {
	all := strings.Fields(texts)
	return all[s.IntN(len(all))]
}

// traffic is how connections of a kind look.
type traffic struct {
	name                string
	share               float64
	protocol            string
	services, flags     string
	sent, received      float64 // medians; 0 for none
	count, hosted       [2]int  // connections of the last two seconds, and of the host's window
	same, syn, rejected float64 // shares of the same service, and of connections that failed
	logged              float64
	content             func(s source, c *content)
}

// content is what was read from what was sent.
type content struct{ hot, failed, compromised, shell, root, files int }

// kinds of traffic. What an attack does is told in the terms of the data's description.
var kinds = []traffic{
	{name: "normal", share: 0.36, protocol: "tcp", services: "http http http smtp ftp_data telnet private ftp",
		flags: "SF SF SF SF SF SF SF REJ S1 RSTO", sent: 250, received: 1500,
		count: [2]int{1, 40}, hosted: [2]int{5, 255}, same: 0.9, syn: 0.02,
		rejected: 0.06, logged: 0.7, content: func(s source, c *content) {
			if s.chance(0.1) {
				c.hot, c.failed, c.root, c.files = s.IntN(4), s.IntN(2), s.IntN(2), s.IntN(2)
			}
		}},
	{name: "normal", share: 0.14, protocol: "udp", services: "domain_u domain_u ntp_u other private", flags: "SF", sent: 44, received: 90,
		count: [2]int{1, 160}, hosted: [2]int{60, 255}, same: 0.97, syn: 0, rejected: 0.01},
	{name: "neptune", share: 0.18, protocol: "tcp", services: "private private http telnet ftp", flags: "S0 S0 S0 S0 REJ SF",
		count: [2]int{20, 300}, hosted: [2]int{100, 255}, same: 0.1, syn: 0.9, rejected: 0.05},
	{name: "apache2", share: 0.09, protocol: "tcp", services: "http", flags: "SF SF RSTO REJ", sent: 300, received: 900,
		count: [2]int{30, 250}, hosted: [2]int{150, 255}, same: 0.95, syn: 0.1, rejected: 0.3},
	{name: "portsweep", share: 0.08, protocol: "tcp", services: "private http ftp telnet", flags: "REJ RSTO SF S0 SF",
		count: [2]int{1, 12}, hosted: [2]int{20, 200}, same: 0.3, syn: 0.15, rejected: 0.6},
	{name: "satan", share: 0.07, protocol: "tcp", services: "private http smtp ftp", flags: "REJ REJ SF RSTO", sent: 8, received: 8,
		count: [2]int{5, 120}, hosted: [2]int{40, 255}, same: 0.15, syn: 0.1, rejected: 0.6},
	{name: "guess_passwd", share: 0.05, protocol: "tcp", services: "telnet ftp", flags: "SF RSTO RSTO", sent: 110, received: 180,
		count: [2]int{1, 8}, hosted: [2]int{2, 120}, same: 0.9, rejected: 0.3, logged: 0.2,
		content: func(s source, c *content) { c.hot, c.failed = s.IntN(3), s.of(2, 0.6) }},
	{name: "rootkit", share: 0.03, protocol: "tcp", services: "telnet ftp", flags: "SF", sent: 600, received: 2500,
		count: [2]int{1, 3}, hosted: [2]int{1, 60}, same: 0.95, logged: 0.95,
		content: func(s source, c *content) {
			c.hot, c.compromised, c.shell, c.root, c.files = s.among(0, 4), s.IntN(2), s.of(1, 0.5), s.IntN(3), s.IntN(3)
		}},
}

// SyntheticConnections returns n connections in the format of [dataset.NSLKDD], half of them attacks. They are
// synthetic: drawn from distributions in code. Their rates are those of whole counts, as in the real data, so
// [Intrusion] fits.
func SyntheticConnections(n int, seed uint64) *dataset.Table {
	s := newSource(seed, 1)
	var b strings.Builder
	for range n {
		at, k := s.Float64(), 0
		for at -= kinds[0].share; at > 0 && k < len(kinds)-1; at -= kinds[k].share {
			k++
		}
		s.connection(&b, kinds[k])
	}
	t, err := dataset.ReadNSLKDD("synthetic connections", strings.NewReader(b.String()))
	if err != nil {
		panic(err) // what is written here is of the format
	}
	return t
}

// window is a number of last connections, and how many of them are what.
type window struct{ count, same, other, syn, rejected int }

func (s source) window(size [2]int, k traffic) window {
	w := window{count: s.among(size[0], size[1])}
	w.same = max(1, s.of(w.count, k.same))
	w.other = min(w.count-w.same, s.among(0, 1+(w.count-w.same)/4))
	w.syn = s.of(w.count, k.syn)
	w.rejected = s.of(w.count-w.syn, min(1, k.rejected))
	return w
}

// connection writes a row.
func (s source) connection(b *strings.Builder, k traffic) {
	flag := s.pick(k.flags)
	open := flag == "SF" || flag == "S1" || flag == "RSTO"
	duration, sent, received := 0, 0, 0
	if open && k.sent > 0 {
		sent = s.volume(k.sent, 0.8)
		if k.received > 0 {
			received = s.volume(k.received, 1)
		}
		if s.chance(0.2) {
			duration = s.volume(5, 1.5)
		}
	}
	var c content
	if k.content != nil {
		k.content(s, &c)
	}
	logged := 0
	if open && s.chance(k.logged) {
		logged = 1
	}
	if k.name != "normal" && s.chance(0.06) { // a few attacks begin like anybody's connections
		k.count, k.same, k.syn, k.rejected = [2]int{1, 10}, 0.9, 0.02, 0.05
	}
	fmt.Fprintf(b, "%d,%s,%s,%s,%d,%d,0,0,0,%d,%d,%d,%d,%d,0,%d,%d,0,0,0,0,0", duration, k.protocol, s.pick(k.services), flag, sent, received,
		c.hot, c.failed, logged, c.compromised, c.shell, c.root, c.files)
	w, h := s.window(k.count, k), s.window(k.hosted, k)
	// Connections of the same service, to this host and to others.
	srv := min(511, w.same+s.of(min(w.count, 40), 0.3))
	hosts := min(srv-w.same, s.among(0, 3))
	dstSrv := min(255, h.same+s.of(40, 0.3))
	rate := func(of, n int) {
		b.WriteByte(',')
		b.WriteString(strconv.FormatFloat(math.Floor(float64(of)/float64(max(1, n))*100+0.5)/100, 'f', 2, 64))
	}
	fmt.Fprintf(b, ",%d,%d", w.count, srv)
	rate(w.syn, w.count)
	rate(min(srv, w.syn*w.same/w.count), srv)
	rate(w.rejected, w.count)
	rate(min(srv, w.rejected*w.same/w.count), srv)
	rate(w.same, w.count)
	rate(w.other, w.count)
	rate(hosts, srv)
	fmt.Fprintf(b, ",%d,%d", h.count, dstSrv)
	rate(min(h.same, dstSrv), h.count)
	rate(h.other, h.count)
	rate(s.of(h.count, 0.1), h.count)
	rate(min(dstSrv-h.same, s.among(0, 3)), dstSrv)
	rate(h.syn, h.count)
	rate(min(dstSrv, h.syn*h.same/h.count), dstSrv)
	rate(h.rejected, h.count)
	rate(min(dstSrv, h.rejected*h.same/h.count), dstSrv)
	fmt.Fprintf(b, ",%s,%d\n", k.name, 21)
}

// sites has, for each column of [dataset.PhishingWebsites] but the last, in per cent how often a legitimate site has −1
// and 0, and how often a phishing site has.
var sites = [][4]int{{30, 0, 40, 0}, {80, 0, 85, 0}, {15, 0, 10, 0}, {12, 0, 18, 0}, {14, 0, 11, 0}, {75, 0, 99, 0}, {25, 22, 37, 46},
	{8, 0, 62, 24}, {75, 0, 55, 0}, {18, 0, 20, 0}, {12, 0, 15, 0}, {18, 0, 15, 0}, {30, 0, 55, 0}, {2, 62, 66, 31}, {25, 44, 50, 35}, {66, 9, 88, 4},
	{18, 0, 20, 0}, {16, 0, 12, 0}, {0, 89, 0, 88}, {11, 0, 13, 0}, {4, 0, 5, 0}, {19, 0, 20, 0}, {9, 0, 10, 0}, {42, 0, 54, 0},
	{28, 0, 35, 0}, {16, 14, 34, 35}, {70, 0, 80, 0}, {10, 0, 20, 0}, {6, 52, 4, 60}, {12, 0, 18, 0}}

// SyntheticWebsites returns n sites in the format of [dataset.PhishingWebsites], half of them phishing. They are
// synthetic: drawn from distributions in code, each column by itself.
func SyntheticWebsites(n int, seed uint64) *dataset.Table {
	s := newSource(seed, 2)
	var b strings.Builder
	for range n {
		phishing := s.chance(0.5)
		for _, p := range sites {
			low, none := p[0], p[1]
			if phishing {
				low, none = p[2], p[3]
			}
			switch at := s.IntN(100); {
			case at < low:
				b.WriteString("-1,")
			case at < low+none:
				b.WriteString("0,")
			default:
				b.WriteString("1,")
			}
		}
		if phishing {
			b.WriteString("-1\n")
		} else {
			b.WriteString("1\n")
		}
	}
	t, err := dataset.ReadPhishingWebsites("synthetic websites", strings.NewReader(b.String()))
	if err != nil {
		panic(err) // what is written here is of the format
	}
	return t
}

// pageColumns are the columns of [dataset.PhishingPages] in their order, but for the last.
var pageColumns = strings.Fields(`length_url length_hostname ip nb_dots nb_hyphens nb_at nb_qm nb_and nb_or nb_eq nb_underscore
	nb_tilde nb_percent nb_slash nb_star nb_colon nb_comma nb_semicolumn nb_dollar nb_space nb_www nb_com nb_dslash
	http_in_path https_token ratio_digits_url ratio_digits_host punycode port tld_in_path tld_in_subdomain
	abnormal_subdomain nb_subdomains prefix_suffix random_domain shortening_service path_extension nb_redirection
	nb_external_redirection length_words_raw char_repeat shortest_words_raw shortest_word_host shortest_word_path
	longest_words_raw longest_word_host longest_word_path avg_words_raw avg_word_host avg_word_path phish_hints
	domain_in_brand brand_in_subdomain brand_in_path suspecious_tld statistical_report nb_hyperlinks
	ratio_intHyperlinks ratio_extHyperlinks ratio_nullHyperlinks nb_extCSS ratio_intRedirection ratio_extRedirection
	ratio_intErrors ratio_extErrors login_form external_favicon links_in_tags submit_email ratio_intMedia
	ratio_extMedia sfh iframe popup_window safe_anchor onmouseover right_clic empty_title domain_in_title
	domain_with_copyright whois_registered_domain domain_registration_length domain_age web_traffic dns_record
	google_index page_rank`)

// SyntheticPages returns n pages in the format of [dataset.PhishingPages], half of them phishing, and the link of each
// row, from which its lexical columns are computed. They are synthetic: drawn from distributions in code. Their hosts
// are below example.com, example.net and example.org, which are nobody's (RFC 2606).
func SyntheticPages(n int, seed uint64) (*dataset.Table, []Link) {
	s := newSource(seed, 3)
	var b strings.Builder
	b.WriteString(strings.Join(pageColumns, ",") + ",phishing\n")
	var links []Link
	for range n {
		phishing := s.chance(0.5)
		l := s.link(phishing)
		links = append(links, l)
		f := l.Features()
		s.page(phishing, f)
		for _, name := range pageColumns {
			b.WriteString(strconv.FormatFloat(f[name], 'g', 9, 64) + ",")
		}
		fmt.Fprintf(&b, "%.0f\n", is(phishing))
	}
	t, err := dataset.ReadPhishingPages("synthetic pages", strings.NewReader(b.String()))
	if err != nil {
		panic(err) // what is written here is of the format
	}
	return t, links
}

const (
	words = "news garden travel music books kitchen science history weather market forum gallery events archive studio museum"
	baits = "secure login account update verify signin support service wallet payment customer confirm"
)

// link draws a link. A phishing one is longer, with more words, digits and hyphens, most of the time.
func (s source) link(phishing bool) Link {
	looks := phishing != s.chance(0.15) // some of each kind look like the other
	host, scheme := s.pick(words), "https"
	if s.chance(0.4) {
		scheme = "http"
	}
	path := ""
	if looks {
		for range s.among(1, 3) {
			host = s.pick(baits) + s.pick("- . -") + host
		}
		if s.chance(0.6) {
			host += fmt.Sprint(s.among(1, 999))
		}
		for range s.among(1, 4) {
			path += "/" + s.pick(baits+" "+words) + s.pick("- _ .") + fmt.Sprint(s.among(1, 9999))
		}
		if s.chance(0.4) {
			path += "?id=" + fmt.Sprint(s.among(1000, 999999)) + "&cmd=" + s.pick(baits)
		}
	} else {
		if s.chance(0.6) {
			host = "www." + host
		}
		for range s.among(0, 3) {
			path += "/" + s.pick(words)
		}
	}
	l, err := ParseLink(scheme + "://" + host + ".example." + s.pick("com com net org") + path)
	if err != nil {
		panic(err) // it is a link
	}
	return l
}

// page draws the columns that no link determines.
func (s source) page(phishing bool, f map[string]float64) {
	either := func(name string, legitimate, fake float64) {
		p := legitimate
		if phishing {
			p = fake
		}
		f[name] = is(s.chance(p))
	}
	median := func(legitimate, fake float64) float64 {
		if phishing {
			return fake
		}
		return legitimate
	}
	either("random_domain", 0.05, 0.1)
	either("domain_in_brand", 0.13, 0.07)
	either("nb_external_redirection", 0, 0.01)
	either("login_form", 0.07, 0.2)
	either("external_favicon", 0.35, 0.5)
	either("iframe", 0.02, 0.02)
	either("popup_window", 0.02, 0.01)
	either("onmouseover", 0.01, 0.01)
	either("right_clic", 0.01, 0.02)
	either("empty_title", 0.05, 0.2)
	either("domain_in_title", 0.55, 0.9)
	f["domain_in_title"] = max(f["domain_in_title"], f["empty_title"])
	either("domain_with_copyright", 0.55, 0.3)
	either("whois_registered_domain", 0.05, 0.1)
	either("dns_record", 0.01, 0.04)
	either("google_index", 0.25, 0.75)
	f["nb_redirection"] = float64(s.among(0, 2))
	f["page_rank"] = float64(max(0, min(10, int(median(4.5, 2.2)+1.8*s.NormFloat64()))))
	f["domain_age"] = float64(s.volume(median(4000, 1500), 0.9))
	f["domain_registration_length"] = float64(s.volume(median(500, 250), 0.8))
	f["web_traffic"] = float64(s.volume(median(60000, 400000), 2))
	if s.chance(0.08) { // a page that could not be read
		f["domain_in_title"], f["empty_title"] = 1, 1
		return
	}
	links := s.volume(median(60, 14), 0.9)
	inner := s.of(links, median(0.75, 0.55))
	outer := links - inner
	share := func(of, n int) float64 { return float64(of) / float64(max(1, n)) }
	f["nb_hyperlinks"], f["ratio_intHyperlinks"], f["ratio_extHyperlinks"] = float64(links), share(inner, links), share(outer, links)
	f["ratio_extRedirection"], f["ratio_extErrors"] = share(s.of(outer, 0.2), outer), share(s.of(outer, median(0.04, 0.1)), outer)
	f["nb_extCSS"] = float64(s.of(4, 0.25))
	f["links_in_tags"] = float64(s.among(int(median(30, 0)), int(median(100, 80))))
	f["safe_anchor"] = float64(s.among(0, int(median(60, 100))))
	if s.chance(0.7) {
		f["ratio_intMedia"] = float64(s.among(int(median(20, 0)), 100))
		f["ratio_extMedia"] = 100 - f["ratio_intMedia"]
	}
}
