package scenario

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"
)

// Link is a web address. It prints itself defanged, hxxp://a[.]b/c, in every format, also in JSON, and is never looked
// up. The zero Link is empty.
type Link struct{ raw string }

// ParseLink reads an address with http or https, defanged or not.
func ParseLink(s string) (Link, error) {
	raw := refang(strings.TrimSpace(s))
	l := Link{raw}
	scheme, rest, ok := strings.Cut(raw, "://")
	switch {
	case !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		return Link{}, fmt.Errorf("scenario: %q is no link: it must begin with http:// or https://, or with hxxp", defang(raw))
	case !utf8.ValidString(raw):
		return Link{}, fmt.Errorf("scenario: %q is no text in UTF-8", defang(raw))
	case rest == "" || l.Host() == "":
		return Link{}, fmt.Errorf("scenario: %q has no host", defang(raw))
	case strings.ContainsAny(raw, "\n\r\t"):
		return Link{}, fmt.Errorf("scenario: %q has a line's end or a tab in it", defang(raw))
	}
	return l, nil
}

// String returns the link defanged.
func (l Link) String() string { return defang(l.raw) }

// GoString returns the link defanged.
func (l Link) GoString() string { return fmt.Sprintf("scenario.Link(%q)", l.String()) }

// MarshalText writes the link defanged.
func (l Link) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (l *Link) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLink(string(text))
	return err
}

// Raw returns the link as it is: do not print it.
func (l Link) Raw() string { return l.raw }

// defang makes a text no link: http becomes hxxp, and each point of the host [.]. What has no host, and what stands in
// the path and looks like another link, is defanged, too.
func defang(raw string) string {
	raw = schemes.ReplaceAllStringFunc(raw, func(s string) string {
		return s[:1] + strings.NewReplacer("tt", "xx", "TT", "XX", "tT", "xX", "Tt", "Xx").Replace(s[1:3]) + s[3:]
	})
	start := 0
	if i := strings.Index(raw, "://"); i >= 0 {
		start = i + 3
	}
	end := len(raw)
	if i := strings.IndexAny(raw[start:], "/?#"); i >= 0 {
		end = start + i
	}
	host := strings.ReplaceAll(raw[start:end], ".", "[.]")
	rest := hosts.ReplaceAllStringFunc(raw[end:], func(s string) string { return strings.ReplaceAll(s, ".", "[.]") })
	return raw[:start] + host + rest
}

// refang is the inverse of defang.
func refang(s string) string {
	s = defanged.ReplaceAllStringFunc(s, func(s string) string {
		return s[:1] + strings.NewReplacer("xx", "tt", "XX", "TT", "xX", "tT", "Xx", "Tt").Replace(s[1:3]) + s[3:]
	})
	return strings.ReplaceAll(s, "[.]", ".")
}

var (
	schemes  = regexp.MustCompile(`(?i)https?://`)
	defanged = regexp.MustCompile(`(?i)hxxps?://`)
	hosts    = regexp.MustCompile(`(?i)(hxxps?://|www\.)[^/?#\s]*`) // what programs take for a link inside of a path
)

// Host returns the host name in small letters, without user and port.
func (l Link) Host() string {
	_, host, _, _ := l.parts()
	return host
}

// parts are the scheme, the host, and the authority around it, and where it ends in the text.
func (l Link) parts() (scheme, host, authority string, end int) {
	scheme, rest, ok := strings.Cut(l.raw, "://")
	if !ok {
		return "", "", "", 0
	}
	n := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		n = i
	}
	authority = rest[:n]
	host = authority[strings.LastIndexByte(authority, '@')+1:]
	if inside, _, ipv6 := strings.Cut(strings.TrimPrefix(host, "["), "]"); ipv6 && strings.HasPrefix(host, "[") {
		host = inside
	} else {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(scheme), strings.ToLower(host), authority, len(scheme) + len("://") + n
}

// names are the parts of a host: login.mail and example and co.uk. The suffix is one under which registries let others
// register; suffixes of companies, such as blogspot.com, are not. It is empty for addresses and unknown ones.
func (l Link) names() (subdomain, domain, suffix string) {
	host := strings.TrimRight(l.Host(), ".")
	if _, err := netip.ParseAddr(host); err == nil {
		return "", host, ""
	}
	suffix, registry := publicsuffix.PublicSuffix(host)
	for !registry {
		_, parent, ok := strings.Cut(suffix, ".")
		if !ok {
			suffix = ""
			break
		}
		suffix, registry = publicsuffix.PublicSuffix(parent)
	}
	rest := host
	if suffix != "" {
		rest = strings.TrimSuffix(strings.TrimSuffix(host, suffix), ".")
	}
	if i := strings.LastIndexByte(rest, '.'); i >= 0 {
		return rest[:i], rest[i+1:], suffix
	}
	return "", rest, suffix
}

