package dataset

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// websiteColumns are the columns of the UCI's phishing websites, with their spelling.
var websiteColumns = strings.Fields(`having_IP_Address URL_Length Shortining_Service having_At_Symbol
	double_slash_redirecting Prefix_Suffix having_Sub_Domain SSLfinal_State Domain_registeration_length Favicon port
	HTTPS_token Request_URL URL_of_Anchor Links_in_tags SFH Submitting_to_email Abnormal_URL Redirect on_mouseover RightClick
	popUpWidnow Iframe age_of_domain DNSRecord web_traffic Page_Rank Google_Index Links_pointing_to_page Statistical_report
	Result`)

// PhishingWebsites reads the phishing websites of the UCI repository (Mohammad, Thabtah, McCluskey 2015, CC BY 4.0):
// 30 features of −1, 0 and 1, where 1 looks legitimate, as an ARFF file, or as its rows alone, and what a site is. The
// features are read as whole numbers, which they are in, not as names.
func PhishingWebsites(path string) (*Table, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer file.Close()
	return ReadPhishingWebsites(path, file)
}

// ReadPhishingWebsites is [PhishingWebsites] for what is no file; name is shown in messages.
func ReadPhishingWebsites(name string, r io.Reader) (*Table, error) {
	t, err := phishingWebsites(name, r)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", name, err)
	}
	return t, nil
}

func phishingWebsites(path string, r io.Reader) (*Table, error) {
	text, err := plainText(r)
	if err != nil {
		return nil, err
	}
	start, _ := text.Peek(64) // an error is found again by who reads
	f := TableFile{Path: path, Names: websiteColumns, Kinds: map[string]Kind{}}
	for _, name := range websiteColumns[:len(websiteColumns)-1] {
		f.Kinds[name] = Whole
	}
	f.Kinds["Result"] = Category
	if first := strings.TrimLeft(string(start), " \t\r\n"); strings.HasPrefix(first, "-") || strings.HasPrefix(first, "1") ||
		strings.HasPrefix(first, "0") {
		f.NoHeader, f.Comma = true, ','
	}
	return f.Read(text)
}

// PhishingWebsitesFeatures are the 30 features of [PhishingWebsites], with the classes "legitimate" and "phishing".
func PhishingWebsitesFeatures() Features {
	return Features{Label: "Result", Classes: []string{"legitimate", "phishing"}, Class: func(text string) string {
		switch text {
		case "1":
			return "legitimate"
		case "-1":
			return "phishing"
		}
		return ""
	}}
}

// PhishingPages reads the 87 features of links, pages and their registration of Hannousse and Yahiouche ("Web page
// phishing detection", 2021, doi 10.17632/c2gw7fy2j4.3, CC BY 4.0), and what a page is, in the column "phishing". A
// column "url" is left out.
func PhishingPages(path string) (*Table, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer file.Close()
	return ReadPhishingPages(path, file)
}

// ReadPhishingPages is [PhishingPages] for what is no file; name is shown in messages.
func ReadPhishingPages(name string, r io.Reader) (*Table, error) {
	text, err := plainText(r)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", name, err)
	}
	start, _ := text.Peek(1 << 12) // an error is found again by who reads
	line, _, _ := strings.Cut(string(start), "\n")
	f := TableFile{Path: name, Kinds: map[string]Kind{"phishing": Category}}
	if slices.Contains(strings.Split(line, ","), "url") {
		f.Ignore = []string{"url"}
	}
	t, err := f.Read(text)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", name, err)
	}
	return t, nil
}

// PhishingPagesFeatures are the 87 features of [PhishingPages], with the classes "legitimate" and "phishing". Models
// see counts, lengths and traffic by their logarithms.
func PhishingPagesFeatures() Features {
	return Features{Label: "phishing", Classes: []string{"legitimate", "phishing"},
		Log: strings.Fields("length_url length_words_raw longest_words_raw longest_word_path nb_hyperlinks nb_extCSS web_traffic"),
		Class: func(text string) string {
			switch text {
			case "0", "legitimate":
				return "legitimate"
			case "1", "phishing":
				return "phishing"
			}
			return ""
		}}
}
