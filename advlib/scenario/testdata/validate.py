"""Checks adversarial records against the file that their originals are in.

    python3 validate.py intrusion|websites|pages ORIGINALS ADVERSARIAL

ORIGINALS is the data's own file, ADVERSARIAL what scenario.Outcome.Table(true) exports, as CSV or ARFF. It is written
from the descriptions of the data, reads both files by itself, and shares nothing with the code that made the records:
plain Python 3, no packages. Whatever does not hold is printed, and the exit status is 1.
"""

import csv
import gzip
import io
import math
import struct
import sys


def f32(v):
    """The nearest float32, which the records are in."""
    return struct.unpack("f", struct.pack("f", v))[0]


def number(text):
    return f32(float(text))


def read(path):
    """The rows of a CSV or ARFF file, gzip or not, as lists, with the names of the columns, None without a header, and
    the line of each row."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    text = data.decode("utf-8-sig")
    if text.lstrip().lower().startswith(("@relation", "%")):
        names, rows, lines, inside = [], [], [], False
        for n, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("%"):
                continue
            if inside:
                rows.append(next(csv.reader([line], quotechar="'")))
                lines.append(n)
            elif line.lower().startswith("@attribute"):
                names.append(next(csv.reader([line.split(None, 1)[1]], delimiter=" ", quotechar="'"))[0])
            elif line.lower().startswith("@data"):
                inside = True
        return names, rows, lines
    reader = csv.reader(io.StringIO(text, newline=""))
    rows, lines, last = [], [], 0
    for row in reader:
        rows.append([c.strip() for c in row])
        lines.append(last + 1)
        last = reader.line_num
    try:
        [float(c) for c in rows[0][:1] + rows[0][4:8]]
        return None, rows, lines
    except ValueError:
        return rows[0], rows[1:], lines[1:]


NSL = """duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot num_failed_logins logged_in
num_compromised root_shell su_attempted num_root num_file_creations num_shells num_access_files num_outbound_cmds
is_host_login is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate srv_rerror_rate same_srv_rate
diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count dst_host_same_srv_rate dst_host_diff_srv_rate
dst_host_same_src_port_rate dst_host_srv_diff_host_rate dst_host_serror_rate dst_host_srv_serror_rate
dst_host_rerror_rate dst_host_srv_rerror_rate""".split()

UCI = """having_IP_Address URL_Length Shortining_Service having_At_Symbol double_slash_redirecting Prefix_Suffix
having_Sub_Domain SSLfinal_State Domain_registeration_length Favicon port HTTPS_token Request_URL URL_of_Anchor
Links_in_tags SFH Submitting_to_email Abnormal_URL Redirect on_mouseover RightClick popUpWidnow Iframe age_of_domain
DNSRecord web_traffic Page_Rank Google_Index Links_pointing_to_page Statistical_report Result""".split()


def half_up(v):
    return math.floor(v + 0.5)


def cents(v):
    return half_up(v * 100) / 100


def over(a, b):
    return a / b if b else 0.0


class Record:
    """One adversarial record beside its original, and what is wrong with it."""

    def __init__(self, was, row):
        self.was, self.row, self.wrong, self.seen = was, row, [], set()

    def __getitem__(self, name):
        return number(self.row[name])

    def expect(self, name, value):
        """The column equals a function of others, to the last bit of float32."""
        self.seen.add(name)
        if struct.pack("f", self[name]) != struct.pack("f", f32(value)) and not (self[name] == 0 and value == 0):
            self.wrong.append(f"{name} is {self.row[name]}, and follows as {f32(value)!r}")

    def between(self, name, lo, hi, whole=True):
        self.seen.add(name)
        v = self[name]
        if not lo <= v <= hi or whole and v != int(v):
            self.wrong.append(f"{name} is {self.row[name]}, which is not {'a whole number ' if whole else ''}in [{lo}, {hi}]")
        return v

    def same(self, name):
        """The column is as it was: the same text, or the same float32."""
        self.seen.add(name)
        a, b = self.was[name], self.row[name]
        if a != b:
            try:
                equal = number(a) == number(b)
            except ValueError:
                equal = False
            if not equal:
                self.wrong.append(f"{name} cannot be changed, and is {b}, not {a}")


def intrusion(r):
    was = {n: number(r.was[n]) for n in NSL if n not in ("protocol_type", "service", "flag")}
    sec, sent, got = (r.between(n, 0, top) for n, top in (("more_seconds", 1e4), ("more_sent", 1e6), ("more_received", 1e6)))
    same, other, host = (r.between(n, 0, 100) for n in ("more_same", "more_other_service", "more_other_host"))
    established = r.was["flag"] in ("SF", "S1", "S2", "S3", "RSTO", "RSTR")
    r.expect("duration", was["duration"] + established * sec)
    r.expect("src_bytes", was["src_bytes"] + established * sent)
    r.expect("dst_bytes", was["dst_bytes"] + established * got)
    a, b = same + other, same + host  # connections more to the host, and of the service
    n, m = was["count"] + a, was["srv_count"] + b
    r.expect("count", min(511, n))
    r.expect("srv_count", min(511, m))
    behind = {k: half_up(was[k] * was[by]) for k, by in (
        ("serror_rate", "count"), ("rerror_rate", "count"), ("same_srv_rate", "count"), ("diff_srv_rate", "count"),
        ("srv_serror_rate", "srv_count"), ("srv_rerror_rate", "srv_count"), ("srv_diff_host_rate", "srv_count"),
        ("dst_host_same_srv_rate", "dst_host_count"), ("dst_host_diff_srv_rate", "dst_host_count"),
        ("dst_host_same_src_port_rate", "dst_host_count"), ("dst_host_serror_rate", "dst_host_count"),
        ("dst_host_rerror_rate", "dst_host_count"), ("dst_host_srv_diff_host_rate", "dst_host_srv_count"),
        ("dst_host_srv_serror_rate", "dst_host_srv_count"), ("dst_host_srv_rerror_rate", "dst_host_srv_count"))}
    r.expect("serror_rate", cents(over(behind["serror_rate"], n)))
    r.expect("rerror_rate", cents(over(behind["rerror_rate"], n)))
    r.expect("same_srv_rate", cents(over(behind["same_srv_rate"] + same, n)))
    r.expect("diff_srv_rate", cents(over(behind["diff_srv_rate"] + (other > 0), n)))
    r.expect("srv_serror_rate", cents(over(behind["srv_serror_rate"], m)))
    r.expect("srv_rerror_rate", cents(over(behind["srv_rerror_rate"], m)))
    r.expect("srv_diff_host_rate", cents(over(behind["srv_diff_host_rate"] + (host > 0), m)))

    def window(size, more):
        """The size of a window of the last connections, and how many of 1 before are left."""
        now = min(255, was[size] + more)
        return now, over(now - more, was[size])

    n, left = window("dst_host_count", a)
    m, srv_left = window("dst_host_srv_count", b)
    r.expect("dst_host_count", n)
    r.expect("dst_host_srv_count", m)
    r.expect("dst_host_same_srv_rate", cents(over(behind["dst_host_same_srv_rate"] * left + same, n)))
    r.expect("dst_host_diff_srv_rate", cents(over(behind["dst_host_diff_srv_rate"] * left + (other > 0), n)))
    for k in ("dst_host_same_src_port_rate", "dst_host_serror_rate", "dst_host_rerror_rate"):
        r.expect(k, cents(over(behind[k] * left, n)))
    r.expect("dst_host_srv_diff_host_rate", cents(over(behind["dst_host_srv_diff_host_rate"] * srv_left + (host > 0), m)))
    for k in ("dst_host_srv_serror_rate", "dst_host_srv_rerror_rate"):
        r.expect(k, cents(over(behind[k] * srv_left, m)))
    rest(r, NSL)


def websites(r):
    for name in "having_IP_Address Shortining_Service having_At_Symbol double_slash_redirecting HTTPS_token Favicon Request_URL \
            Submitting_to_email on_mouseover RightClick popUpWidnow Iframe".split():
        if r.between(name, -1, 1) == 0:
            r.wrong.append(f"{name} is 0, and can be −1 and 1 only")
    for name in "URL_Length having_Sub_Domain URL_of_Anchor Links_in_tags SFH".split():
        r.between(name, -1, 1)
    rest(r, UCI[:-1])


def pages(r):
    was = {n: number(v) for n, v in r.was.items() if n not in ("url", "phishing")}
    inner, outer = r.between("more_inner_links", 0, 200), r.between("more_outer_links", 0, 200)
    links, ext = was["nb_hyperlinks"], half_up(was["ratio_extHyperlinks"] * was["nb_hyperlinks"])
    n = links + inner + outer
    r.expect("nb_hyperlinks", n)
    r.expect("ratio_intHyperlinks", over(half_up(was["ratio_intHyperlinks"] * links) + inner, n))
    r.expect("ratio_extHyperlinks", over(ext + outer, n))
    r.expect("ratio_extRedirection", over(half_up(was["ratio_extRedirection"] * ext), ext + outer))
    r.expect("ratio_extErrors", over(half_up(was["ratio_extErrors"] * ext), ext + outer))
    media = r.between("inner_media", 0, 100, False)
    has = was["ratio_intMedia"] + was["ratio_extMedia"] > 0
    r.expect("ratio_intMedia", has * media)
    r.expect("ratio_extMedia", has * (100 - media))
    title = r.between("empty_title", 0, 1)
    r.expect("domain_in_title", max(title, r.between("other_title", 0, 1)))
    for name in "domain_with_copyright external_favicon iframe popup_window onmouseover right_clic".split():
        r.between(name, 0, 1)
    r.between("nb_extCSS", 0, 1e4)
    r.between("links_in_tags", 0, 100, False)
    rest(r, [k for k in r.was if k not in ("url", "phishing")])


def rest(r, columns):
    """All other columns of the record are as they were."""
    for name in columns:
        if name not in r.seen:
            r.same(name)


def main(threat, originals, adversarial):
    names, rows, lines = read(originals)
    if threat == "intrusion":
        names = NSL
    elif threat == "websites":
        names = UCI
    at = {n: dict(zip(names, row)) for n, row in zip(lines, rows)}
    columns, rows, _ = read(adversarial)
    bad = 0
    for row in rows:
        row = dict(zip(columns, row, strict=True))
        r = Record(at[int(row["line"])], row)
        {"intrusion": intrusion, "websites": websites, "pages": pages}[threat](r)
        if r.wrong:
            bad += 1
            print(f"line {row['line']}: {'; '.join(r.wrong)}")
    print(f"{len(rows) - bad} of {len(rows)} records are valid")
    return 0 if rows and not bad else 1


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("intrusion", "websites", "pages"):
        print(__doc__)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