// LinkColumns are the columns of the phishing data of Hannousse and Yahiouche (2021, doi 10.17632/c2gw7fy2j4.3) that a
// link alone determines, in the order of the data, which have 87. The others of its first 56 need more: whether a
// domain is registered at random, and brands, need the authors' lists (random_domain, domain_in_brand,
// brand_in_subdomain, brand_in_path); redirections and reports of the address need the net (nb_redirection,
// nb_external_redirection, statistical_report).
var LinkColumns = strings.Fields(`length_url length_hostname ip nb_dots nb_hyphens nb_at nb_qm nb_and nb_or nb_eq
	nb_underscore nb_tilde nb_percent nb_slash nb_star nb_colon nb_comma nb_semicolumn nb_dollar nb_space nb_www nb_com
	nb_dslash http_in_path https_token ratio_digits_url ratio_digits_host punycode port tld_in_path tld_in_subdomain
	abnormal_subdomain nb_subdomains prefix_suffix shortening_service path_extension length_words_raw char_repeat
	shortest_words_raw shortest_word_host shortest_word_path longest_words_raw longest_word_host longest_word_path
	avg_words_raw avg_word_host avg_word_path phish_hints suspecious_tld`)

// counted are the columns that count a text in the whole link.
var counted = map[string]string{
	"nb_dots": ".", "nb_hyphens": "-", "nb_at": "@", "nb_qm": "?", "nb_and": "&", "nb_or": "|", "nb_eq": "=",
	"nb_underscore": "_", "nb_tilde": "~", "nb_percent": "%", "nb_slash": "/", "nb_star": "*", "nb_colon": ":",
	"nb_comma": ",", "nb_semicolumn": ";", "nb_dollar": "$",
}

var (
	hasAddress = regexp.MustCompile(`(([01]?\d\d?|2[0-4]\d|25[0-5])\.){3}([01]?\d\d?|2[0-4]\d|25[0-5])/|` +
		`((0x[0-9a-fA-F]{1,2})\.){3}(0x[0-9a-fA-F]{1,2})/|(?:[a-fA-F0-9]{1,4}:){7}[a-fA-F0-9]{1,4}|[0-9a-fA-F]{7}`)
	hasPort = regexp.MustCompile(`^[a-z][a-z0-9+\-.]*://([a-z0-9\-._~%!$&'()*+,;=]+@)?([a-z0-9\-._~%]+|` +
		`\[[a-z0-9\-._~%!$&'()*+,;=:]+\]):([0-9]+)`)
	abnormal = regexp.MustCompile(`(https?://(w[w]?|\d))([w]?(\d|-))`)
	hyphened = regexp.MustCompile(`https?://[^\-]+-[^\-]+/`)
	shorters = regexp.MustCompile(`bit\.ly|goo\.gl|shorte\.st|go2l\.ink|x\.co|ow\.ly|t\.co|tinyurl|tr\.im|is\.gd|cli\.gs|` +
		`yfrog\.com|migre\.me|ff\.im|tiny\.cc|url4\.eu|twit\.ac|su\.pr|twurl\.nl|snipurl\.com|short\.to|BudURL\.com|` +
		`ping\.fm|post\.ly|Just\.as|bkite\.com|snipr\.com|fic\.kr|loopt\.us|doiop\.com|short\.ie|kl\.am|wp\.me|` +
		`rubyurl\.com|om\.ly|to\.ly|bit\.do|lnkd\.in|db\.tt|qr\.ae|adf\.ly|bitly\.com|cur\.lv|ity\.im|q\.gs|po\.st|` +
		`bc\.vc|twitthis\.com|u\.to|j\.mp|buzurl\.com|cutt\.us|u\.bb|yourls\.org|prettylinkpro\.com|scrnch\.me|` +
		`filoops\.info|vzturl\.com|qr\.net|1url\.com|tweez\.me|v\.gd|link\.zip\.net`)
	hints      = strings.Fields("wp login includes admin content site images js alibaba css myaccount dropbox themes plugins signin view")
	suspicious = strings.Fields(`fit tk gp ga work ml date wang men icu online click country stream download xin racing
		jetzt ren mom party review trade accountants science ninja xyz faith zip cricket win accountant realtor top christmas
		gdn link asia club la ae exposed pe go.id rs k12.pa.us or.kr ce.ke audio gob.pe gov.az website bj mx media sa.gov.au`)
)

