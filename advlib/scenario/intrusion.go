package scenario

import "fmt"

// Intrusion is an attacker whose connections a detector sees as the records of [dataset.NSLKDD].
//
// What makes the attack an attack stays: protocol, service, flag, and all that is read from what was sent (columns 10
// to 22 of the data), as do the failed connections, which can only be outnumbered. He can do what costs him no success:
// send and ask for more, keep the connection open for longer, where one was established at all, and open further,
// harmless connections to the same host or of the same service before it. These are counted in the windows of the last
// two seconds and of the last connections of the host, whose rates follow. Where the host's window is full, a
// connection more displaces one that was in it, failed or not, as often as there were such.
//
// The counts behind the rates are found by rounding rate × count; they give the rates of the published files back, to
// 0.01, in all rows, and exactly in 99 %.
func Intrusion() Threat {
	t := Threat{Name: "intrusion, NSL-KDD", Tolerance: 0.0101}
	move := func(name string, most, scale float64, why string) {
		t.Behind = append(t.Behind, Behind{Column: name, Most: most, Scale: scale, Step: 1, Why: why})
	}
	was := func(name, of string, counted bool) {
		t.Behind = append(t.Behind, Behind{Column: name, Of: of, Step: 1, Counted: counted})
	}
	follows := func(name string, grows bool, format string, args ...any) {
		t.Rules = append(t.Rules, Rule{Column: name, Formula: fmt.Sprintf(format, args...), Grows: grows})
	}
	const established = "(flag[SF] + flag[S1] + flag[S2] + flag[S3] + flag[RSTO] + flag[RSTR])"
	const host, service = "more_same + more_other_service", "more_same + more_other_host"

	move("more_seconds", 10000, 1, "the connection is kept open for longer")
	move("more_sent", 1e6, 100, "padding in what is sent")
	move("more_received", 1e6, 100, "asking for more")
	move("more_same", 100, 1, "harmless connections to the same host and service")
	move("more_other_service", 100, 1, "harmless connections to another service of the host")
	move("more_other_host", 100, 1, "harmless connections to the same service of another host")
	for _, of := range [][2]string{{"duration", "more_seconds"}, {"src_bytes", "more_sent"}, {"dst_bytes", "more_received"}} {
		was(of[0]+"_before", of[0], false)
		follows(of[0], true, "%s_before + %s * %s", of[0], established, of[1])
	}

	// The last two seconds. Counts end at 511, as in the data.
	was("count_before", "count", false)
	was("srv_count_before", "srv_count", false)
	follows("count", true, "min(511, count_before + %s)", host)
	follows("srv_count", true, "min(511, srv_count_before + %s)", service)
	rate := func(name, of, adding, added string) {
		was(name+"_behind", fmt.Sprintf("round(%s * %s)", name, of), added == "")
		follows(name, false, "round(ratio(%s_behind%s, %s_before + %s), 2)", name, added, of, adding)
	}
	rate("serror_rate", "count", host, "")
	rate("rerror_rate", "count", host, "")
	rate("same_srv_rate", "count", host, " + more_same")
	rate("diff_srv_rate", "count", host, " + (more_other_service > 0)") // counts services
	rate("srv_serror_rate", "srv_count", service, "")
	rate("srv_rerror_rate", "srv_count", service, "")
	rate("srv_diff_host_rate", "srv_count", service, " + (more_other_host > 0)") // counts hosts

	// The last connections of the host, and of the service, at most 255.
	was("dst_host_count_before", "dst_host_count", false)
	was("dst_host_srv_count_before", "dst_host_srv_count", false)
	follows("dst_host_count", true, "min(255, dst_host_count_before + %s)", host)
	follows("dst_host_srv_count", true, "min(255, dst_host_srv_count_before + %s)", service)
	window := func(name, of, adding, added string) {
		was(name+"_behind", fmt.Sprintf("round(%s * %s)", name, of), false)
		// What is left of those before, and those added, in a window of so many.
		follows(name, false, "round(ratio(%s_behind * ratio(%s - (%s), %s_before)%s, %s), 2)", name, of, adding, of, added, of)
	}
	window("dst_host_same_srv_rate", "dst_host_count", host, " + more_same")
	window("dst_host_diff_srv_rate", "dst_host_count", host, " + (more_other_service > 0)")
	window("dst_host_same_src_port_rate", "dst_host_count", host, "")
	window("dst_host_serror_rate", "dst_host_count", host, "")
	window("dst_host_rerror_rate", "dst_host_count", host, "")
	window("dst_host_srv_diff_host_rate", "dst_host_srv_count", service, " + (more_other_host > 0)")
	window("dst_host_srv_serror_rate", "dst_host_srv_count", service, "")
	window("dst_host_srv_rerror_rate", "dst_host_srv_count", service, "")
	return t
}
