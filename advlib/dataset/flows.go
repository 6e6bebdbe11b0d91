package dataset

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// nslColumns are the columns of KDD Cup 99 and of NSL-KDD, whose files have no header. NSL-KDD has one more: how many
// of 21 models got the row right.
var nslColumns = strings.Fields(`duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot
	num_failed_logins logged_in num_compromised root_shell su_attempted num_root num_file_creations num_shells
	num_access_files num_outbound_cmds is_host_login is_guest_login count srv_count serror_rate srv_serror_rate
	rerror_rate srv_rerror_rate same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count
	dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate dst_host_srv_diff_host_rate
	dst_host_serror_rate dst_host_srv_serror_rate dst_host_rerror_rate dst_host_srv_rerror_rate attack_type difficulty`)

// nslCategories are those that KDDTrain+.arff declares, so that a service that is rare has its place in every part of
// the data.
var nslCategories = map[string][]string{
	"protocol_type": {"tcp", "udp", "icmp"},
	"service": strings.Fields(`aol auth bgp courier csnet_ns ctf daytime discard domain domain_u echo eco_i ecr_i efs exec
		finger ftp ftp_data gopher harvest hostnames http http_2784 http_443 http_8001 imap4 IRC iso_tsap klogin kshell ldap
		link login mtp name netbios_dgm netbios_ns netbios_ssn netstat nnsp nntp ntp_u other pm_dump pop_2 pop_3 printer
		private red_i remote_job rje shell smtp sql_net ssh sunrpc supdup systat telnet tftp_u tim_i time urh_i urp_i uucp
		uucp_path vmnet whois X11 Z39_50`),
	"flag": strings.Fields("OTH REJ RSTO RSTOS0 RSTR S0 S1 S2 S3 SF SH"),
}

// nslGroups are the groups of attacks of KDD Cup 99, with the names of the test set's attacks after those of the
// training set, and the numbers by which some copies of the files call the groups.
var nslGroups = map[string][]string{
	"dos": strings.Fields(`1 back land neptune pod smurf teardrop apache2 mailbomb processtable udpstorm worm`),
	"u2r": strings.Fields(`2 buffer_overflow loadmodule perl rootkit httptunnel ps sqlattack xterm`),
	"r2l": strings.Fields(`3 ftp_write guess_passwd imap multihop phf spy warezclient warezmaster named sendmail snmpgetattack
		snmpguess xlock xsnoop`),
	"probe":  strings.Fields(`4 ipsweep nmap portsweep satan mscan saint`),
	"normal": strings.Fields(`5 normal`),
}

// NSLKDD reads a file of NSL-KDD (Tavallaee et al., "A detailed analysis of the KDD CUP 99 data set", 2009), such as
// KDDTrain+.txt, or of KDD Cup 99: 41 features of a connection, the attack, and in NSL-KDD a difficulty. These files
// have no header; copies with one are read too. Columns get their usual names, whatever a header says.
func NSLKDD(path string) (*Table, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer file.Close()
	return ReadNSLKDD(path, file)
}

// ReadNSLKDD is [NSLKDD] for what is no file; name is shown in messages.
func ReadNSLKDD(name string, r io.Reader) (*Table, error) {
	t, err := nslKDD(name, r)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", name, err)
	}
	return t, nil
}

func nslKDD(path string, r io.Reader) (*Table, error) {
	text, err := plainText(r)
	if err != nil {
		return nil, err
	}
	start, _ := text.Peek(1 << 12) // an error is found again by who reads
	line, _, _ := strings.Cut(string(start), "\n")
	names := nslColumns
	if n := strings.Count(line, ",") + 1; n == len(names)-1 {
		names = names[:n]
	}
	f := TableFile{Path: path, Comma: ',', Names: names, NoHeader: !strings.HasPrefix(line, names[0]), Categories: nslCategories,
		Kinds: map[string]Kind{"attack_type": Category}}
	return f.Read(text)
}

// NSLKDDFeatures are the 41 features of [NSLKDD] with the classes "normal" and "attack"; bytes and durations, which go
// from 0 to a billion, are seen by their logarithms.
func NSLKDDFeatures() Features {
	return Features{
		Label: "attack_type", Classes: []string{"normal", "attack"}, Ignore: []string{"difficulty"},
		Log: []string{"duration", "src_bytes", "dst_bytes", "hot", "num_compromised", "num_root", "num_file_creations",
			"num_access_files"},
		Class: func(text string) string {
			switch NSLKDDGroup(text) {
			case "":
				return ""
			case "normal":
				return "normal"
			}
			return "attack"
		},
	}
}

// NSLKDDGroup returns the group of an attack of [NSLKDD] by its name or number: "dos", "u2r", "r2l", "probe" or
// "normal"; "" for one that is not known.
func NSLKDDGroup(attack string) string {
	attack = strings.TrimSuffix(attack, ".") // as KDD Cup 99 writes them
	for _, group := range sortedKeys(nslGroups) {
		if slices.Contains(nslGroups[group], attack) {
			return group
		}
	}
	return ""
}

// CICFlows reads a file of flows with the columns of CICFlowMeter, such as those of CIC-IDS2017 (Sharafaldin et al.
// 2018). Addresses, ports of the source and time stamps are left out where there are any: they name a flow, and a
// model that has learned them knows nothing of others. One column is there twice, and becomes "Fwd Header Length.1".
// Rates of flows without duration are infinite or not a number: [Features.Missing] says what is done about them.
func CICFlows(path string) (*Table, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer file.Close()
	t, err := cicFlows(path, file)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", path, err)
	}
	return t, nil
}

func cicFlows(path string, r io.Reader) (*Table, error) {
	text, err := plainText(r)
	if err != nil {
		return nil, err
	}
	start, _ := text.Peek(1 << 14) // an error is found again by who reads
	line, _, _ := strings.Cut(string(start), "\n")
	f := TableFile{Path: path, Comma: ',', RenameDuplicates: true, Kinds: map[string]Kind{"Label": Category}}
	have := map[string]bool{}
	for _, name := range strings.Split(line, ",") {
		have[strings.Trim(name, " \r\"")] = true
	}
	if !have["Label"] {
		return nil, fmt.Errorf("line 1: there is no column %q among the %d of its header: is it a file of CICFlowMeter?", "Label", len(have))
	}
	for _, name := range []string{"Flow ID", "Source IP", "Src IP", "Source Port", "Src Port", "Destination IP", "Dst IP", "Timestamp"} {
		if have[name] {
			f.Ignore = append(f.Ignore, name)
		}
	}
	return f.Read(text)
}