// Features returns the values of [LinkColumns], as the authors' extractor computes them, oddities included: what they
// call the path begins where the text of the host's suffix is first found, wherever that is; the address that "ip"
// finds may be any seven hexadecimal digits; and "nb_subdomains" counts the points of the whole link, up to 3.
func (l Link) Features() map[string]float64 {
	raw, host := l.raw, l.Host()
	scheme, _, _, _ := l.parts()
	subdomain, domain, suffix := l.names()
	tail := raw
	if i := strings.Index(raw, suffix); i >= 0 {
		tail = raw[i:]
	}
	behind, path := "", ""
	if i := strings.IndexByte(tail, '/'); i >= 0 {
		path, behind = tail[i:], tail[i+1:]
	}
	hostWords := slices.Concat(wordsOf(domain), wordsOf(subdomain))
	pathWords := wordsOf(behind)
	words := slices.Concat(hostWords, pathWords)
	f := map[string]float64{
		"length_url": float64(utf8.RuneCountInString(raw)), "length_hostname": float64(utf8.RuneCountInString(host)),
		"ip":       is(hasAddress.MatchString(raw)),
		"nb_space": float64(strings.Count(raw, " ") + strings.Count(raw, "%20")),
		"nb_www":   with(words, "www"), "nb_com": with(words, "com"),
		"nb_dslash": is(lastPair(raw) > 6), "http_in_path": float64(strings.Count(path, "http")), "https_token": is(scheme != "https"),
		"ratio_digits_url": digitsOf(raw), "ratio_digits_host": digitsOf(host),
		"punycode": is(strings.HasPrefix(raw, "http://xn--")),
		"port":     is(hasPort.MatchString(raw)),
		// The authors' count of an empty suffix is above 0.
		"tld_in_path": is(strings.Contains(strings.ToLower(path), suffix)), "tld_in_subdomain": is(strings.Contains(subdomain, suffix)),
		"abnormal_subdomain": is(abnormal.MatchString(raw)),
		"nb_subdomains":      float64(min(3, max(1, strings.Count(raw, ".")))),
		"prefix_suffix":      is(hyphened.MatchString(raw)), "shortening_service": is(shorters.MatchString(raw)),
		"path_extension": is(strings.HasSuffix(path, ".txt")), "length_words_raw": float64(len(words)), "char_repeat": repeats(words),
		"suspecious_tld": is(slices.Contains(suspicious, suffix)),
	}
	if strings.Count(raw, ".") == 0 {
		f["nb_subdomains"] = 3
	}
	for name, text := range counted {
		f[name] = float64(strings.Count(raw, text))
	}
	lower := strings.ToLower(raw)
	for _, hint := range hints {
		f["phish_hints"] += float64(strings.Count(lower, hint))
	}
	f["shortest_words_raw"], f["longest_words_raw"], f["avg_words_raw"] = lengths(words)
	f["shortest_word_host"], f["longest_word_host"], f["avg_word_host"] = lengths(hostWords)
	f["shortest_word_path"], f["longest_word_path"], f["avg_word_path"] = lengths(pathWords)
	return f
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// wordsOf splits a text where the authors do.
func wordsOf(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune("-./?=@&%:_", r) })
}

// with counts the words in which a text is.
func with(words []string, text string) (n float64) {
	for _, w := range words {
		n += is(strings.Contains(w, text))
	}
	return n
}

// lastPair is where the last // begins, of those that do not overlap.
func lastPair(s string) int {
	last, from := -1, 0
	for {
		i := strings.Index(s[from:], "//")
		if i < 0 {
			return last
		}
		last = utf8.RuneCountInString(s[:from+i])
		from += i + 2
	}
}

// digitsOf is the share of digits.
func digitsOf(s string) float64 {
	n := 0
	for _, r := range s {
		if r >= '0' && r <= '9' {
			n++
		}
	}
	return float64(n) / float64(max(1, utf8.RuneCountInString(s)))
}

// repeats counts the runs of 2, 3, 4 and 5 equal characters in words, each place at which one begins.
func repeats(words []string) (n float64) {
	for _, w := range words {
		letters := []rune(w)
		for from := 0; from < len(letters); {
			to := from
			for to < len(letters) && letters[to] == letters[from] {
				to++
			}
			for size := 2; size <= 5; size++ {
				n += float64(max(0, to-from-size+1))
			}
			from = to
		}
	}
	return n
}

// lengths are the shortest, the longest and the mean length of words, 0 if there are none.
func lengths(words []string) (shortest, longest, mean float64) {
	for i, w := range words {
		n := float64(utf8.RuneCountInString(w))
		if i == 0 || n < shortest {
			shortest = n
		}
		longest, mean = max(longest, n), mean+n
	}
	return shortest, longest, mean / float64(max(1, len(words)))
}
