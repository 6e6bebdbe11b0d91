package serve

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// body returns what a request carries, decompressed, of at most so many bytes.
func body(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	in := io.Reader(http.MaxBytesReader(w, r.Body, most))
	codings := strings.Split(strings.ToLower(r.Header.Get("Content-Encoding")), ",")
	if len(codings) > 1 {
		return nil, &refusal{http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Encoding: %d of them: one is decompressed", len(codings))}
	}
	var err error
	switch coding := strings.TrimSpace(codings[0]); coding {
	case "", "identity":
	case "gzip", "x-gzip":
		in, err = gzip.NewReader(in)
	case "deflate":
		in, err = inflate(in)
	default:
		return nil, &refusal{http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Encoding: %.40q: there are gzip and deflate", coding)}
	}
	var all []byte
	if err == nil {
		all, err = io.ReadAll(io.LimitReader(in, most+1))
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large) || err == nil && int64(len(all)) > most:
		return nil, &refusal{http.StatusRequestEntityTooLarge,
			fmt.Sprintf("the request has more than %d bytes: ask about fewer inputs at once", most)}
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("reading the request: %v", err)}
	}
	return all, nil
}

// inflate reads deflate: in the format of zlib, as RFC 9110 has it, or without, as some clients do.
func inflate(in io.Reader) (io.Reader, error) {
	b := bufio.NewReader(in)
	// A header of zlib is of the method 8, and a multiple of 31.
	head, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

// worthwhile is the least number of bytes that are compressed.
const worthwhile = 1024

// compressed returns a response as a client accepts it, and its coding, "" for none.
func compressed(all []byte, accept string) ([]byte, string) {
	if len(all) < worthwhile {
		return all, ""
	}
	var b bytes.Buffer
	var w io.WriteCloser
	coding := accepted(accept)
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	default:
		return all, ""
	}
	_, err := w.Write(all)
	if err = errors.Join(err, w.Close()); err != nil {
		return all, "" // a buffer takes everything: this is not reached
	}
	return b.Bytes(), coding
}

// accepted returns the coding that Accept-Encoding prefers, of those there are: of equals gzip.
func accepted(accept string) string {
	best, most := "", 0.
	for _, part := range strings.Split(strings.ToLower(accept), ",") {
		coding, parameters, _ := strings.Cut(strings.TrimSpace(part), ";")
		quality := 1.
		if text, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			var err error
			if quality, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		coding = strings.TrimSpace(coding)
		if (coding == "gzip" || coding == "deflate") && (quality > most || quality == most && quality > 0 && coding == "gzip") {
			best, most = coding, quality
		}
	}
	return best
}
